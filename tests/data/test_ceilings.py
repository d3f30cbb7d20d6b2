"""Small files that unfold to large ones: refused in one line, and the memory in use stays small."""

import gzip
import lzma
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from data_files import cifar10_files, png, tree_files, write_folder, write_zip
from helpers.hostile_files import (
    MIB,
    in_seconds,
    peak_growth,
    png_of_zeros,
    tar_bytes,
    tar_of_zeros,
    xz_asking_for_4_gib,
    zeros_deflated,
    zeros_gz,
    zip_of_zeros,
)

from mixscope.base.errors import UserError
from mixscope.data import idx_and_matlab, image_tree, pixel_store, tar_stream
from mixscope.data.cifar import read_cifar10_folder, restricted_load
from mixscope.data.idx_and_matlab import IDX_IMAGES, read_idx, read_svhn_folder
from mixscope.data.image_tree import read_image_tree
from mixscope.data.npz import read_npz

NAMES = tuple("0123456789")
FEW_MIB = 150  # chunks (4 KiB of bz2 are 80 MiB), libraries, what malloc keeps; most files below unfold to 1 GiB


def refused(read, *words):
    """Check that reading ends in one line with these words, and takes little memory."""

    def attempt():
        with in_seconds(60), pytest.raises(UserError) as caught:
            read()
        errors.append(str(caught.value))

    errors = []
    assert peak_growth(attempt) < FEW_MIB
    for word in (*words,):
        assert word in errors[0]
    assert "\n" not in errors[0]
    assert "allow_pickle" not in errors[0]


def idx_header(*shape):
    return struct.pack(">L", IDX_IMAGES) + struct.pack(f">{len(shape)}L", *shape)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 2, 2), ("trailing data: header says 24 bytes",)),
        ((2**20, 45, 45), ("at most 1 GiB", "got 1.978 GiB")),
        ((2**32 - 1, 2**32 - 1, 2**32 - 1), ("at most 1 GiB",)),
    ],
)
def test_an_idx_file_of_2_gb_of_zeros_is_not_unpacked(tmp_path, shape, words):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_header(*shape)) + zeros_gz(2048))
    refused(lambda: read_idx(path, magic=IDX_IMAGES), *words)


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_an_idx_header_that_announces_more_than_there_is_takes_no_memory(tmp_path, name):
    content = idx_header(900_000, 32, 32) + bytes(1000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    refused(lambda: read_idx(tmp_path / name, magic=IDX_IMAGES), "cut off", "got 1016")


@pytest.mark.parametrize("says", [None, 1000])
@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_a_zip_archive_is_not_unpacked_beyond_the_ceiling(tmp_path, monkeypatch, compression, says):
    monkeypatch.setattr(image_tree, "FILE_BYTES", 16 * MIB)
    num_mib = 200 if compression == zipfile.ZIP_DEFLATED else 40
    path = zip_of_zeros(tmp_path / "set.zip", "a/x.png", num_mib, compression=compression, says=says)
    refused(lambda: read_image_tree(path), "set.zip", *(["a/x.png", "at most 16 MiB"] if says is None else []))


def test_a_member_of_a_tar_archive_is_not_unpacked_beyond_the_ceiling(tmp_path):
    refused(
        lambda: read_image_tree(tar_of_zeros(tmp_path / "set.tar.gz", "a/x.png", 1024)),
        "a/x.png",
        "at most 128 MiB",
        "got 1 GiB",
    )


def test_an_image_file_with_holes_is_not_read_beyond_the_ceiling(tmp_path):
    write_folder(tmp_path, tree_files())
    with (tmp_path / "train" / "cat" / "x.png").open("wb") as file:
        file.truncate(1 << 40)
    refused(lambda: read_image_tree(tmp_path), "train/cat/x.png", "128 MiB", "got 1 TiB", "scale the images down")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_the_header_of_a_tar_archives_member_is_short(tmp_path, kind):
    path = tar_of_zeros(tmp_path / "set.tar.gz", "a/x.png", 1024, kind=kind)
    refused(lambda: read_image_tree(path), "the header of a member takes 1 GiB")


def test_a_tar_archive_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_stream, "STREAM_BYTES", 64 * MIB)
    path = tar_of_zeros(tmp_path / "set.tar.gz", "notes", 1024)
    refused(lambda: read_image_tree(path), "at most 64 MiB for an archive unpacked")


def test_unpacking_xz_takes_no_more_memory_than_xz_itself_asks_for(tmp_path):
    path = tmp_path / "set.tar.xz"
    path.write_bytes(xz_asking_for_4_gib(tar_bytes(tree_files())))
    refused(lambda: read_image_tree(path), "unpacking takes more than 256 MiB of memory")


def test_xz_files_in_several_parts_with_zeros_between_are_read(tmp_path):
    content = tar_bytes(tree_files())
    parts = [lzma.compress(content[start : start + 5000]) for start in range(0, len(content), 5000)]
    assert len(parts) > 1
    (tmp_path / "set.tar.xz").write_bytes(b"\0\0\0\0".join(parts) + bytes(8))
    assert len(read_image_tree(tmp_path / "set.tar.xz").train) == 3


def test_large_images_are_refused_by_their_header(tmp_path):
    content = png_of_zeros(13_000, 13_000)
    assert len(content) < 200_000
    write_folder(tmp_path, {f"{name}/{i}.png": content for name in "ab" for i in range(8)})
    refused(lambda: read_image_tree(tmp_path), "a/0.png", "at most 16,777,216 pixels, got 13,000 x 13,000", "scale")


