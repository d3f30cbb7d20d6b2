"""Trackers: they write into the run's folder, are missed at the start, and cost no run where they fail."""

import json
import sys

import numpy as np
import pytest
from accelerate.utils import LoggerType
from helpers.command_line import run_command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

WANDB = """
import json, os
from pathlib import Path

class _Config(dict):
    def update(self, values, allow_val_change=False):
        super().update(values)

class _Run:
    def log(self, values, step=None, **others):
        {log}
        with (Path(self.dir) / "log.jsonl").open("a") as file:
            file.write(json.dumps(dict(values, step=step), default=lambda figure: type(figure).__name__) + "\\n")

    def finish(self):
        {finish}

config = _Config()

def init(project=None, dir=None, **others):
    {init}
    run = _Run()
    run.dir = os.path.join(dir or ".", "wandb")
    os.makedirs(run.dir, exist_ok=True)
    return run
"""


@pytest.fixture(autouse=True)
def no_wandb():
    """Forget a wandb that a test has imported."""
    yield
    sys.modules.pop("wandb", None)


@pytest.fixture
def train(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(tmp_path / "d.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    looks = ["--num-pairs", "4", "--linearity-pairs", "4", "--plane-images", "4", "--device", "cpu"]

    def run(*options):
        words = ["--data", tmp_path / "d.npz", "--model", "mlp-8x1", "--epochs", "2", *looks, "--out", "run"]
        return work, run_command("train", *words, *options)

    return run


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """Install a wandb that writes where it is told."""

    def install(**bodies):
        site = tmp_path / "site"
        site.mkdir()
        text = WANDB
        for name in ("log", "finish", "init"):
            text = text.replace(f"{{{name}}}", bodies.get(name, "pass"))
        (site / "wandb.py").write_text(text)
        monkeypatch.syspath_prepend(site)
        monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.WANDB])

    return install


def test_wandb_writes_into_the_run_folder(train, wandb):
    wandb()
    work, ended = train("--tracker", "wandb")
    assert (ended.code, ended.errors) == (0, "")
    assert [path.name for path in work.iterdir()] == ["run"]
    lines = [json.loads(line) for line in (work / "run/tracker/wandb/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 2]
    assert "test/error" in lines[0]
    assert lines[3] == {"figures/reliability_diagram": "Figure", "figures/plane": "Figure", "step": 2}


def test_tensorboard_gets_the_figures_of_the_end(train):
    work, ended = train("--tracker", "tensorboard")
    assert (ended.code, ended.errors) == (0, "")
    events = EventAccumulator(str(work / "run/tracker/mixscope")).Reload()
    shown = {name: [event.step for event in events.Images(name)] for name in events.Tags()["images"]}
    assert shown == {"figures/reliability_diagram": [2], "figures/plane": [2]}


def test_without_matplotlib_tensorboard_gets_numbers_and_that_is_said(train, monkeypatch):
    monkeypatch.setattr("mixscope.bench.tracking.can_draw", lambda: False)
    work, ended = train("--tracker", "tensorboard")
    assert (ended.code, ended.errors) == (0, "")
    note = "note: TensorBoard gets no figures, as matplotlib is not installed: pip install matplotlib"
    assert ended.output.count(note) == 1
    events = EventAccumulator(str(work / "run/tracker/mixscope")).Reload()
    assert events.Tags()["images"] == []
    assert "test/error" in events.Tags()["scalars"]


@pytest.mark.parametrize("missing", ["absent", "a folder of that name", "broken"])
def test_a_package_that_is_missing_is_told_before_anything_is_read(train, tmp_path, monkeypatch, missing):
    site = tmp_path / "site"
    if missing == "a folder of that name":
        (site / "wandb").mkdir(parents=True)
    if missing == "broken":
        site.mkdir()
        (site / "wandb.py").write_text("raise OSError('no such library')\n")
    if missing != "absent":
        monkeypatch.syspath_prepend(site)
    work, ended = train("--tracker", "wandb", "--data", "not/looked/at")
    assert ended.code == 2
    assert ended.errors.count("\n") == 1
    assert "tracker wandb needs its package" in ended.errors
    assert "pip install 'mixscope[wandb]'" in ended.errors
    assert not list(work.iterdir())


@pytest.mark.parametrize("body", ["raise RuntimeError('not logged in')", "raise SystemExit(1)"])
def test_a_tracker_that_cannot_begin_is_one_line_and_leaves_nothing(train, wandb, body):
    wandb(init=f"os.makedirs(os.path.join(dir, 'x')); {body}")
    work, ended = train("--tracker", "wandb")
    assert ended.code == 2
    assert ended.errors.startswith("mixscope: error: tracker wandb could not begin: ")
    assert ended.errors.count("\n") == 1
    assert not list(work.iterdir())


@pytest.mark.parametrize("place", ["log", "finish"])
def test_a_tracker_that_fails_costs_no_run(train, wandb, place):
    wandb(**{place: "raise RuntimeError('[no] network')"})
    work, ended = train("--tracker", "wandb")
    assert (ended.code, ended.errors) == (0, "")
    assert json.loads((work / "run/run.json").read_text())["status"] == "finished"
    note = "note: tracker wandb failed and gets no more numbers: RuntimeError: [no] network"
    assert ended.output.count(note) == 1
