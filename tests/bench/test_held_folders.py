"""Commands whose folder another process holds: one line that says who, exit code 2, and nothing touched."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from killed_runs import OPTIONS

from mixscope.base.folder_lock import LOCK_FILE, hold_folder
from mixscope.bench.observer import SILENT
from mixscope.bench.run import run_training
from mixscope.records.store import read_run

LONG = ["train", "--data", "digits", "--epochs", "100000", "--device", "cpu", "--measure-every", "100000"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a finished run, weights, and a network to measure."""
    folder = tmp_path_factory.mktemp("work")
    run_training(OPTIONS, folder / "run", observer=SILENT)
    return folder


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


def command_line(arguments, monkeypatch, capsys):
    """Run the command line here; return its exit code and what it said on standard error."""
    from mixscope.__main__ import main

    monkeypatch.setattr(sys, "argv", ["mixscope", *map(str, arguments)])
    handler, code = signal.getsignal(signal.SIGTERM), 0
    try:
        main()
    except SystemExit as stopped:
        code = stopped.code
    finally:
        signal.signal(signal.SIGTERM, handler)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--resume", "run"],
        ["train", "--data", "digits", "--out", "run"],
        ["train", "--from", "run", "--out", "run"],
        ["measure", "mlp-8x1", "--weights", "run/checkpoints/weights.safetensors", "--data", "digits", "--out", "run"],
        ["demo", "--out", "run", "--seeds", "1", "--epochs", "1"],
        ["reproduce", "beyond", "--scale", "smoke", "--out", "run"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_command_whose_folder_is_held_says_by_whom_and_touches_nothing(work, arguments, monkeypatch, capsys):
    monkeypatch.chdir(work)
    with hold_folder(work / "run", note=pytest.fail):
        before = contents(work)
        code, said = command_line(arguments, monkeypatch, capsys)
        assert contents(work) == before
    assert code == 2
    (line,) = said.splitlines()
    assert line.startswith(f"mixscope: error: run is in use by process {os.getpid()} on ")


def test_the_demonstration_leaves_a_run_alone_that_another_process_writes(tmp_path, monkeypatch, capsys):
    with hold_folder(tmp_path / "demo" / "erm-seed0", note=pytest.fail):
        arguments = ["demo", "--out", tmp_path / "demo", "--seeds", "1", "--epochs", "1"]
        code, said = command_line(arguments, monkeypatch, capsys)
        assert code == 2
        assert "erm-seed0 is in use by process" in said
        assert [path.name for path in (tmp_path / "demo").iterdir()] == ["erm-seed0"]


def test_a_run_whose_folder_is_held_can_be_reported(work, tmp_path, monkeypatch, capsys):
    with hold_folder(work / "run", note=pytest.fail):
        code, said = command_line(["report", work / "run", "--out", tmp_path / "compared"], monkeypatch, capsys)
    assert (code, said) == (0, "")
    assert (tmp_path / "compared" / "report.html").exists()


def test_a_run_that_goes_on_elsewhere_is_neither_joined_nor_replaced_until_it_is_killed(tmp_path, monkeypatch, capsys):
    environment = {**os.environ, "MIXSCOPE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "mixscope", *LONG, "--out", "run"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 120
            while not (tmp_path / "run/checkpoints/last.pt").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            monkeypatch.chdir(tmp_path)
            for arguments in (["train", "--resume", "run"], [*LONG, "--out", "run"]):
                code, said = command_line(arguments, monkeypatch, capsys)
                assert code == 2
                assert f"run is in use by process {process.pid} on " in said
            assert read_run(tmp_path / "run").record["status"] == "running"
            assert "resumed" not in read_run(tmp_path / "run").record
        finally:
            process.kill()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    with hold_folder(tmp_path / "run", note=pytest.fail):
        pass
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_all_of_several_processes_end_where_the_folder_is_held(work):
    if torch.cuda.is_available():
        pytest.skip("two processes would want two GPUs")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mixscope", "train"]
    with hold_folder(work / "run", note=pytest.fail):
        before = contents(work / "run")
        done = subprocess.run(
            [sys.executable, *command, "--resume", "run"],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert contents(work / "run") == before
    assert done.returncode != 0
    assert "mixscope: error: run is in use by process" in done.stderr
