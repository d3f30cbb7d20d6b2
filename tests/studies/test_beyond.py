"""The question beyond the papers: its smoke run end to end, and its evidence."""

from dataclasses import replace

import pytest

from mixscope.report.page import Page
from mixscope.report.rendering import render_page
from mixscope.studies.engine.results import Results, read_results
from mixscope.studies.engine.runner import run_pending
from mixscope.studies.engine.study_definition import check_study, judge_study
from mixscope.studies.engine.trial import Outcome, Trial
from mixscope.studies.liu2023.evidence import last_error
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP
from mixscope.studies.liu2023.study import STUDY as LIU
from mixscope.studies.when_to_mix.claims_switch import above_best_fixed, best_fixed, is_switched
from mixscope.studies.when_to_mix.study import STUDY, answer


class _Work:
    def __init__(self, name):
        self.name = name

    def describe(self):
        return {"name": self.name}


def outcome(values, epochs=(0, 100)):
    curve = {"epoch": list(epochs)}
    return Outcome(
        values=values,
        tables={"curve": curve},
        pictures={},
        problem="",
        data={},
        environment={},
        started="",
        wall_seconds=0.0,
    )


def test_the_smoke_run_ends_in_a_page_and_judges_nothing(tmp_path):
    trials = check_study(STUDY, STUDY.trials("smoke", None))
    run_pending(trials, tmp_path, num_jobs=1, tell=lambda progress: None)
    results = read_results(trials, tmp_path)
    judgements = judge_study(STUDY, results, scale="smoke")
    assert {judgement.verdict for judgement in judgements} == {"undecided"}
    assert "automatic" in render_page(Page("t", STUDY.sections(results)))


def test_most_runs_are_those_of_the_other_study():
    own = {trial.digest for trial in STUDY.trials("small", None)}
    others = {trial.digest for trial in LIU.trials("small", None)}
    assert len(own & others) > 3 * len(own - others)


@pytest.mark.parametrize("scale", ["small", "medium"])
def test_every_claim_has_its_runs(scale):
    trials = check_study(STUDY, STUDY.trials(scale, None))
    settings = {trial.setting for trial in trials}
    for setting in settings:
        methods = {trial.method for trial in trials if trial.setting == setting}
        assert {ERM, MIXUP, AUTO} <= methods
    for check in STUDY.checks:
        assert settings & set(check.settings), check.claim.key
    fixed = {trial.setting for trial in trials if "-off-" in trial.method}
    judged = next(check for check in STUDY.checks if check.claim.key == "beyond.4a").settings
    assert fixed == settings & set(judged)


def test_the_best_fixed_switch_is_that_with_the_lowest_mean_error():
    errors = {"mixup-off-20": (0.3, 0.1), "mixup-off-200": (0.1, 0.2), AUTO: (0.2, 0.2)}
    trials = [Trial("digits-200", method, seed, _Work(f"{method}{seed}")) for method in errors for seed in range(2)]
    outcomes = {trial.digest: outcome({"test/error": errors[trial.method][trial.seed]}) for trial in trials}
    results = Results(trials, outcomes)
    assert best_fixed(results, "digits-200") == "mixup-off-200"
    assert list(above_best_fixed(last_error)(results, "digits-200").values.values()) == pytest.approx([10, 0])


def test_the_answer_counts_the_sets_where_the_switch_beats_both_and_names_those_where_it_never_came():
    errors = {ERM: 0.2, MIXUP: 0.3, AUTO: 0.1}
    trials = [
        Trial(setting, method, seed, _Work(f"{setting}{method}{seed}"))
        for setting in ("digits-200", "cifar10-500")
        for method in errors
        for seed in range(3)
    ]
    outcomes = {}
    for trial in trials:
        is_stopped = trial.method == AUTO and trial.setting == "digits-200"
        error = errors[trial.method] if trial.setting == "digits-200" else 0.5
        values = {"test/error": error + 0.001 * trial.seed, "test/ece": 0.1, "mixing_off_after": 50.0}
        outcomes[trial.digest] = outcome(values if is_stopped else values | {"mixing_off_after": 100.0})
    results = Results(trials, outcomes)
    against_rivals = replace(STUDY, checks=tuple(check for check in STUDY.checks if check.claim.key[7] in "123"))
    assert answer(results, judge_study(against_rivals, results, scale="small")) == (
        "Better than both mixup throughout and plain training: in test error on 1 of 2 sets (digits-200); "
        "in calibration error (ECE) on 0 of 2 sets (none); in test cross-entropy (NLL) on 0 of 2 sets (none). "
        "On cifar10-500 mixing never stopped: it was mixup itself."
    )


def test_a_switch_at_the_end_or_never_is_none():
    assert is_switched(outcome({"mixing_off_after": 50.0})) == 1
    assert is_switched(outcome({"mixing_off_after": 100.0})) == 0
    assert is_switched(outcome({})) == 0
