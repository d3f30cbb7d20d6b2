"""Files of weights that mean harm: no regular files, packed zeros, headers that lie; one line, and little memory."""

import json
import struct
import zipfile

import pytest
import torch
from helpers.hostile_files import MIB, SPECIAL, in_seconds, make_broken_link, make_circle, peak_growth
from torch import nn

from mixscope.base.errors import UserError
from mixscope.base.files import EMPTY_SEAL, fill_seal
from mixscope.models.external import build_from_file
from mixscope.models.weights import load_weights
from mixscope.training.checkpoint import load_state, save_state

FEW_MIB = 100


def model():
    return nn.Linear(2, 2)


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".tar", ""])
def test_only_regular_files_are_read_as_weights(tmp_path, suffix, make):
    path = tmp_path / f"weights{suffix}"
    make(path)
    expected = "no such file of weights" if make in (make_broken_link, make_circle) else "must be a (regular )?file"
    with in_seconds(20), pytest.raises(UserError, match=expected):
        load_weights(model(), path)


@pytest.mark.parametrize("make", SPECIAL)
def test_only_regular_files_are_resumed_from(tmp_path, make):
    make(tmp_path / "last.pt")
    expected = "there is none" if make in (make_broken_link, make_circle) else "must be a regular file, got"
    with in_seconds(20), pytest.raises(UserError, match=expected):
        load_state(tmp_path)


@pytest.mark.parametrize("make", SPECIAL)
def test_only_regular_files_are_run_for_a_network(tmp_path, make):
    make(tmp_path / "net.py")
    expected = "no such Python file" if make in (make_broken_link, make_circle) else "must be a regular file, got"
    with in_seconds(20), pytest.raises(UserError, match=expected):
        build_from_file(f"{tmp_path / 'net.py'}:make", num_classes=2, image_shape=(1, 2, 2))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ""])
def test_an_empty_file_is_told_as_such(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.touch()
    with pytest.raises(UserError, match=r"weights.*: is empty: "):
        load_weights(model(), path)


def packed_again(path, *, compression, zeros=0):
    """Write a file of torch's anew, its parts compressed, the first tensor replaced by zeros where asked for."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(zeros) if zeros and name.endswith("data/0") else content)
    return path


def save_own(path):
    torch.save(model().state_dict(), path)
    return path


def test_a_torch_file_with_compressed_parts_is_refused_unread(tmp_path):
    path = save_own(tmp_path / "weights.pt")
    load_weights(model(), path)
    packed_again(path, compression=zipfile.ZIP_DEFLATED, zeros=200 * MIB)

    def attempt():
        with in_seconds(30), pytest.raises(UserError, match=r"as torch\.save writes them, but .* is compressed$"):
            load_weights(model(), path)

    assert peak_growth(attempt) < FEW_MIB


def test_a_checkpoint_with_compressed_parts_is_refused_unread_even_with_a_checksum_that_fits(tmp_path):
    save_state(tmp_path, {"training": {"x": torch.zeros(3)}, "wall_seconds": 1.0})
    assert load_state(tmp_path)["wall_seconds"] == 1.0
    path = packed_again(tmp_path / "last.pt", compression=zipfile.ZIP_DEFLATED, zeros=200 * MIB)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = EMPTY_SEAL
    content = bytearray(path.read_bytes())
    fill_seal(content, len(content) - len(EMPTY_SEAL))
    path.write_bytes(content)

    def attempt():
        with (
            in_seconds(30),
            pytest.raises(UserError, match=r"last\.pt: must hold its parts as they are, .* compressed$"),
        ):
            load_state(tmp_path)

    assert peak_growth(attempt) < FEW_MIB


def test_parts_of_a_torch_file_that_lie_over_one_another_are_refused(tmp_path):
    path = save_own(tmp_path / "weights.pt")
    packed_again(path, compression=zipfile.ZIP_STORED)
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    entry = content[directory : content.index(b"PK\x01\x02", directory + 4)]
    size = struct.pack("<L", 1 << 30)
    liar = entry[:20] + size + size + entry[28:]
    path.write_bytes(content[:directory] + liar + content[directory + len(entry) :])
    with pytest.raises(UserError, match="for its parts, the file's own size"):
        load_weights(model(), path)


def safetensors_file(path, header, content=bytes(24)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


LIES = {
    "a shape": {"weight": {"dtype": "F32", "shape": [10**9, 1000, 1000], "data_offsets": [0, 24]}},
    "an end": {"weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
    "an overflow": {"weight": {"dtype": "F32", "shape": [2**62, 2**62, 16], "data_offsets": [0, 0]}},
    "two in one place": {name: {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]} for name in ("weight", "bias")},
    "a shape of another kind": {"weight": {"dtype": "F32", "shape": "x", "data_offsets": [0, 24]}},
    "no object": [],
    "depth": b"[" * 10**6,
    "nothing": b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_safetensors_header_that_lies_is_refused_in_one_line(tmp_path, lie):
    path = safetensors_file(tmp_path / "weights.safetensors", LIES[lie])
    errors = []

    def attempt():
        with in_seconds(30), pytest.raises(UserError, match=r"weights\.safetensors: ") as caught:
            load_weights(model(), path)
        errors.append(str(caught.value))

    assert peak_growth(attempt) < FEW_MIB
    assert "\n" not in errors[0]


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8])
def test_a_safetensors_header_said_to_be_longer_than_the_file_is_refused(tmp_path, length):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(UserError, match=r"cannot be read as safetensors \("):
        load_weights(model(), path)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04.", b"PK\x03\x04" + bytes(100), bytes(1000), b"cos\nsystem\n(S'true'\ntR."]
)
def test_no_message_about_weights_advises_to_trust_the_file(tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_weights(model(), tmp_path / "weights.pt")
    assert not {"weights_only", "trust", "allow_pickle"} & set(str(caught.value).replace("=", " ").split())


def test_a_torchscript_file_is_refused_without_the_advice_to_trust_it(tmp_path):
    path = save_own(tmp_path / "weights.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/constants.pkl", b"x")
    with pytest.raises(UserError) as caught:
        load_weights(model(), path)
    assert "weights_only" not in str(caught.value)