@pytest.mark.parametrize("size", [(10**6, 10**6), (2**31 - 1, 2**31 - 1)])
def test_an_image_header_that_lies_is_refused(tmp_path, size):
    content = bytearray(png_of_zeros(3, 2))
    content[16:24] = struct.pack(">LL", *size)
    content[29:33] = struct.pack(">L", zlib.crc32(content[12:29]))
    write_folder(tmp_path, {"a/x.png": bytes(content)})
    refused(lambda: read_image_tree(tmp_path), "a/x.png", "pixels")


@pytest.mark.parametrize("kind", ["folder", "set.zip"])
def test_images_that_together_exceed_the_disk_are_refused_after_the_first(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(pixel_store, "free_bytes", lambda _: 100)
    path = write_folder(tmp_path / kind, tree_files()) if kind == "folder" else write_zip(tmp_path / kind, tree_files())
    with pytest.raises(UserError, match=r"5 images decoded need 180 bytes in .*, got 100 bytes free; free some space"):
        read_image_tree(path)


def test_decoded_images_are_held_once(tmp_path):
    content = png_of_zeros(2048, 2048)
    write_folder(tmp_path, {f"{name}/{i}.png": content for name in "ab" for i in range(32)})  # 4 MiB each
    assert peak_growth(lambda: read_image_tree(tmp_path)) < 1.5 * 64 * 4


def write_array(path, header, content, compression=zipfile.ZIP_DEFLATED):
    text = header.ljust(118).encode()
    whole = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        archive.writestr("train_images.npy", whole)
        for name in ("train_labels", "test_images", "test_labels"):
            archive.writestr(f"{name}.npy", b"")
    return path


@pytest.mark.parametrize(
    ("descr", "shape", "words"),
    [
        ("|u1", (10**9, 1000, 1000), ("shape (1000000000, 1000, 1000) in 1,000,000,000,000,000 bytes, got 10",)),
        ("|u1", (2, 2, 2), ("in 8 bytes, got 10",)),
        ("<f8", (2, 5), ("in 80 bytes, got 10",)),
        ("|u1", (-2, -5), ("not a readable .npz file",)),
        ("|O", (10,), ("train_images holds Python objects, and reading those can run code",)),
        ("nonsense", (10,), ("not a readable .npz file",)),
    ],
)
def test_an_array_header_that_lies_is_refused_in_one_line(tmp_path, descr, shape, words):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}"
    refused(lambda: read_npz(write_array(tmp_path / "set.npz", header, bytes(10))), *words)


def test_an_array_with_a_header_too_long_is_refused_without_the_advice_to_trust_it(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (10,)}" + " " * 20_000
    refused(lambda: read_npz(write_array(tmp_path / "set.npz", header, bytes(10))), "set.npz: not a readable")


def test_a_compressed_array_is_not_unpacked_beyond_what_its_header_says(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (10,)}"
    path = write_array(tmp_path / "set.npz", header, bytes(200 * MIB))
    refused(lambda: read_npz(path), "in 10 bytes, got 209,715,200")


def test_a_compressed_npz_file_is_read(tmp_path):
    images, labels = np.arange(48, dtype=np.uint8).reshape(4, 3, 4), np.array([0, 1, 0, 1])
    np.savez_compressed(
        tmp_path / "set.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels
    )
    assert torch.equal(read_npz(tmp_path / "set.npz").train.images[:, 0], torch.from_numpy(images))


def test_a_matlab_file_is_not_unpacked_beyond_the_ceiling(tmp_path, monkeypatch):
    monkeypatch.setattr(idx_and_matlab, "MATLAB_BYTES", 64 * MIB)
    packed = zeros_deflated(512)
    start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "train_32x32.mat").write_bytes(start + struct.pack("<LL", 15, len(packed)) + packed)
    refused(lambda: read_svhn_folder(tmp_path, NAMES), "train_32x32.mat", "64 MiB for SVHN's files unpacked")


def test_a_pickle_that_names_one_list_very_many_times_is_refused():
    nested = [0]
    for _ in range(30):
        nested = [nested] * 10
    refused(lambda: restricted_load(pickle.dumps({"data": nested}, 2), source="x"), "more values than it has bytes")


def test_a_batch_of_cifar_is_not_unpacked_beyond_the_ceiling(tmp_path):
    tar_of_zeros(tmp_path / "cifar-10-python.tar.gz", "cifar-10-batches-py/data_batch_1", 1024)
    refused(lambda: read_cifar10_folder(tmp_path, NAMES), "data_batch_1", "at most 256 MiB", "got 1 GiB")
    write_folder(tmp_path, cifar10_files())
    with (tmp_path / "cifar-10-batches-py" / "data_batch_2").open("wb") as file:
        file.truncate(1 << 33)
    refused(lambda: read_cifar10_folder(tmp_path, NAMES), "data_batch_2", "at most 256 MiB", "got 8 GiB")


def test_images_of_usual_size_are_read(tmp_path):
    write_folder(tmp_path, {"a/1.png": png(1, size=(512, 512), mode="L"), "b/1.png": png(2, size=(512, 512), mode="L")})
    assert read_image_tree(tmp_path).train.images.shape == (2, 1, 512, 512)
