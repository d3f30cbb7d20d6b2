"""Two hundred command lines of real and broken words, drawn with a fixed seed: each ends well or in one line."""

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import files_below, run_command

NUM_LISTS, SEED = 200, 11

NETWORK = """
import sys
import torch
from torch import nn


class Good(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU()), nn.Linear(8, num_classes)

    def forward(self, inputs):
        return self.head(self.body(inputs))


class Leaves(Good):
    def forward(self, inputs):
        sys.exit(0)


class LeavesInTraining(Good):
    def forward(self, inputs):
        if self.training:
            sys.exit(0)
        return super().forward(inputs)


class Frozen(Good):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.requires_grad_(False)


class Mute(Exception):
    def __str__(self):
        raise self


def fails(num_classes):
    raise Mute


def leaves():
    raise SystemExit
"""

TEXTS = [
    *("[/x]", "[bold]x[/bold]", "asc é", "\udcff", "a\nb", "\x1b[31m", "x" * 300, "", " ", "..", "💥", ":smile:"),
    *(
        "{0}",
        "%s",
        "-",
        "--",
        "a/b",
        "\u202e",
        "1",
        "digits",
        "None",
        "'",
        '"',
        "head",
        "body.1",
        "head:input",
        "input",
    ),
]
PATHS = [
    *("new", "deep/new", "file", "link", "dangling", "loop", "fifo", "fifo/below", "/proc/x/y", "run"),
    *("run/run.json", "empty", "x.html", "[/y]", "asc é", "\udcff", "x" * 300, "", ".", "..", "~", "d.npz", "n.py"),
    *("file/below", "link/below", "dangling/below", "blocked", "halfway", "a\nb", "n.py:Good", "w.pt"),
]
COUNTS = ["0", "-1", "1", "2", "3", "5", "12", "24", "99999999999999999999", "9" * 5000, "0.5", "many", "", "1_0", "٣"]
NUMBERS = [
    *("0", "-1", "1", "2", "0.5", "0.9", "1e-3", "1e-308", "1e308", "nan", "inf", "-inf", "1e400", "-0", "many", ""),
    *("[/x]", "0x10", "1,2"),
]
HARMLESS = ["0.01", "0.1", "-1", "0", "nan", "inf", "1e308", "many", "-1e6"]  # others are learning rates that diverge
MODELS = [
    *("mlp", "mlp-8x1", "mlp-0x0", "mlp-99999999x99999999", "mlp-9x99999999999", "wide-resnet-10-0", "wide-resnet-9-1"),
    *("n.py:Good", "n.py:Leaves", "n.py:LeavesInTraining", "n.py:Frozen", "n.py:fails", "n.py:leaves", "n.py", "n.py:"),
    *("n.py:nothing", "timm:resnet18", "convnt", ":", "file:x", "wide-resnet-99999994-1", "[/x].py:f"),
]
DATA = ["d.npz", "digits", "mnits", "hf:", "file", "empty", "nowhere/at/all", "[/x]", "", "fifo", "run", "link"]
OPTIONS = {
    "train": {
        "--data": DATA,
        "--data-dir": PATHS,
        "--model": MODELS,
        "--head": TEXTS,
        "--label": TEXTS,
        "--mixing": ["none", "mixup", "cutmix", "manifold-mixup", "label-mixup", "mixpu", "[/x]"],
        "--classifier": ["learned", "fixed-etf", "x"],
        "--mixing-sites": TEXTS,
        "--sites": TEXTS,
        "--out": PATHS,
        "--from": PATHS,
        "--resume": PATHS,
        "--tracker": ["wandb", "x"],
        "--device": ["cpu", "tpu", "mps"],
        "--optimizer": ["sgd", "adam", "adamw", "x"],
        "--schedule": ["constant", "cosine", "multi-step", "one-cycle", "x"],
        "--loss": ["cross-entropy", "squared-error", "x"],
        "--learning-rate": HARMLESS,
        "--weight-decay": HARMLESS,
        "--consistency-weight": HARMLESS,
        "--consistency-teacher": ["same", "ema", "x"],
        "--precision": ["fp32", "bf16", "fp8"],
        "--per-example": None,
        "--no-channels-last": None,
        "--unlabelled-disjoint": None,
        "--flip": None,
        **dict.fromkeys(
            [
                *("--num-points", "--seed", "--split-seed", "--test-size", "--subset", "--test-subset", "--threads"),
                *("--crop-padding", "--consistency-points", "--unlabelled", "--consistency-batch", "--num-pairs"),
                *("--linearity-pairs", "--plane-images", "--measure-every", "--batch-size", "--epochs", "--mixing-off"),
            ],
            COUNTS,
        ),
        **dict.fromkeys(
            [
                *("--alpha", "--label-noise", "--consistency-alpha", "--consistency-ramp", "--consistency-decay"),
                *("--linearity-alpha", "--momentum", "--gamma", "--milestones", "--label-smoothing"),
                *("--max-gradient-norm", "--test-size"),
            ],
            NUMBERS,
        ),
    },
    "measure": {
        "--weights": ["w.pt", *PATHS],
        "--logits": ["l.npy", "y.npy", *PATHS],
        "--probabilities": ["l.npy", *PATHS],
        "--labels": ["y.npy", "l.npy", *PATHS],
        "--class-names": TEXTS,
        "--all": None,
        "--data": DATA,
        "--head": TEXTS,
        "--mean": NUMBERS,
        "--std": NUMBERS,
        "--out": PATHS,
        "--sites": TEXTS,
        "--num-pairs": COUNTS,
        "--device": ["cpu", "tpu"],
    },
    "theory mixup-features": {
        "--alpha": NUMBERS,
        "--feature-penalty": NUMBERS,
        "--num-classes": COUNTS,
        "--out": PATHS,
    },
    "theory label-noise": {"--alpha": NUMBERS, "--radius": NUMBERS, "--num-pairs": COUNTS, "--out": PATHS},
    "theory layer-peeled": {"--dim": COUNTS, "--log-time": NUMBERS, "--seed": COUNTS, "--out": PATHS},
    "theory random-features": {"--input-dim": COUNTS, "--num-features": COUNTS, "--seeds": COUNTS, "--out": PATHS},
    "report": {"--title": TEXTS, "--out": PATHS},
    "data": {"--fetch": ["digits", "mnits", *TEXTS], "--data-dir": PATHS},
    "demo": {"--seeds": ["0", "-1", "nan", "9" * 30], "--epochs": COUNTS, "--out": PATHS},
    "reproduce beyond": {"--seeds": COUNTS, "--jobs": ["0", "1", "nan"], "--out": PATHS, "--data-dir": PATHS},
}
TINY = ["--num-pairs", "4", "--linearity-pairs", "4", "--plane-images", "4"]
TRAIN = ["--data", "d.npz", "--epochs", "1", "--model", "mlp-8x1", "--device", "cpu", *TINY]
BASES = {
    "train": [
        TRAIN,
        [*TRAIN, "--model", "n.py:Good"],
        [*TRAIN, "--consistency-points", "2", "--mixing", "none"],
        [*TRAIN, "--mixing", "manifold-mixup"],
        ["--from", "run"],
        ["--resume", "run"],
    ],
    "measure": [["n.py:Good", "--weights", "w.pt", "--data", "d.npz", *TINY]],
    "theory mixup-features": [["--feature-penalty", "0.1"]],
    "theory label-noise": [["--num-pairs", "100"]],
    "theory layer-peeled": [["--descent-steps", "1"]],  # refused: what is not takes seconds
    "theory random-features": [["--num-examples", "1"]],
    "report": [["run"], ["run", "run"], [], ["file"], ["empty"], ["[/x]"], ["."], ["\udcff"], ["fifo"]],
    "data": [[]],
    "demo": [["--seeds", "0"]],
    "reproduce beyond": [["--jobs", "1"]],
}
STRAY = ["--help", "--nonsense", "--out", "-", "--", "\udcff", "[/x]", "--label=[/x]", "stray", "", "💥", "-h"]


