"""Trials: named by what they are made from, done once, read back as they were."""

import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
import torch
from sample_studies import Doubling, Impossible, Interrupted, doubling_trials

from mixscope.base.errors import UserError
from mixscope.records.claims import Claim, Sample
from mixscope.records.judging import judge
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.results import column, read_results
from mixscope.studies.engine.runner import pending, run_pending
from mixscope.studies.engine.trial import Measured, Trial, find_records, read_outcome, run_trial, table_of


@dataclass(frozen=True)
class Acting:
    """Does what it is told, and measures nothing."""

    name: str
    act: Callable

    def describe(self):
        return {"kind": "acting", "name": self.name}

    def run(self):
        self.act()
        return Measured({})


def fail():
    raise ZeroDivisionError("a mistake of ours")


def run_all(trials, folder, num_jobs=1):
    told = []
    run_pending(trials, folder, num_jobs=num_jobs, tell=told.append)
    return told


def test_a_record_is_named_by_the_hash_of_its_description(tmp_path):
    first, same = Trial("a", "b", 0, Doubling(1.0, "x")), Trial("other", "name", 3, Doubling(1.0, "y"))
    assert first.digest == same.digest != Trial("a", "b", 0, Doubling(2.0, "x")).digest
    run_trial(Trial("a", "b", 0, Doubling(1.0, str(tmp_path / "seen"))), tmp_path)
    assert list(find_records(tmp_path)) == [first.digest]
    assert find_records(tmp_path)[first.digest].name == f"a-b-seed0-{first.digest}.json"


def test_a_record_holds_what_was_measured_and_where(tmp_path):
    trial = Trial("a", "b", 0, Doubling(1.23456789, str(tmp_path / "seen")))
    run_trial(trial, tmp_path)
    outcome = read_outcome(find_records(tmp_path)[trial.digest])
    assert outcome.values == {"twice": 2.46913578}  # verdicts are read from all digits
    assert outcome.tables == {"curve": {"epoch": [0, 1], "height": [1.23456789, None]}}
    assert outcome.problem == ""
    assert {"torch", "commit", "processor", "num_threads"} <= set(outcome.environment)


@dataclass(frozen=True)
class Giving:
    """Measures what it is told."""

    value: float

    def describe(self):
        return {"kind": "giving", "value": str(self.value)}

    def run(self):
        return Measured(
            {"residual": self.value}, {"curve": {"epoch": [1], "residual": [self.value]}}, {"picture": [self.value]}
        )


def through_a_record(value, folder):
    trial = Trial("a", "b", 0, Giving(value))
    run_trial(trial, folder)
    return read_results([trial], folder)


EXACT = Claim(
    key="demo.1", group="derived", statement="Small.", source="s", measured="residual", high=0.3, is_exact=True
)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.3, "held"),
        (math.nextafter(0.3, 1), "not held"),  # six digits would read 0.3
        (0.30000004, "not held"),
        (math.inf, "not held"),
        (-math.inf, "undecided"),
        (math.nan, "undecided"),
    ],
)
def test_a_verdict_is_the_same_before_and_after_the_record(tmp_path, value, verdict):
    results = through_a_record(value, tmp_path)
    for number in ("residual", lambda outcome: column(outcome, "curve", "residual")[0]):
        sample = results.sample("a", "b", number)
        assert judge(EXACT, sample, setting="a").verdict == verdict
    assert judge(EXACT, Sample({"seed 0": value}), setting="a").verdict == verdict


def test_figures_of_a_record_hold_six_digits_and_none_for_what_is_not_finite(tmp_path):
    for value, picture in ((1.23456789, 1.23457), (math.inf, None)):
        results = through_a_record(value, tmp_path)
        (outcome,) = results.outcomes.values()
        assert outcome.pictures == {"picture": [picture]}


def test_records_in_six_digits_with_null_for_infinite_stay_readable(tmp_path):
    trial = Trial("a", "b", 0, Giving(1.23456789))
    run_trial(trial, tmp_path)
    path = find_records(tmp_path)[trial.digest]
    earlier = {"values": {"residual": 1.23457}, "tables": {"curve": {"epoch": [1], "residual": [None]}}}
    record = json.loads(path.read_text())
    del record["checksum"]
    path.write_text(json.dumps(record | earlier))
    outcome = read_outcome(path)
    assert (outcome.values, outcome.tables["curve"]["residual"]) == ({"residual": 1.23457}, [None])


@pytest.mark.parametrize("num_jobs", [1, 2])
def test_finished_runs_are_not_done_again(tmp_path, num_jobs):
    seen, records = tmp_path / "seen", tmp_path / "records"
    trials = doubling_trials(seen)
    told = run_all(trials[:3], records, num_jobs)
    assert sorted(progress.num_done for progress in told) == [1, 2, 3]
    assert {progress.trial.name for progress in told} == {trial.name for trial in trials[:3]}
    assert len(pending(trials, records)) == 5
    run_all(trials, records, num_jobs)
    assert len(seen.read_text().split()) == 8
    assert run_all(trials, records, num_jobs) == []


def test_a_description_that_two_trials_share_is_run_once(tmp_path):
    seen = tmp_path / "seen"
    twins = [Trial("a", "b", 0, Doubling(1.0, str(seen))), Trial("c", "d", 1, Doubling(1.0, str(seen)))]
    run_all(twins, tmp_path / "records")
    assert seen.read_text() == "1.0\n"
    results = read_results(twins, tmp_path / "records")
    assert results.sample("c", "d", "twice").values == {"seed 1": 2.0}


