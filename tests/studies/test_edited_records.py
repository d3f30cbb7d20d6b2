"""Records of studies changed by hand: refused in one line, or read; never a traceback."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.edited_records import edit_file, edit_json, ends_well_or_in_one_line, seeded
from helpers.hostile_files import SPECIAL, in_seconds
from sample_studies import doubling_study, doubling_trials

from mixscope.base.errors import UserError
from mixscope.studies.engine.publish import summarise, write_study
from mixscope.studies.engine.results import Results, read_results
from mixscope.studies.engine.runner import run_pending
from mixscope.studies.engine.trial import find_records, read_outcome, run_trial
from mixscope.studies.names import load_study

COMMITTED = Path(__file__).parents[2] / "results" / "small" / "records"


def test_no_edit_of_a_studys_folder_ends_in_a_traceback(tmp_path, monkeypatch):
    trials = doubling_trials(tmp_path / "seen", num_seeds=2)
    study = replace(doubling_study(tmp_path / "seen"), trials=lambda scale, seeds: trials)
    monkeypatch.setattr("mixscope.studies.names.load_study", lambda key: replace(study, key=key))
    run_pending(trials, tmp_path / "whole", num_jobs=1, tell=lambda _: None)
    codes = []
    for number in range(80):
        chance, out = seeded(number), tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", out / "records")
        first, *others = chance.sample(sorted((out / "records").iterdir()), 4)
        edit_file(first, others, chance)
        codes.append(ends_well_or_in_one_line("reproduce", "beyond", "--out", out, "--jobs", "1"))
    assert codes.count(2) > 60  # a record that was changed is no evidence; one that is gone is made again


def test_a_record_changed_in_one_digit_is_refused(tmp_path):
    trial = doubling_trials(tmp_path / "seen")[1]
    run_trial(trial, tmp_path)
    path = find_records(tmp_path)[trial.digest]
    assert read_outcome(path).values == {"twice": 20.0}
    path.write_text(path.read_text().replace('"twice": 20.0', '"twice": 21.0'))
    with pytest.raises(UserError, match="must be as it was written, but it was changed; delete it to have"):
        read_outcome(path)


def test_a_record_under_the_name_of_another_is_refused(tmp_path):
    first, second = doubling_trials(tmp_path / "seen")[:2]
    for trial in (first, second):
        run_trial(trial, tmp_path)
    records = find_records(tmp_path)
    shutil.copy(records[first.digest], records[second.digest])
    with pytest.raises(UserError, match="must be the record of the trial that its name says"):
        read_results([first, second], tmp_path)


@pytest.mark.parametrize("make", SPECIAL)
def test_only_regular_files_are_read_as_records_of_trials(tmp_path, make):
    path = tmp_path / "line-low-seed0-0123456789ab.json"
    make(path)
    with in_seconds(20), pytest.raises(UserError, match=r"must be a regular file, got|cannot be read"):
        read_outcome(path)


def test_every_committed_record_has_the_form_of_one():
    paths = sorted(COMMITTED.glob("*.json"))
    assert len(paths) > 1000
    for path in paths:
        read_outcome(path)


@pytest.mark.parametrize("key", ["ji2022", "beyond"])
def test_committed_records_of_an_earlier_version_changed_by_hand_are_read_or_refused(tmp_path, key):
    study = load_study(key)
    trials = study.trials("small", None)
    whole = read_results(trials, COMMITTED)
    refused = told = 0
    for number in range(40):
        chance = seeded(number)
        trial = chance.choice(trials)
        path = tmp_path / f"{trial.name}-{trial.digest}.json"
        shutil.copy(whole.outcomes[trial.digest].path, path)
        assert "checksum" not in json.loads(path.read_text())
        edit_json(path, chance)
        try:
            results = Results(trials, {**whole.outcomes, trial.digest: read_outcome(path)})
            summary = summarise(study, results, scale="small", seeds=None, not_run=[])
            write_study(study, results, summary, tmp_path)
        except UserError as error:
            refused += 1
            told += str(path) in str(error)
    assert 10 < refused < 40
    assert told == refused
