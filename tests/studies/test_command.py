"""The command `reproduce`, as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import pytest
from sample_studies import doubling_study, doubling_trials

from mixscope.base.errors import UserError
from mixscope.cli.parsing import parse
from mixscope.cli.reproduce import Reproduce
from mixscope.data.named_sets import FIRST_VARIABLE, data_roots
from mixscope.studies.engine.trial import Measured, Trial
from mixscope.studies.names import STUDY_KEYS

SLOW_RUNS = """
from dataclasses import replace
from sample_studies import Doubling, doubling_study
from mixscope.__main__ import main
from mixscope.studies import names
from mixscope.studies.engine.trial import Trial

trials = [Trial("line", "low", seed, Doubling(float(seed), "seen", 1.0)) for seed in range(4)]
names.load_study = lambda key: replace(doubling_study("seen"), key=key, trials=lambda scale, seeds: trials)
main()
"""
ALLOWED_TO_FALL = {"fisher2024.5b", "ji2022.19a"}  # said on their pages: a slip noted beforehand, and rounding


@dataclass(frozen=True)
class Lacking:
    """Work that lacks something the user must give."""

    what: str
    seed: int

    def describe(self):
        return {"kind": "lacking", "what": self.what, "seed": self.seed}

    def run(self):
        raise UserError(f"{self.what} must be there")


@dataclass(frozen=True)
class Looking:
    """Says where named sets would be looked for."""

    def describe(self):
        return {"kind": "looking"}

    def run(self):
        return Measured({}, pictures={"roots": list(map(str, data_roots(None)))})


@pytest.fixture
def give_trials(monkeypatch, tmp_path):
    """Let every study be the sample, with other trials and a key of its own."""

    def give(trials):
        study = replace(doubling_study(tmp_path / "seen"), trials=lambda scale, seeds: trials)
        monkeypatch.setattr("mixscope.studies.names.load_study", lambda key: replace(study, key=key))

    return give


def mixscope(*arguments, cwd):
    command = [sys.executable, "-m", "mixscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)


def test_all_studies_at_the_smoke_scale_end_to_end(tmp_path):
    first = mixscope("reproduce", "all", "--scale", "smoke", "--out", "out", "--jobs", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    verdicts = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert set(verdicts) == set(STUDY_KEYS)
    entries = [entry for study in verdicts.values() for entry in study]
    fallen = {entry["claim"]["key"] for entry in entries if entry["verdict"] == "not held"}
    assert fallen <= ALLOWED_TO_FALL
    for entry in entries:
        if entry["claim"]["is_exact"]:
            assert entry["verdict"] != "undecided", entry["claim"]["key"]
        else:
            assert "smoke scale does not judge statistics" in entry["reason"]
    pages = {path.name for path in (tmp_path / "out").glob("*.html")}
    assert pages == {"overview.html", *(f"{key}.html" for key in STUDY_KEYS)}
    num_runs = len(list((tmp_path / "out" / "records").iterdir()))
    again = mixscope("reproduce", "all", "--scale", "smoke", "--out", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"{num_runs} runs, {num_runs} of them done" in again.stdout
    assert not re.search(r"^1/\d+ ", again.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "seeds must lie between 1 and 1000, got 0"),
        (["--jobs", "0"], "jobs must lie between 1 and 1024, got 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(["reproduce", "beyond", *arguments])


def test_a_mistake_is_one_line_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (["beyond", "--out", "file"], "file"),
        (["beyond", "--data-dir", "nowhere"], "data-dir must name a folder, but nowhere is none"),
    ):
        found = mixscope("reproduce", *arguments, cwd=tmp_path)
        assert found.returncode == 2
        assert words in found.stderr
        assert "Traceback" not in found.stderr
        assert len(found.stderr.splitlines()) == 1
    assert mixscope("reproduce", "nobody2000", cwd=tmp_path).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_folder_with_data_comes_before_the_one_of_the_environment_in_every_process(
    tmp_path, monkeypatch, give_trials
):
    for name in ("given", "environment"):
        (tmp_path / name).mkdir()
    for variable, value in (("HOME", tmp_path), ("MIXSCOPE_DATA", tmp_path / "environment"), (FIRST_VARIABLE, "")):
        monkeypatch.setenv(variable, str(value))
    give_trials([Trial("line", "looking", 0, Looking()), *doubling_trials(tmp_path / "seen")])
    parse(["reproduce", "beyond", "--out", str(tmp_path / "out"), "--jobs", "2", "--data-dir", "~/given"]).run()
    (record,) = (tmp_path / "out" / "records").glob("line-looking-*.json")
    roots = json.loads(record.read_text())["pictures"]["roots"]
    assert roots[:2] == [str(tmp_path / "given"), str(tmp_path / "environment")]


@pytest.mark.parametrize(
    ("things", "message"),
    [
        (["a", "b", "b", "b"], "4 runs could not be done, so claims are undecided: a must be there; b must be there"),
        (["a"], "1 run could not be done, so claims are undecided: a must be there"),
    ],
)
def test_runs_that_could_not_be_done_are_counted_and_every_reason_is_given(tmp_path, give_trials, things, message):
    lacking = [Trial("line", "lacking", seed, Lacking(what, seed)) for seed, what in enumerate(things)]
    give_trials([*lacking, *doubling_trials(tmp_path / "seen")])
    with pytest.raises(UserError, match=f"^{message}$"):
        Reproduce("beyond", out=tmp_path / "out", jobs=1).run()
    assert (tmp_path / "out" / "beyond.html").is_file()


def test_a_damaged_record_is_told_before_anything_is_run(tmp_path, give_trials):
    trials = doubling_trials(tmp_path / "seen")
    (tmp_path / "out" / "records").mkdir(parents=True)
    (tmp_path / "out" / "records" / f"{trials[0].name}-{trials[0].digest}.json").write_text("{")
    give_trials(trials)
    with pytest.raises(UserError, match="must be readable JSON"):
        Reproduce("beyond", out=tmp_path / "out", jobs=1).run()
    assert not (tmp_path / "seen").exists()


def test_an_overview_that_is_there_keeps_up_with_one_study_and_none_is_begun_by_it(tmp_path, give_trials):
    trials, out = doubling_trials(tmp_path / "seen"), tmp_path / "out"
    give_trials(trials)
    Reproduce("beyond", out=out, jobs=1).run()
    assert {path.name for path in out.glob("*.html")} == {"beyond.html"}
    Reproduce("all", out=out, jobs=1).run()
    verdicts = (out / "verdicts.json").read_text()
    assert set(json.loads(verdicts)) == set(STUDY_KEYS)
    for name in ("verdicts.json", "overview.html", "ji2022.html"):
        (out / name).write_text("{}")
    Reproduce("beyond", out=out, jobs=1).run()
    assert (out / "verdicts.json").read_text() == verdicts
    assert "Claims and verdicts" in (out / "overview.html").read_text()
    assert (out / "ji2022.html").read_text() == "{}"


def test_as_many_runs_go_side_by_side_as_this_process_may_use_cores(tmp_path, monkeypatch, give_trials, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    give_trials(doubling_trials(tmp_path / "seen"))
    Reproduce("beyond", out=tmp_path / "out").run()
    assert "8 runs, 0 of them done; 1 at a time" in capsys.readouterr().out


def test_interrupted_at_any_time_only_whole_records_stay_and_the_same_command_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    command = [sys.executable, "-c", SLOW_RUNS, "reproduce", "beyond", "--out", "out", "--jobs", "2"]
    records = tmp_path / "out" / "records"

    def interrupt(line_begins, seconds):
        """Press Ctrl-C, which all processes of a terminal's group get, so long after a line; return what was said."""
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            for line in process.stdout:
                if line.startswith(line_begins):
                    break
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate()[1]
        assert process.returncode == 130
        assert re.fullmatch(r"mixscope: interrupted with \d of \d runs done; the same command goes on\n", said), said
        for path in records.glob("*"):
            assert json.loads(path.read_text())["kind"] == "trial"

    interrupt("4 runs, 0 of them done", 0.5)  # while the processes begin
    interrupt("1/", 0.2)  # while they compute
    num_done = len(list(records.iterdir()))
    assert 1 <= num_done < 4
    last = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert f"4 runs, {num_done} of them done" in last.stdout
    assert len(list(records.iterdir())) == 4
