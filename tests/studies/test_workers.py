"""Worker processes: what is known of one that ended, and that none outlives the process that started it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from sample_studies import doubling_trials

from mixscope.base.errors import UserError
from mixscope.studies.engine import workers
from mixscope.studies.engine.runner import run_pending
from mixscope.studies.engine.trial import Measured, Trial, find_records
from mixscope.studies.engine.workers import Watch, num_oom_kills

LONG_CALL = """
from pathlib import Path
from sample_studies import Doubling
from test_workers import Computing
from mixscope.studies.engine.runner import run_pending
from mixscope.studies.engine.trial import Trial

if __name__ == "__main__":
    work = [Trial("line", "long", 0, Computing()), Trial("line", "short", 0, Doubling(1.0, "seen"))]
    run_pending(work, Path("records"), num_jobs=2, tell=lambda progress: print("ended", flush=True))
"""


@dataclass(frozen=True)
class Ending:
    """Ends its process: by a signal, or with an exit code."""

    signal: int = 0
    code: int = 0

    def describe(self):
        return {"kind": "ending"}

    def run(self):
        if self.code:
            os._exit(self.code)
        os.kill(os.getpid(), self.signal)
        time.sleep(60)
        return Measured({})


@dataclass(frozen=True)
class Computing:
    """One call into torch that takes minutes."""

    def describe(self):
        return {"kind": "computing"}

    def run(self):
        print("begun", flush=True)
        torch.eye(2000).matrix_power(2**62 - 1)
        return Measured({})


@pytest.mark.parametrize(
    ("ending", "account"),
    [
        (Ending(signal=signal.SIGKILL), r"worker process \d+, at line-ends-seed0, ended by signal 9 \(SIGKILL\)"),
        (Ending(code=3), r"worker process \d+, at line-ends-seed0, ended with exit code 3"),
        (Ending(signal=signal.SIGTERM), r"a worker process ended by signal 15 \(SIGTERM\)"),
    ],
)
def test_of_a_worker_that_ended_it_is_said_which_at_what_and_how_and_no_more(tmp_path, ending, account):
    beside = doubling_trials(tmp_path / "seen")[0]
    with pytest.raises(UserError, match=rf"^{account}; what is finished is kept: the same command goes on$"):
        run_pending([beside, Trial("line", "ends", 0, ending)], tmp_path, num_jobs=2, tell=lambda progress: None)
    assert len(find_records(tmp_path)) <= 1


@pytest.fixture
def watch():
    return Watch(multiprocessing.get_context("spawn"))


def worker(pid, exitcode):
    return SimpleNamespace(pid=pid, exitcode=exitcode)


def test_a_worker_may_end_before_its_first_run_or_between_two(watch):
    for told in ((7, "a-b-seed0"), (7, ""), (8, "a-b-seed1")):
        watch.places.put(told)
    crew = [worker(6, -40), worker(7, -signal.SIGSEGV), worker(8, -signal.SIGTERM), worker(9, 0)]
    assert watch.account_of_ends(crew) == (
        "worker process 6, before its first run, ended by signal 40; "
        "worker process 7, between two runs, ended by signal 11 (SIGSEGV)"
    )


def test_more_is_said_than_a_pipe_holds_where_it_is_taken_in_now_and_then(watch):
    for number in range(3000):
        watch.places.put((1, f"line-some-method-of-a-study-seed{number}"))
        if number % 100 == 0:
            watch.catch_up()
    assert "at line-some-method-of-a-study-seed2999," in watch.account_of_ends([worker(1, -9)])


def test_memory_that_ran_out_is_named_where_the_kernel_has_counted_it(monkeypatch):
    counts = iter([3, 5])
    monkeypatch.setattr(workers, "num_oom_kills", lambda: next(counts))
    account = Watch(multiprocessing.get_context("spawn")).account_of_ends([worker(1, -9)])
    assert account.endswith(
        "ended by signal 9 (SIGKILL); the kernel killed 2 of this control group's processes meanwhile because memory "
        "ran out (fewer --jobs need less)"
    )


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("0::/job.slice/one", "job.slice/one/memory.events", "low 0\nmax 7\noom 4\noom_kill 3\n"),
        ("0::/", "memory.events", "oom_kill 3\n"),
        ("5:cpu:/x\n4:memory:/x\n0::/", "memory/x/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
    ],
)
def test_the_counter_of_either_version_of_control_groups_is_read(tmp_path, monkeypatch, group, file, text):
    monkeypatch.setattr(workers, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(workers, "OWN_GROUPS", tmp_path / "own")
    assert num_oom_kills() is None
    (tmp_path / "own").write_text(f"{group}\n")
    assert num_oom_kills() is None
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert num_oom_kills() == 3


def test_workers_end_with_a_parent_that_is_killed_also_in_the_middle_of_a_long_call(tmp_path):
    (tmp_path / "script.py").write_text(LONG_CALL)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    # one worker is in its call, the other has nothing to do
    assert sorted(parent.stdout.readline() for _ in range(2)) == [b"begun\n", b"ended\n"]
    parent.kill()
    parent.communicate(timeout=60)  # the workers hold the pipe: its end comes when the last of them has ended


def test_a_worker_can_be_ended_where_its_parent_ignores_the_polite_signal(tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        ending = Trial("line", "ends", 0, Ending(signal=signal.SIGTERM))
        with pytest.raises(UserError, match="SIGTERM"):
            run_pending([ending], tmp_path, num_jobs=2, tell=lambda progress: None)
    finally:
        signal.signal(signal.SIGTERM, before)
