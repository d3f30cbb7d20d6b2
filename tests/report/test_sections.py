from dataclasses import replace

import pytest
from synthetic_runs import synthetic_run

from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.runs_page import course_section


def ended(seed, epoch):
    run = synthetic_run("mixup, off automatically", seed=seed)
    return replace(run, record={**run.record, "mixing_off_after": epoch})


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ((90, 90), "ended mixing after epoch 90."),
        ((90, 104), "ended mixing between epochs 90 and 104."),
        ((90, None), "ended mixing after epoch 90; in 1 of 2 runs it did not."),
        ((None, None), "ended mixing in no run: the loss on blends never came close enough to its floor."),
    ],
)
def test_the_page_says_where_the_monitor_ended_mixing(epochs, words):
    methods = group_runs([ended(seed, epoch) for seed, epoch in enumerate(epochs)])
    [note] = [note for note in course_section(methods).notes if "monitor" in note]
    assert note.endswith(words)


def test_a_fixed_switch_is_said_with_its_epoch():
    notes = course_section(group_runs([synthetic_run("mixup, then off", seed=0)])).notes
    assert any("mixing was switched off" in note for note in notes)
    assert not any("monitor" in note for note in notes)
