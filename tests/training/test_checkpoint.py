"""Checkpoints are whole or absent, and reading one executes nothing."""

import errno
import os
import pickle
import zipfile
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mixscope.base.errors import UserError
from mixscope.base.files import atomic_file, check_writable, sweep
from mixscope.models.weights import load_weights
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


def test_temporary_files_of_dead_writers_are_removed_and_those_of_living_ones_stay(tmp_path):
    dead = [tmp_path / ".last.pt.12345.tmp", tmp_path / ".a [b].json.7.tmp"]
    others = [tmp_path / name for name in (".last.pt.tmp", "last.pt.1.tmp", ".mine.x.tmp", ".1.tmp")]
    for path in [*dead, *others]:
        path.write_text("half")
    with atomic_file(tmp_path / "alive") as file:
        file.write(b"whole")
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {os.path.basename(file.name), *(p.name for p in others)}
    assert (tmp_path / "alive").read_bytes() == b"whole"


def test_writing_a_file_removes_what_was_left_of_earlier_tries_and_nothing_else(tmp_path):
    for name in (".page [1].html.12345.tmp", ".other.html.12345.tmp"):
        (tmp_path / name).write_text("half")
    with atomic_file(tmp_path / "page [1].html") as file:
        file.write(b"x")
    assert sorted(os.listdir(tmp_path)) == [".other.html.12345.tmp", "page [1].html"]


def test_files_are_written_and_leftovers_left_alone_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    def no_locks(descriptor, *, blocking):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.lock_descriptor", no_locks)
    (tmp_path / ".a.1.tmp").write_text("half")
    with atomic_file(tmp_path / "a") as file:
        file.write(b"x")
    assert sorted(os.listdir(tmp_path)) == [".a.1.tmp", "a"]


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
    save_state(tmp_path, {"training": {}, "wall_seconds": Malicious(str(trap))})
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it holds more than tensors"):
        load_state(tmp_path)
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Malicious(str(trap))))
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it is damaged, or written by"):
        load_state(tmp_path)
    assert not trap.exists()


def test_a_file_that_holds_something_else_is_named(tmp_path):
    save_state(tmp_path, {"epoch": 3})
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it holds something else"):
        load_state(tmp_path)


STATE = {"training": {"epoch": 1, "w": torch.zeros(4)}, "wall_seconds": 0.0}


def test_any_flipped_bit_and_any_cut_of_a_checkpoint_is_damage_and_what_to_do_is_said(tmp_path):
    save_state(tmp_path / "run" / "checkpoints", STATE)
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for position in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        damaged.append(bytes(flipped))
    damaged.append(whole + b"x")
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"it is damaged, .*: put a copy .* begin anew with: .* --from .*/run$"):
            load_state(path.parent)
    path.write_bytes(whole)
    assert load_state(path.parent)["training"]["epoch"] == 1


def test_a_checkpoint_without_a_checksum_is_not_ours(tmp_path):
    torch.save(STATE, tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"last.pt must be a checkpoint of mixscope; it is damaged, or written by"):
        load_state(tmp_path)


def test_a_checkpoint_is_an_archive_that_torch_reads_by_itself(tmp_path):
    save_state(tmp_path, STATE)
    assert zipfile.ZipFile(tmp_path / "last.pt").testzip() is None
    assert torch.load(tmp_path / "last.pt", weights_only=True)["training"]["epoch"] == 1


def test_any_flipped_bit_of_our_weights_is_refused_or_changes_no_number(tmp_path):
    net, path = nn.Linear(3, 2), tmp_path / "weights.safetensors"
    save_weights(path, net)
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        other = nn.Linear(3, 2)
        with suppress(UserError):
            load_weights(other, path)
            assert torch.equal(other.weight, net.weight)
            assert torch.equal(other.bias, net.bias)
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(UserError, match=r"weights.safetensors: damaged since mixscope wrote it"):
        load_weights(nn.Linear(3, 2), path)
