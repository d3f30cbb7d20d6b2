"""Networks from a file of the user's own that cannot be run: one line and exit code 2, before a folder exists."""

import numpy as np
import pytest
import torch
from helpers.command_line import run_command

from mixscope.bench.build import build_bench
from mixscope.bench.observer import SILENT
from mixscope.bench.options import DataOptions, MixingOptions, TrainOptions
from mixscope.training.recipe import Recipe

START = """
import sys
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU()), nn.Linear(8, num_classes)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return self.head(self.body(self.norm(inputs)))


class Odd(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Back(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        {body}
"""
IN_FORWARD = (
    START
    + """

class Own(Net):
    def forward(self, inputs):
        logits = super().forward(inputs)
        {body}
        return logits
"""
)
IN_TRAINING = IN_FORWARD.replace(
    "        {body}\n        return", "        if self.training:\n            {body}\n        return"
)
IN_BACKWARD = (
    START
    + """

class Own(Net):
    def forward(self, inputs):
        return Back.apply(super().forward(inputs))
"""
)
FACTORY = (
    START
    + """

def Own(num_classes):
    {body}
    return Net(num_classes)
"""
)
AT_IMPORT = START + "\n\n{body}\nOwn = Net\n"
RAISED = {
    "sys.exit(0)": "SystemExit: 0",
    "sys.exit()": "SystemExit",
    "raise Odd('x')": "Odd: x",
    "raise Mute": "Mute",
    "raise GeneratorExit": "GeneratorExit",
    "raise ValueError('two\\nlines')": "ValueError: two lines",
    "raise RuntimeError('y' * 5000)": f"RuntimeError: {'y' * 500}...",
}
PLACES = {
    "import": AT_IMPORT,
    "factory": FACTORY,
    "forward": IN_FORWARD,
    "training": IN_TRAINING,
    "backward": IN_BACKWARD,
}
GIVEN = {
    "logits[:1]": "must give one logit for each of 3 classes, got shape (1, 3) for 2 images",
    "logits[:, :2]": "must give one logit for each of 3 classes, got shape (2, 2) for 2 images",
    "logits * float('nan')": "must give finite logits",
    "logits / 0": "must give finite logits",
    "(len(logits), logits)": "the model's output must be a (B, K) tensor of logits, got tuple: return the logits",
    "None": "the model's output must be a (B, K) tensor of logits, got NoneType: return the logits",
    "{'scores': logits}": "got dict with 'scores': return the logits, their .logits, or a mapping with 'logits'",
    "logits.softmax(dim=1)": "must be logits, got rows of probabilities: return what goes into the softmax",
    "logits.long()": "must give logits in floating point, got torch.int64",
}
OTHERS = {
    "frozen": ("self.requires_grad_(False)", "", "must have a parameter that can be trained, got none"),
    "detached": ("", "return Net.forward(self, inputs).detach()", "must give logits that depend on a parameter"),
    "fixed": (
        "",
        "return Net.forward(self, inputs.view(2, 1, 6, 6))",
        "must take images of shape 1x6x6, but it raised",
    ),
    "small": (
        "",
        "assert len(inputs) < 16; return Net.forward(self, inputs)",
        "must train on 16 images at once, but it",
    ),
    "sites": ("self.sites = ('norm', 'spare', 'head'); self.spare = nn.Identity()", "", "site 'spare' must be run in"),
    "unborn": ("del self._modules", "", "must return a torch.nn.Module that called super().__init__(), got"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "d.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(path, train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    return path


@pytest.fixture
def train(tmp_path, monkeypatch, images):
    """Write a network's file and train it; nothing but the file may be there afterwards, unless it is finished."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path.parent / "cache"))

    def run(text, *options):
        (tmp_path / "own.py").write_text(text)
        looks = ["--num-pairs", "4", "--linearity-pairs", "4", "--plane-images", "4", "--device", "cpu"]
        words = ["--data", images, "--model", "own.py:Own", "--epochs", "2", "--batch-size", "16", *looks]
        return run_command("train", *words, *options)

    return run


def refused(ended, folder):
    assert ended.code == 2, ended.errors
    assert ended.errors.startswith("mixscope: error: ")
    assert ended.errors.count("\n") == 1
    assert {path.name for path in folder.iterdir()} <= {"own.py", "__pycache__"}
    return ended.errors


@pytest.mark.parametrize("body", RAISED)
@pytest.mark.parametrize("place", PLACES)
def test_whatever_the_users_own_code_raises_is_one_line(train, tmp_path, place, body):
    assert RAISED[body] in refused(train(PLACES[place].replace("{body}", body)), tmp_path)


@pytest.mark.parametrize("place", ["import", "factory", "forward", "training", "backward"])
def test_ctrl_c_in_the_users_own_code_stays_ctrl_c(train, tmp_path, place):
    ended = train(PLACES[place].replace("{body}", "raise KeyboardInterrupt"))
    assert (ended.code, ended.errors) == (130, "mixscope: interrupted\n")
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("place", ["forward", "training"])
@pytest.mark.parametrize("given", GIVEN)
def test_what_a_network_gives_is_checked_in_both_modes(train, tmp_path, place, given):
    said = refused(train(PLACES[place].replace("{body}", f"logits = {given}")), tmp_path)
    message = GIVEN[given].replace("(1, 3) for 2", "(1, 3) for 16") if place == "training" else GIVEN[given]
    message = message.replace("(2, 2) for 2", "(16, 2) for 16") if place == "training" else message
    assert message in said


@pytest.mark.parametrize("name", OTHERS)
def test_a_network_that_cannot_be_trained_or_measured_is_named(train, tmp_path, name):
    made, forward, message = OTHERS[name]
    lines = ["", "", "class Own(Net):", "    def __init__(self, num_classes):", "        super().__init__(num_classes)"]
    lines += [f"        {made}"] * bool(made) + ["", "    def forward(self, inputs):"]
    lines += [f"        {forward or 'return super().forward(inputs)'}", ""]
    assert message in refused(train(START.replace("{body}", "pass") + "\n".join(lines)), tmp_path)


def test_a_layer_that_is_mixed_at_and_not_passed_through_is_named(train, tmp_path):
    text = START.replace("{body}", "pass") + "\n\nclass Own(Net):\n    pass\n"
    text = text.replace("self.calls = 0", "self.spare = nn.Identity()")
    text = text.replace("self.calls += 1", "")
    ended = train(text, "--mixing", "manifold-mixup", "--mixing-sites", "spare")
    assert "site 'spare' must be passed through exactly once" in refused(ended, tmp_path)


@pytest.mark.parametrize("error", ["sys.exit(0)", "raise RuntimeError('late')", "raise Odd('late')"])
def test_a_network_that_raises_late_fails_its_run_in_one_line_and_keeps_its_checkpoint(train, tmp_path, error):
    body = f"if self.calls > 3:\n                {error}"  # of two steps an epoch
    text = IN_TRAINING.replace("{body}", body, 2).replace("self.calls += 1", "self.calls += self.training")
    ended = train(text.replace(f"        {body}\n\n\nclass Own", "        pass\n\n\nclass Own"), "--out", "run")
    assert ended.code == 1
    assert ended.errors.startswith(f"mixscope: failed: {tmp_path / 'own.py'}:Own raised ")
    assert ended.errors.endswith("; the last checkpoint is run/checkpoints/last.pt\n")
    assert ended.errors.count("\n") == 1
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["training"]["epoch"] < 2


@pytest.mark.parametrize("copies", [True, False])
def test_trying_a_network_changes_neither_it_nor_a_random_draw(tmp_path, images, copies):
    lines = START.replace("{body}", "pass") + "\n\nclass Own(Net):\n    pass\n"
    if not copies:
        lines += "\n    def __deepcopy__(self, memo):\n        sys.exit(3)\n"
    (tmp_path / "own.py").write_text(lines)
    options = TrainOptions(
        data=DataOptions(data=str(images)),
        model=f"{tmp_path / 'own.py'}:Own",
        mixing=MixingOptions("manifold-mixup", mixing_sites=("input", "body")),
        training=Recipe(epochs=1, batch_size=16),
        device="cpu",
    )
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = build_bench(options, folder=tmp_path, tracker=None, observer=SILENT).model
    assert torch.equal(before, torch.get_rng_state())
    assert model.calls == (0 if copies else model.calls)
    assert model.training
    assert int(model.norm.num_batches_tracked) == 0
    assert torch.equal(model.norm.running_mean, torch.zeros(1))
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.manual_seed(5)
    again = build_bench(options, folder=tmp_path, tracker=None, observer=SILENT).model
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), again.parameters(), strict=True))
