"""Pipes, devices, sockets, folders and broken links in the place of a file: one line, at once, for every reader."""

import os
from pathlib import Path

import pytest
from data_files import cifar10_files, png, tree_files, write_folder, write_idx_set
from helpers.hostile_files import SPECIAL, in_seconds, make_folder, make_pipe

from mixscope.base.errors import UserError
from mixscope.base.reading import read_regular
from mixscope.data.cache import read_decoded
from mixscope.data.cifar import read_cifar10_folder
from mixscope.data.idx_and_matlab import IDX_IMAGES, read_idx, read_svhn_folder
from mixscope.data.image_tree import read_image_tree
from mixscope.data.loading import data_status
from mixscope.data.npz import read_npz

READERS = {
    "images.idx": lambda path: read_idx(path, magic=IDX_IMAGES),
    "images.gz": lambda path: read_idx(path, magic=IDX_IMAGES),
    "set.npz": read_npz,
    "set.zip": read_image_tree,
    "set.tar": read_image_tree,
    "set.tar.gz": read_image_tree,
    "set.tar.xz": read_image_tree,
    "train_32x32.mat": lambda path: read_svhn_folder(path.parent, tuple("0123456789")),
    "cifar-10-python.tar.gz": lambda path: read_cifar10_folder(path.parent, tuple("0123456789")),
}


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_opened(tmp_path, name, make):
    make(tmp_path / name)
    if make is make_folder and name.startswith(("set.zip", "set.tar", "cifar")):
        return  # a folder of images may be called anything
    with in_seconds(20), pytest.raises(UserError, match=r"must be a regular file, got|cannot be read") as caught:
        READERS[name](tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", SPECIAL)
def test_an_image_that_is_no_regular_file_is_named(tmp_path, make):
    write_folder(tmp_path, tree_files())
    make(tmp_path / "train" / "cat" / "x.png")
    with in_seconds(20), pytest.raises(UserError, match=r"train/cat/x\.png") as caught:
        read_image_tree(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", SPECIAL)
def test_what_is_no_image_by_its_name_is_left_out_whatever_it_is(tmp_path, make):
    write_folder(tmp_path, tree_files())
    make(tmp_path / "train" / "cat" / "notes")
    with in_seconds(20):
        assert len(read_image_tree(tmp_path).train) == 3


@pytest.mark.parametrize("make", SPECIAL)
def test_a_damaged_place_in_a_cache_of_images_is_decoded_again(tmp_path, make):
    make(tmp_path / "set.safetensors")
    with in_seconds(20):
        assert read_decoded(tmp_path / "set.safetensors") is None


@pytest.mark.parametrize("make", SPECIAL)
def test_an_extracted_batch_that_is_no_file_is_taken_as_missing(tmp_path, make):
    write_folder(tmp_path, cifar10_files())
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    make(tmp_path / "cifar-10-batches-py" / "data_batch_3")
    with in_seconds(20), pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz: cannot be read"):
        read_cifar10_folder(tmp_path, tuple("0123456789"))


@pytest.mark.parametrize("make", SPECIAL)
def test_a_named_set_is_not_found_behind_what_is_no_file(tmp_path, monkeypatch, make):
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIXSCOPE_DATA", raising=False)
    write_idx_set(tmp_path / "mnist", gzipped=True)
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    labels.unlink()
    make(labels)
    with in_seconds(20):
        mnist = next(status for status in data_status(tmp_path) if status.named.name == "mnist")
    assert (mnist.found, mnist.missing) == (None, (labels.name,))


def test_a_folder_that_leads_back_into_itself_is_named(tmp_path):
    write_folder(tmp_path, tree_files())
    (tmp_path / "train" / "cat" / "again").symlink_to(tmp_path / "train", target_is_directory=True)
    with pytest.raises(UserError, match=r"train/cat/again: must not be a link to a folder that it lies in$"):
        read_image_tree(tmp_path)


def test_a_link_to_an_image_elsewhere_is_that_image(tmp_path):
    write_folder(tmp_path / "set", tree_files())
    (tmp_path / "other.png").write_bytes(png((99, 99, 99)))
    (tmp_path / "set" / "train" / "ant" / "b.png").symlink_to(tmp_path / "other.png")
    assert 99 in read_image_tree(tmp_path / "set").train.images


def test_an_image_is_told_by_its_content_among_the_formats_that_run_nothing(tmp_path):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 2\n%%EndComments\nshowpage\n"
    write_folder(tmp_path, tree_files() | {"train/cat/b.png": postscript})
    with pytest.raises(UserError, match=r"b\.png: not a readable image \(PostScript, none of PNG, JPEG"):
        read_image_tree(tmp_path)


def test_a_file_that_another_takes_the_place_of_is_looked_at_again_once_open(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    regular, pipe = os.stat(path), tmp_path / "pipe"
    make_pipe(pipe)
    monkeypatch.setattr(os, "stat", lambda _: regular)
    with in_seconds(20), pytest.raises(UserError, match="must be a regular file, got a pipe"):
        read_regular(pipe, ceiling=10, why="a test")


def test_a_name_that_no_file_can_have_is_named():
    with pytest.raises(UserError, match="no name of a file"):
        read_regular(Path("a\0b"), ceiling=10, why="a test")
