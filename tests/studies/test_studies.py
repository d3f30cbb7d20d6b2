"""Studies: judged claim by claim, written as pages and text."""

import json
from collections import defaultdict
from dataclasses import replace

import pytest
from sample_studies import doubling_study

from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.publish import scales_not_run, summarise, write_overview, write_study
from mixscope.studies.engine.results import read_results
from mixscope.studies.engine.runner import run_pending
from mixscope.studies.engine.study_definition import check_study, judge_study
from mixscope.studies.names import STUDY_KEYS, load_study


@pytest.fixture
def study(tmp_path):
    return doubling_study(tmp_path / "seen")


def results_of(study, folder, *, scale="small", num_run=None):
    trials = study.trials(scale, None)
    run_pending(trials[:num_run], folder, num_jobs=1, tell=lambda progress: None)
    return read_results(trials, folder)


def test_every_claim_gets_a_verdict_on_every_setting_that_was_run(study, tmp_path):
    judgements = judge_study(study, results_of(study, tmp_path), scale="small")
    found = [(judgement.claim.key, judgement.setting, judgement.verdict) for judgement in judgements]
    assert found == [("sample.1", "line", "held"), ("sample.2", "line", "held")]


def test_smoke_judges_exact_claims_only(study, tmp_path):
    first, second = judge_study(study, results_of(study, tmp_path), scale="smoke")
    assert (first.verdict, second.verdict) == ("undecided", "held")
    assert "smoke" in first.reason


def test_missing_runs_leave_claims_undecided_and_are_counted(study, tmp_path):
    summary = summarise(study, results_of(study, tmp_path, num_run=6), scale="small")
    assert [judgement.verdict for judgement in summary.judgements] == ["undecided", "undecided"]
    assert "seed 3 is missing" in summary.judgements[0].reason
    assert "2 of 8 runs are missing." in summary.notes


def test_scales_that_were_not_run_beside_a_folder_are_named(tmp_path):
    small = tmp_path / "results" / "small"
    assert scales_not_run(small, "small") == ["medium", "paper"]
    (tmp_path / "results" / "medium" / "records").mkdir(parents=True)
    assert scales_not_run(small, "small") == ["paper"]
    study = doubling_study(tmp_path / "seen")
    summary = summarise(study, results_of(study, tmp_path), scale="small", not_run=["paper"])
    assert summary.notes == ["The paper scale has not been run."]


def test_a_run_that_is_left_out_is_named(study, tmp_path):
    results = results_of(study, tmp_path)
    digest = results.trials[0].digest
    collapsed = replace(results.outcomes[digest], problem="collapsed: accuracy 0.10")
    summary = summarise(study, replace(results, outcomes={**results.outcomes, digest: collapsed}), scale="small")
    assert "A run that is left out of means: line-low-seed0: collapsed: accuracy 0.10." in summary.notes
    assert "seed 0 is left out (low: collapsed: accuracy 0.10)" in summary.judgements[0].reason


def test_runs_of_several_processors_are_said_to_be(study, tmp_path):
    results = results_of(study, tmp_path)
    digest = results.trials[0].digest
    elsewhere = replace(results.outcomes[digest], environment={"processor": "Another"})
    notes = summarise(study, replace(results, outcomes={**results.outcomes, digest: elsewhere}), scale="small").notes
    here = results.outcomes[digest].environment["processor"]
    assert f"The runs come from 2 processors: {'; '.join(sorted(['Another', here]))}." in notes


def test_the_page_and_the_text_say_what_was_claimed_and_measured(study, tmp_path):
    results = results_of(study, tmp_path)
    summary = summarise(study, results, scale="small")
    page = write_study(study, results, summary, tmp_path).read_text()
    for words in ("Numbers &amp; doubles", "High is above low.", "None of it is real.", "held"):
        assert words in page
    assert "High is above low." in (tmp_path / "sample.md").read_text()
    overview = write_overview([summary], tmp_path, command="mixscope reproduce all").read_text()
    assert "Numbers &amp; doubles" in overview
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    assert [entry["verdict"] for entry in verdicts["sample"]] == ["held", "held"]


def test_names_of_trials_and_keys_of_claims_are_their_own(study):
    trials = study.trials("small", None)
    assert check_study(study, trials) == trials
    with pytest.raises(
        ValueError, match=r"trials of sample must have names of their own, got twice: \['line-low-seed0'\]"
    ):
        check_study(study, [*trials, trials[0]])
    with pytest.raises(ValueError, match=r"claims of sample must have names of their own, got twice: \['sample\.1'\]"):
        check_study(type(study)(**{**vars(study), "checks": study.checks[:1] * 2}), trials)


def test_an_unknown_study_is_refused():
    with pytest.raises(ValueError, match=r"key must be one of fisher2024, .*, got 'fisher2025'"):
        load_study("fisher2025")


@pytest.mark.parametrize("key", STUDY_KEYS)
def test_a_claim_that_is_only_recalled_is_not_called_the_papers_own(key):
    claims = [check.claim for check in load_study(key).checks]
    assert [claim.key for claim in claims if claim.group == "paper" and "recalled" in claim.source.lower()] == []


@pytest.mark.parametrize("key", STUDY_KEYS)
def test_every_network_of_the_small_scale_has_five_seeds_on_digits_and_three_elsewhere(key):
    seeds = defaultdict(set)
    for trial in load_study(key).trials("small", None):
        if isinstance(trial.work, NetworkTraining):
            seeds[trial.work.options.data.data, trial.setting, trial.method].add(trial.work.options.seed)
    assert seeds
    assert {kind: len(found) for kind, found in seeds.items() if len(found) < (5 if kind[0] == "digits" else 3)} == {}