def test_interrupted_runs_lose_the_one_under_way_and_nothing_else(tmp_path):
    seen, records = tmp_path / "seen", tmp_path / "records"
    trials = doubling_trials(seen)
    with pytest.raises(KeyboardInterrupt):
        run_all([*trials[:2], Trial("stop", "here", 0, Interrupted()), *trials[2:]], records)
    assert len(find_records(records)) == 2
    run_all(trials, records)
    assert len(seen.read_text().split()) == 8


def test_a_mistake_of_ours_in_one_run_loses_no_run_beside_it_and_begins_no_other(tmp_path):
    beside = [Trial("line", "slow", seed, Doubling(float(seed), str(tmp_path / "seen"), 1.0)) for seed in range(3)]
    failing = Trial("line", "wrong", 0, Acting("fail", fail))
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        run_all([beside[0], failing, *beside[1:]], tmp_path / "records", num_jobs=2)
    done = find_records(tmp_path / "records")
    assert beside[0].digest in done
    assert len(done) <= 2  # the first may have ended before the mistake was made
    assert beside[2].digest not in done


def test_processes_that_are_started_leave_interruptions_to_this_one_from_their_first_moment(tmp_path):
    before, is_over = signal.getsignal(signal.SIGINT), threading.Event()

    def interrupt():
        while not is_over.wait(0.01):
            for process in multiprocessing.active_children():
                with suppress(ProcessLookupError):  # it has ended
                    os.kill(process.pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        told = run_all(doubling_trials(tmp_path / "seen")[:3], tmp_path / "records", num_jobs=2)
    finally:
        is_over.set()
        thread.join()
    assert len(told) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_what_the_user_can_mend_is_told_and_the_rest_goes_on(tmp_path):
    trials = [Trial("a", "b", 0, Impossible()), *doubling_trials(tmp_path / "seen")]
    told = run_all(trials, tmp_path / "records")
    assert [progress.error for progress in told if progress.error] == ["data must be there, but they are not"]
    assert math.isnan(told[0].wall_seconds)
    assert len(find_records(tmp_path / "records")) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be readable JSON"),
        ("[]", "must hold a record as an object"),
        (json.dumps({"schema": 1, "kind": "trial"}), "must hold name as a string, but it is not there"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, text, message):
    path = tmp_path / "a-b-seed0-0123456789ab.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_outcome(path)


class Gpu:
    """Counts memory as the allocator of a GPU does."""

    def __init__(self, monkeypatch):
        self.held = self.peak = 0
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.forget_peak)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: self.held)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: self.peak)

    def take(self, num_bytes):
        self.held += num_bytes
        self.peak = max(self.peak, self.held)

    def forget_peak(self):
        self.peak = self.held


def test_a_run_on_the_cpu_is_recorded_as_that_after_one_that_left_memory_taken_on_a_gpu(tmp_path, monkeypatch):
    gpu = Gpu(monkeypatch)
    acts = {"gpu": lambda: gpu.take(1 << 20), "cpu": lambda: None, "gpu-again": lambda: gpu.take(512)}
    trials = [Trial("line", name, 0, Acting(name, act)) for name, act in acts.items()]
    for trial in trials:
        run_trial(trial, tmp_path)
    environments = [read_outcome(find_records(tmp_path)[trial.digest]).environment for trial in trials]
    assert [environment["device"] for environment in environments] == ["cuda", "cpu", "cuda"]
    assert [environment["accelerator"] for environment in environments] == ["a GPU", None, "a GPU"]


def test_columns_keep_their_length_where_a_row_lacks_a_number():
    assert table_of([{"epoch": 0}, {"epoch": 1, "x": 2.0}]) == {"epoch": [0, 1], "x": [None, 2.0]}


def test_samples_name_what_is_missing_and_what_is_left_out(tmp_path):
    trials = doubling_trials(tmp_path / "seen")
    run_all(trials[:5], tmp_path)
    path = find_records(tmp_path)[trials[0].digest]
    record = json.loads(path.read_text())
    del record["checksum"]
    path.write_text(json.dumps(record | {"problem": "collapsed: accuracy 0.10"}))
    results = read_results(trials, tmp_path)
    low = results.sample("line", "low", "twice")
    assert low.values == {"seed 1": 2.0, "seed 2": 4.0}
    assert low.missing == ("seed 3",)
    assert low.excluded == {"seed 0": "low: collapsed: accuracy 0.10"}
    difference = results.difference("line", "high", "low", "twice")
    assert difference.values == {"seed 1": pytest.approx(20.2)}
    assert set(difference.missing) == {"seed 2", "seed 3"}
    assert list(difference.excluded) == ["seed 0"]
    assert results.ratio("line", "high", "low", "twice").values == {"seed 1": pytest.approx(11.1)}
    assert math.isnan(results.sample("line", "low", "nothing").values["seed 1"])
    assert results.sample("line", "low", lambda outcome: 7.0).values == {"seed 1": 7.0, "seed 2": 7.0}
    assert results.methods("line") == ["low", "high"]
    epochs, curves = results.curves("line", "low", "curve", "height")
    assert epochs == [0.0, 1.0]
    assert [curve[0] for curve in curves] == [1.0, 2.0]


def test_a_computation_is_a_function_of_ours_with_its_arguments():
    work = computation("demo", Measured, values={"one": 1.0})
    assert work.describe()["function"] == "demo:Measured"
    assert work.describe()["arguments"] == {"values": {"one": 1.0}}
    assert work.run() == Measured({"one": 1.0})
