"""Checkpoints are whole or absent, and reading one executes nothing."""

import os
import pickle

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mixscope._errors import UserError
from mixscope._files import atomic_file, check_writable
from mixscope.training.checkpoint import load_state, save_state, save_weights


def test_a_state_comes_back_as_it_was(tmp_path):
    save_state(tmp_path, {"training": {"epoch": 3, "w": torch.tensor([1.5])}, "wall_seconds": 2.5})
    state = load_state(tmp_path)
    assert state["training"]["epoch"] == 3
    assert state["training"]["w"].tolist() == [1.5]
    assert state["wall_seconds"] == 2.5


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


def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder'$"), atomic_file(tmp_path / "folder") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_place_that_cannot_be_written_is_named_before_anything_is_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file/run must be a folder, but .*file is none"):
        check_writable(tmp_path / "file" / "run")
    check_writable(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as one who may write anywhere
    with pytest.raises(UserError, match=rf"new/run must be writable, but {tmp_path} is not"):
        check_writable(tmp_path / "new" / "run")


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
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it is damaged or holds more"):
        load_state(tmp_path)
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Malicious(str(trap))))
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it is damaged or holds more"):
        load_state(tmp_path)
    assert not trap.exists()


def test_a_file_that_holds_something_else_is_named(tmp_path):
    save_state(tmp_path, {"epoch": 3})
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it holds something else"):
        load_state(tmp_path)


def test_a_truncated_checkpoint_is_named(tmp_path):
    save_state(tmp_path, {"epoch": 1, "model": {"w": torch.zeros(1000)}})
    path = tmp_path / "last.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it is damaged or holds more"):
        load_state(tmp_path)
