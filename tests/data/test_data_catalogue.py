import dataclasses
import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import IDX_NAMES, cifar10_files, png, tree_files, write_folder, write_idx_set, write_zip

from mixscope.base.errors import UserError
from mixscope.data import named_sets
from mixscope.data.download import RemoteFile
from mixscope.data.loading import data_status, fetch_data, load_data

DATA = os.environ.get("MIXSCOPE_DATA")  # read before the fixture below hides it
needs_data = pytest.mark.skipif(DATA is None, reason="MIXSCOPE_DATA names no folder with the sets")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIXSCOPE_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch):
    """Send every download to a port of this machine at which nobody listens."""
    for name, named in named_sets.NAMED_SETS.items():
        files = tuple(RemoteFile(f"http://127.0.0.1:9/{file.name}", file.md5, file.name) for file in named.files)
        monkeypatch.setitem(named_sets.NAMED_SETS, name, dataclasses.replace(named, files=files))


def test_digits_are_split_in_a_stratified_and_seeded_way(cache):
    data, again, other = load_data("digits"), load_data("digits"), load_data("digits", split_seed=1)
    assert (len(data.train_images), len(data.test_images)) == (1437, 360)
    assert data.class_names == tuple("0123456789")
    assert torch.equal(data.test_images, again.test_images)
    assert not torch.equal(data.test_images, other.test_images)
    shares = torch.bincount(data.test_labels) / (torch.bincount(data.train_labels) + torch.bincount(data.test_labels))
    assert (shares - 0.2).abs().max() < 0.01
    assert not cache.exists()


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "mnist"),
        ("mnist", "mnist/raw"),
        ("mnist", "MNIST/raw"),
        ("mnist", "."),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("fashion-mnist", "fashion-mnist"),
        ("kmnist", "KMNIST/raw"),
    ],
)
def test_idx_sets_are_found_in_every_usual_layout(tmp_path, name, place, gzipped):
    write_idx_set(tmp_path / "data" / place, gzipped=gzipped)
    data = load_data(name, data_dir=tmp_path / "data")
    assert data.train_images.shape == (20, 1, 2, 3)
    assert data.num_classes == 10
    assert (data.name, len(data.test_images)) == (name, 10)


def test_data_dir_comes_before_the_environment_and_that_before_the_cache(tmp_path, cache, monkeypatch):
    for place, count in ((tmp_path / "given", 20), (tmp_path / "environment", 30), (cache, 40)):
        write_idx_set(place / "mnist", gzipped=True, num_train=count)
    assert len(load_data("mnist").train_images) == 40
    monkeypatch.setenv("MIXSCOPE_DATA", str(tmp_path / "environment"))
    assert len(load_data("mnist").train_images) == 30
    assert len(load_data("mnist", data_dir=tmp_path / "given").train_images) == 20


@pytest.mark.usefixtures("no_network")
def test_files_lying_in_another_sets_folder_are_not_taken_for_this_one(tmp_path):
    for place in ("kmnist", "FashionMNIST/raw"):
        write_idx_set(tmp_path / place, gzipped=False)
        with pytest.raises(UserError, match=r"^cannot download http://127\.0\.0\.1:9/train-images-idx3-ubyte\.gz"):
            load_data("mnist", data_dir=tmp_path / place.removesuffix("/raw"))


@pytest.mark.usefixtures("no_network")
def test_a_set_that_is_nowhere_and_cannot_be_downloaded_says_what_to_do(tmp_path, cache):
    with pytest.raises(
        UserError, match=f"put cifar-10-python.tar.gz by hand into {cache}/cifar10, or set MIXSCOPE_DATA"
    ):
        load_data("cifar10")
    with pytest.raises(UserError, match=f"put train_32x32.mat by hand into {tmp_path}/svhn, or set MIXSCOPE_DATA"):
        fetch_data("svhn", tmp_path)


def test_a_set_that_is_nowhere_is_downloaded_once_and_then_found(tmp_path, cache, monkeypatch):
    write_idx_set(tmp_path / "server", gzipped=True)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "server"))

        def log_message(self, *_):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        base = f"http://127.0.0.1:{server.server_address[1]}/"
        files = tuple(
            RemoteFile(base + path.name, hashlib.md5(path.read_bytes()).hexdigest(), path.name)
            for path in sorted((tmp_path / "server").iterdir())
        )
        monkeypatch.setitem(
            named_sets.NAMED_SETS, "mnist", dataclasses.replace(named_sets.NAMED_SETS["mnist"], files=files)
        )
        for _ in range(2):
            assert load_data("mnist").train_images.shape == (20, 1, 2, 3)
        server.shutdown()
        thread.join()
    assert len(asked) == 4
    assert data_status()[1].found == cache / "mnist"