def draw_arguments(generator: random.Random) -> list[str]:
    """Draw a command line: a command that works, and up to four changes of it."""
    command = generator.choices(list(BASES), weights=[12 if name == "train" else 2 for name in BASES])[0]
    words = [*command.split(), *generator.choice(BASES[command])]
    if command in ("train", "measure") and "--resume" not in words:
        words += ["--out", f"out{generator.randrange(10**6)}"]
    options = OPTIONS[command]
    for _ in range(generator.choice([0, 1, 1, 2, 3, 4])):
        name = generator.choice(list(options))
        values = options[name]
        words += [name] if values is None else [name, generator.choice(values)]
    if generator.random() < 0.1:
        words.insert(generator.randrange(len(words) + 1), generator.choice(STRAY))
    if generator.random() < 0.05:
        words.pop(generator.randrange(len(words)))
    return words


def make_world(folder) -> None:
    """Fill a folder with what command lines name."""
    images = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(folder / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    (folder / "n.py").write_text(NETWORK)
    scope: dict = {}
    exec(NETWORK, scope)
    torch.save(scope["Good"](3).state_dict(), folder / "w.pt")
    np.save(folder / "l.npy", np.random.default_rng(1).normal(size=(24, 3)))
    np.save(folder / "y.npy", labels)
    (folder / "file").write_text("text")
    for name in ("empty", "blocked/report.html", "halfway/checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "halfway/checkpoints/last.pt").symlink_to("nowhere")
    for name, target in (("link", "empty"), ("dangling", "nowhere"), ("loop", "loop")):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "fifo")
    ended = run_command("train", *TRAIN, "--out", "run")
    assert ended.code == 0, ended.errors


LISTS = [draw_arguments(random.Random(f"{SEED}/{number}")) for number in range(NUM_LISTS)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "inside"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MIXSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HOME", str(folder))
        patch.delenv("MIXSCOPE_DATA", raising=False)
        patch.syspath_prepend(Path(__file__).parents[1] / "studies")
        from sample_studies import doubling_study

        study = doubling_study(folder / "seen")
        patch.setattr("mixscope.studies.names.load_study", lambda key: replace(study, key=key))
        make_world(folder)
        yield folder


@pytest.mark.parametrize("number", range(NUM_LISTS))
def test_a_command_line_ends_well_or_in_one_line_that_leaves_nothing(world, number):
    before = files_below(world.parent)
    ended = run_command(*LISTS[number])
    assert ended.code in (0, 2), (LISTS[number], ended.errors)
    if ended.code == 2:
        lines = ended.errors.splitlines()
        assert len(lines) == 1, (LISTS[number], ended.errors)
        assert lines[0].startswith("mixscope: error: "), (LISTS[number], lines)
        assert files_below(world.parent) == before, LISTS[number]
