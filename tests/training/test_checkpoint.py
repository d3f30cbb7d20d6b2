"""Checkpoints are whole or absent, and reading one executes nothing."""

import os
import pickle

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mixscope._errors import UserError
from mixscope._files import atomic_file
from mixscope.training.checkpoint import load_state, save_state, save_weights


def test_a_state_comes_back_as_it_was(tmp_path):
    save_state(tmp_path, {"epoch": 3, "model": {"w": torch.tensor([1.5])}})
    state = load_state(tmp_path)
    assert state["epoch"] == 3
    assert state["model"]["w"].tolist() == [1.5]


def test_a_write_that_breaks_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_weights_are_readable_safetensors_whatever_their_layout(tmp_path):
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "weights.safetensors", net)
    loaded = load_file(tmp_path / "weights.safetensors")
    assert loaded.keys() == net.state_dict().keys()
    assert torch.equal(loaded["weight"], net.weight)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint to resume from, but there is none"):
        load_state(tmp_path)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_reading_executes_nothing(tmp_path):
    trap = tmp_path / "trap"
    torch.save({"epoch": Malicious(str(trap))}, tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"last.pt must be a mixscope checkpoint"):
        load_state(tmp_path)
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Malicious(str(trap))))
    with pytest.raises(UserError, match=r"last.pt must be a mixscope checkpoint"):
        load_state(tmp_path)
    assert not trap.exists()


def test_a_truncated_checkpoint_is_named(tmp_path):
    save_state(tmp_path, {"epoch": 1, "model": {"w": torch.zeros(1000)}})
    path = tmp_path / "last.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"last.pt must be a mixscope checkpoint"):
        load_state(tmp_path)
