"""The question beyond the papers: its smoke run end to end, and its evidence."""

from dataclasses import replace
from itertools import product

import pytest
from sample_studies import outcome, results_of, smoke_results

from mixscope.report.page import Page
from mixscope.report.rendering import render_page
from mixscope.studies.engine.study_definition import check_study, judge_study
from mixscope.studies.liu2023.evidence import last_error
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP
from mixscope.studies.liu2023.study import STUDY as LIU
from mixscope.studies.when_to_mix.claims_switch import above_best_fixed, best_fixed, is_switched
from mixscope.studies.when_to_mix.study import STUDY, answer

CURVE = {"curve": {"epoch": [0, 100]}}


def test_the_smoke_run_ends_in_a_page_and_judges_nothing(tmp_path):
    results = smoke_results(STUDY, tmp_path)
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
    runs = {(method, seed): error for method, row in errors.items() for seed, error in enumerate(row)}
    results = results_of({("digits-200", *run): outcome({"test/error": error}) for run, error in runs.items()})
    assert best_fixed(results, "digits-200") == "mixup-off-200"
    assert list(above_best_fixed(last_error)(results, "digits-200").values.values()) == pytest.approx([10, 0])


def test_the_answer_counts_the_sets_where_the_switch_beats_both_and_names_those_where_it_never_came():
    errors = {ERM: 0.2, MIXUP: 0.3, AUTO: 0.1}
    runs = {}
    for setting, method, seed in product(("digits-200", "cifar10-500"), errors, range(3)):
        error = errors[method] if setting == "digits-200" else 0.5
        off = 50.0 if method == AUTO and setting == "digits-200" else 100.0
        values = {"test/error": error + 0.001 * seed, "test/ece": 0.1, "mixing_off_after": off}
        runs[setting, method, seed] = outcome(values, tables=CURVE)
    results = results_of(runs)
    against_rivals = replace(STUDY, checks=tuple(check for check in STUDY.checks if check.claim.key[7] in "123"))
    assert answer(results, judge_study(against_rivals, results, scale="small")) == (
        "Better than both mixup throughout and plain training: in test error on 1 of 2 sets (digits-200); "
        "in calibration error (ECE) on 0 of 2 sets (none); in test cross-entropy (NLL) on 0 of 2 sets (none). "
        "On cifar10-500 mixing never stopped: it was mixup itself."
    )


def test_a_switch_at_the_end_or_never_is_none():
    assert is_switched(outcome({"mixing_off_after": 50.0}, tables=CURVE)) == 1
    assert is_switched(outcome({"mixing_off_after": 100.0}, tables=CURVE)) == 0
    assert is_switched(outcome(tables=CURVE)) == 0