def test_cifar10_is_found_as_torchvision_leaves_it_and_cached(tmp_path, cache):
    write_folder(tmp_path / "data", cifar10_files())
    for _ in range(2):
        data = load_data("cifar10", data_dir=tmp_path / "data")
        assert data.train_images.shape == (50, 3, 32, 32)
        assert data.class_names[3] == "name3"
    assert len(list((cache / "decoded").iterdir())) == 1


def test_status_says_where_a_set_is_and_what_is_missing(tmp_path):
    write_idx_set(tmp_path / "mnist", gzipped=True)
    write_idx_set(tmp_path / "kmnist", gzipped=True)
    (tmp_path / "kmnist" / f"{IDX_NAMES[3]}.gz").unlink()
    status = {entry.named.name: entry for entry in data_status(tmp_path)}
    assert tuple(status) == tuple(named_sets.NAMED_SETS)
    assert status["digits"].found.is_dir()
    assert (status["mnist"].found, status["mnist"].missing) == (tmp_path / "mnist", ())
    assert (status["kmnist"].found, status["kmnist"].missing) == (None, ("t10k-labels-idx1-ubyte.gz",))
    assert status["svhn"].missing == ("train_32x32.mat", "test_32x32.mat")
    assert len(status["cifar100"].named.class_names) == 100
    assert status["fashion-mnist"].named.licence == "MIT"


def test_fetching_what_is_there_returns_its_folder(tmp_path):
    write_idx_set(tmp_path / "mnist", gzipped=True)
    assert fetch_data("mnist", tmp_path) == tmp_path / "mnist"
    assert fetch_data("digits").is_dir()


def test_a_row_of_the_table_is_all_that_a_set_needs(tmp_path, monkeypatch):
    row = dataclasses.replace(
        named_sets.NAMED_SETS["kmnist"], name="toy", folders=("toy",), class_names=tuple("abcdefghij")
    )
    monkeypatch.setitem(named_sets.NAMED_SETS, "toy", row)
    write_idx_set(tmp_path / "toy", gzipped=True)
    assert load_data("toy", data_dir=tmp_path).class_names == row.class_names
    assert data_status(tmp_path)[-1].found == fetch_data("toy", tmp_path) == tmp_path / "toy"
    with pytest.raises(UserError, match=r"got 'toyy' \(did you mean toy\?\)$"):
        load_data("toyy")


