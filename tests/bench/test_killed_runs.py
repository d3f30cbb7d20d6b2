"""Runs that are killed while they write end, gone on with, as if nothing had been."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NUM_KILLS = 20


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What the runs that were killed, and the one that was not, have left."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(Path(__file__).with_name("killed_runs.py")), str(folder), str(NUM_KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_runs_killed_at_random_writes_end_with_the_numbers_weights_and_pictures_of_an_unbroken_one(killed):
    assert sum(killed["kills"]) == NUM_KILLS
    assert killed["changes"] > 30  # of the folder in an unbroken run: what the kills are spread over
    for broken in killed["broken"]:
        assert broken == killed["unbroken"]


def test_runs_killed_at_random_writes_leave_nothing_but_the_files_of_a_run(killed):
    files = ["checkpoints", "checkpoints/last.pt", "checkpoints/weights.safetensors", "metrics.jsonl"]
    files += ["pictures.json", "predictions.safetensors", "report.html", "run.json"]
    assert killed["unbroken"]["files"] == files
    assert killed["unbroken"]["status"] == "finished"
