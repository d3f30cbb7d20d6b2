"""Weights of unusual networks are saved before the first epoch as surely as after the last, or told at the start."""

import numpy as np
import pytest
import torch
from helpers.command_line import run_command
from safetensors.torch import load_file
from torch import nn

from mixscope.base.errors import UserError
from mixscope.training.checkpoint import encode_weights, save_weights

TIED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.second = nn.Linear(36, 36), nn.Linear(36, 36)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(36, num_classes)

    def forward(self, inputs):
        return {"logits": self.fc(input=self.second(self.first(inputs.flatten(1)).relu()))}


class Counting(Net):
    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        pass
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(tmp_path / "d.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own.py").write_text(TIED)

    def run(factory):
        looks = ["--num-pairs", "4", "--linearity-pairs", "4", "--plane-images", "4", "--device", "cpu"]
        words = [
            "--data",
            "d.npz",
            "--model",
            f"own.py:{factory}",
            "--epochs",
            "1",
            "--batch-size",
            "12",
            "--out",
            "run",
        ]
        return run_command("train", *words, *looks)

    return run


def test_tied_weights_and_a_head_of_another_name_are_trained_saved_and_resumed(train, tmp_path):
    ended = train("Net")
    assert ended.code == 0, ended.errors
    state = load_file(tmp_path / "run/checkpoints/weights.safetensors")
    assert torch.equal(state["first.weight"], state["second.weight"])
    assert run_command("train", "--resume", "run").code == 0


def test_state_that_is_no_tensor_is_told_before_anything_is_written(train, tmp_path):
    ended = train("Counting")
    assert ended.code == 2
    assert "_extra_state of the network must be a tensor to be saved, got {'calls': 3}" in ended.errors
    assert not (tmp_path / "run").exists()


def test_views_and_transposed_weights_are_saved(tmp_path):
    model = nn.Linear(3, 4)
    model.weight = nn.Parameter(torch.arange(12.0).reshape(3, 4).T)
    whole = torch.arange(10.0)
    model.register_buffer("first", whole[:5])
    model.register_buffer("all", whole)
    model.register_buffer("none", torch.zeros(0))
    model.register_buffer("empty", torch.zeros(0))
    save_weights(tmp_path / "w.safetensors", model)
    state = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.zeros(2, device="meta"), "without values, on the meta device"),
        (torch.zeros(2).to_sparse(), "of layout torch.sparse_coo"),
    ],
)
def test_what_safetensors_cannot_hold_is_told(value, kind):
    model = nn.Linear(2, 2)
    model.register_buffer("odd", value)
    with pytest.raises(
        UserError, match=f"odd of the network must be a plain tensor to be saved, got one that is {kind}"
    ):
        encode_weights(model)
