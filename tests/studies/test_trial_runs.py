"""Committed records of a study, read as runs."""

from pathlib import Path

import pytest
from helpers.command_line import run_command

from mixscope.base.errors import UserError
from mixscope.records.form import check_form
from mixscope.records.forms import PICTURES, RUN, TRAINED_LINE
from mixscope.report.runs.groups import group_runs
from mixscope.studies.engine.trial import find_records, read_outcome
from mixscope.studies.engine.trial_runs import read_trial_runs

RECORDS = Path(__file__).parents[2] / "results" / "small" / "records"


def test_a_study_s_networks_have_the_form_of_runs_and_their_numbers():
    runs = read_trial_runs(RECORDS, only="digits-*")
    assert len(runs) > 200
    for run in runs:
        outcome = read_outcome(run.folder)
        check_form(run.record, RUN, source=run.name)
        check_form(run.pictures, PICTURES, source=run.name)
        for line in run.metrics:
            check_form(line, TRAINED_LINE, source=run.name)
        epochs = [line["epoch"] for line in run.metrics]
        assert epochs == sorted(set(epochs))
        assert run.metrics[-1]["test/error"] == outcome.values["test/error"]
        assert run.record["status"] == (outcome.problem.partition(":")[0] or "finished")


def test_seeds_of_one_method_are_one_method():
    methods = group_runs(read_trial_runs(RECORDS, only="digits-500-*"))
    assert {method.name: len(method.runs) for method in methods} == {
        "ERM": 6,
        "mixup": 6,
        "mixup, off automatically": 6,
        "mixup, off after 200": 6,
        "mixup, off after 50": 6,
    }
    (monitored,) = (method for method in methods if method.name == "mixup, off automatically")
    assert len(monitored.monitored_epochs) == 6
    assert all(method.never_mixed == (method.name == "ERM") for method in methods)


def test_a_page_compares_the_networks_of_a_study(tmp_path):
    done = run_command("report", str(RECORDS), "--only", "digits-1000-mixup-*", "--out", str(tmp_path))
    assert done.code == 0, done.errors
    page = (tmp_path / "report.html").read_text()
    assert "Which layers bend?" in page
    assert "How do the channels run?" in page


def test_what_is_no_trained_network_is_refused():
    theory = next(path for path in find_records(RECORDS).values() if path.name.startswith("theory-"))
    with pytest.raises(UserError, match=r"theory-.*json must be the record of a trained network, but none was trained"):
        read_trial_runs(theory)
    with pytest.raises(UserError, match=r"must hold records of trained networks, but none is named theory-\*.json"):
        read_trial_runs(RECORDS, only="theory-*")