def test_every_named_set_has_sound_addresses_and_checksums():
    for named in named_sets.NAMED_SETS.values():
        assert named.reader in named_sets.READERS
        assert len({file.md5 for file in named.files}) == len(named.files)
        for file in named.files:
            assert len(file.md5) == 32
            assert int(file.md5, 16)
            assert file.url.endswith(f"/{file.name}")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mnits", r" \(did you mean mnist or kmnist\?\)"),
        ("cifar", r" \(did you mean cifar10 or cifar100\?\)"),
        ("x", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_near_ones(name, near):
    with pytest.raises(UserError, match=f"^data must be one of digits, mnist, .*got {name!r}{near}$"):
        load_data(name)
    with pytest.raises(UserError, match=f"^data must be one of digits, mnist, .*got {name!r}{near}$"):
        fetch_data(name)


@pytest.mark.parametrize("spec", ["nowhere/folder", "set.tar.xz", "set.npz", Path("mnist")])
def test_a_path_that_is_not_there_is_named(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{spec}: no such file or folder$"):
        load_data(spec)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "set.rar").write_bytes(b"")
    with pytest.raises(UserError, match=r"set\.rar: must be a folder, an \.npz file or an archive \(\.zip, \.tar, "):
        load_data(tmp_path / "set.rar")


def test_an_environment_that_names_no_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXSCOPE_DATA", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=f"^MIXSCOPE_DATA must name a folder, but {tmp_path}/gone is none$"):
        load_data("mnist")


def test_a_folder_in_the_working_directory_needs_no_separator(tmp_path, monkeypatch):
    write_folder(tmp_path / "pictures", tree_files())
    monkeypatch.chdir(tmp_path)
    data = load_data("pictures")
    assert (data.name, len(data.train_images), len(data.test_images)) == ("pictures", 3, 2)


def test_an_archive_and_an_npz_file_are_loaded_by_path(tmp_path):
    files = {f"{part}/{kind}/1.png": png((1, 2, 3), size=(5, 4)) for part in ("train", "test") for kind in "ab"}
    archive = load_data(str(write_zip(tmp_path / "pictures.zip", files)))
    arrays = {
        name: getattr(archive, name).numpy() for name in ("train_images", "train_labels", "test_images", "test_labels")
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    stored = load_data(tmp_path / "arrays.npz")
    assert torch.equal(stored.train_images, archive.train_images)
    assert torch.equal(stored.test_labels, archive.test_labels)


@needs_data
@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_the_real_sets_have_their_published_mean_and_std(name, mean, std):
    data = load_data(name, data_dir=DATA)
    assert (len(data.train_images), len(data.test_images)) == (60_000, 10_000)
    assert data.channel_mean == pytest.approx((mean,), abs=5e-5)
    assert data.channel_std == pytest.approx((std,), abs=5e-5)


@needs_data
def test_the_real_files_have_the_checksums_of_the_table():
    for name in ("mnist", "fashion-mnist"):
        for file in named_sets.NAMED_SETS[name].files:
            assert file.is_at(Path(DATA) / name / file.name)


@needs_data
@pytest.mark.usefixtures("no_network")
def test_the_real_fashion_mnist_lying_loose_is_not_taken_for_mnist(tmp_path):
    loose = tmp_path / "loose"
    loose.symlink_to(Path(DATA) / "fashion-mnist")
    assert len(load_data("fashion-mnist", data_dir=loose).train_images) == 60_000
    assert data_status(loose)[1].found is None


@pytest.mark.parametrize(
    "act",
    [
        data_status,
        lambda folder: fetch_data("mnist", folder),
        lambda folder: fetch_data("digits", folder),
        lambda folder: load_data("mnist", data_dir=folder),
        lambda folder: load_data("digits", data_dir=folder),
        lambda folder: load_data("./pictures", data_dir=folder),
    ],
)
def test_a_data_dir_that_is_no_folder_is_refused_and_not_made(tmp_path, act):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "no", tmp_path / "file"):
        with pytest.raises(UserError, match=f"^data-dir must name a folder, but {folder} is none$"):
            act(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def write_tree(root, names):
    from PIL import Image

    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 3).save(root / name)
    return root


def test_a_set_too_small_to_split_names_its_folder(tmp_path):
    root = write_tree(tmp_path / "few", ["a/1.png", "b/1.png"])
    with pytest.raises(
        UserError, match=rf"^{root} has no test part, and none can be split off: test-size must leave at least 2 "
    ):
        load_data(root)


def test_a_set_of_one_class_names_its_folder(tmp_path):
    root = write_tree(tmp_path / "one", ["a/1.png", "a/2.png", "a/3.png"])
    with pytest.raises(UserError, match=rf"^{root}: there must be at least two classes, got 1$"):
        load_data(root)


def test_a_class_without_a_test_image_is_noted(tmp_path):
    root = write_tree(tmp_path / "gap", ["train/a/1.png", "train/b/1.png", "test/a/1.png"])
    assert load_data(root).notes.endswith("; no test image of class b")


def test_a_file_that_is_no_image_is_named_without_internals(tmp_path):
    root = write_tree(tmp_path / "bad", ["a/1.png", "b/1.png"])
    (root / "b/2.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"b/2.png: not a readable image \(none of PNG, JPEG, .*\)$"):
        load_data(root)


@pytest.mark.parametrize("content", [b"garbage", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_of_arrays_is_named_without_advice_to_trust_it(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"x.npz: not a readable .npz file \(not a zip archive\)$"):
        load_data(tmp_path / "x.npz")


def test_labels_too_large_for_int64_are_named_as_they_are(tmp_path):
    import numpy as np

    images, labels = np.zeros((2, 4, 4), np.uint8), np.array([0, 2**63 + 5], np.uint64)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    with pytest.raises(UserError, match=r"train_labels must be 0 to K - 1, got 9223372036854775813"):
        load_data(tmp_path / "x.npz")


def test_an_archive_of_images_stands_in_for_files_that_are_nowhere(tmp_path):
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    files = {
        f"{part}/class{label}/0.png": png((label, 0, 0), size=(32, 32))
        for part in ("train", "test")
        for label in range(10)
    }
    write_zip(folder / "cifar10_png.zip", files)
    data = load_data("cifar10", data_dir=tmp_path / "data")
    assert data.train_labels.tolist() == list(range(10))
    assert data.notes.endswith("not the original files: pixels may differ")
    status = next(status for status in data_status(tmp_path / "data") if status.named.name == "cifar10")
    assert status.found == folder / "cifar10_png.zip"


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["cifar100.zip", "cifar10png.zip"])
def test_an_archive_called_after_another_set_does_not_stand_in(tmp_path, name):
    files = {f"{part}/{label}/0.png": png((1, 2, 3)) for part in ("train", "test") for label in range(10)}
    (tmp_path / "cifar10").mkdir()
    write_zip(tmp_path / "cifar10" / name, files)
    with pytest.raises(UserError, match="cannot download"):
        load_data("cifar10", data_dir=tmp_path)


def test_an_archive_with_other_classes_does_not_stand_in(tmp_path):
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    image = png((1, 2, 3))
    write_zip(
        folder / "cifar10_png.zip", {f"{part}/{label}/0.png": image for part in ("train", "test") for label in "ab"}
    )
    with pytest.raises(UserError, match="must hold 10 classes, got 2"):
        load_data("cifar10", data_dir=tmp_path / "data")
