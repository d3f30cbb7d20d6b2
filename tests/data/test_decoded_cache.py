import errno
import os
import time

import pytest
import torch
from data_files import cifar10_files, png, python2_names, tree_files, write_folder, write_tar, write_zip
from safetensors.torch import load_file

from mixscope.base.errors import UserError
from mixscope.data.cache import decoded_once, read_decoded
from mixscope.data.cache_place import cache_folder
from mixscope.data.image_data import DecodedSet, LabelledImages
from mixscope.data.loading import load_data


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIXSCOPE_DATA", raising=False)
    return tmp_path / "cache" / "decoded"


def small_set(value: int = 3) -> DecodedSet:
    part = LabelledImages(torch.full((3, 1, 2, 5), value, dtype=torch.uint8), torch.tensor([0, 1, 1]))
    return DecodedSet(part, LabelledImages(part.images[:1], part.labels[:1]), ("é", "b"), "made by hand")


class Decoder:
    """Counts how often it is asked to decode."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> DecodedSet:
        self.calls += 1
        return small_set(self.calls)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.tar"
    path.write_bytes(b"content")
    return path


def test_a_source_is_decoded_once_and_comes_back_the_same(source, cache):
    decoder = Decoder()
    for _ in range(3):
        decoded = decoded_once("test", [source], decoder)
        expected = small_set(1)
        assert torch.equal(decoded.train.images, expected.train.images)
        assert torch.equal(decoded.train.labels, expected.train.labels)
        assert torch.equal(decoded.test.images, expected.test.images)
        assert torch.equal(decoded.test.labels, expected.test.labels)
        assert (decoded.class_names, decoded.notes) == (("é", "b"), "made by hand")
    assert decoder.calls == 1
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]


def test_the_cache_file_is_one_that_safetensors_reads_with_its_source_inside(source, cache):
    from safetensors import safe_open

    decoded_once("test", [source], Decoder())
    file = next(cache.iterdir())
    assert set(load_file(file)) == {"train_images", "train_labels", "test_images", "test_labels"}
    with safe_open(file, framework="pt") as stored:
        assert stored.metadata()["source"] == str(source)


def test_the_tensors_are_mapped_and_writing_to_them_changes_no_file(source, cache):
    decoded_once("test", [source], Decoder()).train.images.fill_(99)
    assert read_decoded(next(cache.iterdir())).train.images.unique().tolist() == [1]


def test_another_size_time_kind_or_path_is_another_entry(source, cache, tmp_path):
    decoder = Decoder()
    decoded_once("test", [source], decoder)
    source.write_bytes(b"longer content")
    decoded_once("test", [source], decoder)
    os.utime(source, ns=(0, 5_000_000_000))
    decoded_once("test", [source], decoder)
    decoded_once("other", [source], decoder)
    source.rename(tmp_path / "moved.tar")
    decoded_once("test", [tmp_path / "moved.tar"], decoder)
    assert decoder.calls == len(list(cache.iterdir())) == 5


def test_a_folder_is_another_entry_when_a_file_in_it_changes(tmp_path):
    folder = write_folder(tmp_path / "folder", {"a/1.png": b"x", "b/1.png": b"y"})
    decoder = Decoder()
    decoded_once("test", [folder], decoder)
    decoded_once("test", [folder], decoder)
    assert decoder.calls == 1
    os.utime(folder / "a/1.png", ns=(0, 5_000_000_000))
    decoded_once("test", [folder], decoder)
    (folder / "b/1.png").rename(folder / "b/2.png")
    decoded_once("test", [folder], decoder)
    assert decoder.calls == 3


def test_a_damaged_cache_file_is_made_again(source, cache):
    decoder = Decoder()
    decoded_once("test", [source], decoder)
    file = next(cache.iterdir())
    whole = file.read_bytes()
    damages = [b"", whole[:-1], whole[:40], whole + b"x", b"\xff" * len(whole)]
    for place in (0, 20, len(whole) - 3, len(whole) - 50):
        damages.append(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    for number, damage in enumerate(damages):
        file.write_bytes(damage)
        decoded = decoded_once("test", [source], decoder)
        assert decoder.calls == number + 2
        assert decoded.train.images.unique().tolist() == [number + 2]


def test_an_error_while_decoding_leaves_nothing_in_the_cache(source, cache):
    def fails() -> DecodedSet:
        raise UserError("cannot decode")

    with pytest.raises(UserError, match="cannot decode"):
        decoded_once("test", [source], fails)
    assert not cache.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_names_the_folder_and_leaves_nothing_behind(source, cache, monkeypatch, call):
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    message = (
        f"^cannot write to {cache}: No space left on device; free some space there or set MIXSCOPE_CACHE to another"
    )
    with pytest.raises(UserError, match=message):
        decoded_once("test", [source], Decoder())
    assert list(cache.iterdir()) == []


def test_a_cache_folder_that_is_a_file_is_named(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"^cannot write to {tmp_path}/file/decoded: Not a directory; "):
        decoded_once("test", [source], Decoder())


def test_without_the_variable_the_cache_is_in_the_systems_folder(monkeypatch):
    monkeypatch.delenv("MIXSCOPE_CACHE")
    assert "mixscope" in cache_folder().name


def test_an_archive_of_2000_images_opens_at_once_the_second_time(tmp_path):
    files = {f"{kind}/{number}.png": png((number % 256, 0, 0)) for kind in "ab" for number in range(1000)}
    path = write_tar(tmp_path / "set.tar.xz", files)
    first = load_data(path)
    start = time.perf_counter()
    second = load_data(path)
    assert time.perf_counter() - start < 0.5  # seen 0.01 s
    assert torch.equal(first.train_images, second.train_images)
    assert torch.equal(first.test_images, second.test_images)


def test_the_split_is_made_after_the_cache(tmp_path, cache):
    files = {f"{kind}/{number}.png": png((number, 0, 0)) for kind in "ab" for number in range(10)}
    path = write_tar(tmp_path / "set.tar", files)
    first, other = load_data(path, test_size=0.2), load_data(path, test_size=0.4, split_seed=1)
    assert (len(first.test_images), len(other.test_images)) == (4, 8)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("bad", [b"no image", png((1, 2, 3), size=(9, 9))])
def test_a_bad_image_leaves_nothing_in_the_cache(tmp_path, cache, bad):
    path = write_tar(tmp_path / "set.tar", tree_files() | {"train/cat/b.png": bad})
    with pytest.raises(UserError, match=r"train/cat/b\.png"):
        load_data(path)
    assert not cache.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"test/dog/a.png": png((1, 2, 3))},
        {"train/cat/b.png": png(1, mode="I;16")},
        {"train/cat/deep/b.png": png((1, 2, 3))},
        {"train/cat/b.png": png((1, 2, 3))[:45]},
        {"train/cat/b.png": b""},
    ],
)
@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar.gz"])
def test_a_tree_that_makes_no_set_leaves_nothing_in_the_cache(tmp_path, kind, changes):
    write = {"folder": write_folder, "set.zip": write_zip, "set.tar.gz": write_tar}[kind]
    with pytest.raises(UserError):
        load_data(write(tmp_path / kind, tree_files() | changes))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("files", [{}, {"a/1.png": png(1)}, {"test/a/1.png": png(1), "val/a/1.png": png(1)}])
def test_a_tree_without_classes_to_tell_apart_leaves_nothing_in_the_cache(tmp_path, files):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"^{tmp_path}/folder: "):
        load_data(write_folder(tmp_path / "folder", files))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.xz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_an_archive_cut_off_leaves_nothing_in_the_cache(tmp_path, kind, share):
    path = tmp_path / kind
    (write_zip if kind == "set.zip" else write_tar)(path, tree_files())
    content = path.read_bytes()
    used = 10 * 512 if kind == "set.tar" else len(content)  # then comes the padding of zeros
    path.write_bytes(content[: int(share * used)])
    with pytest.raises(UserError, match="damaged or incomplete archive"):
        load_data(path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"cposix\nsystem\n.", python2_names(b"label_names", [b"one"])])
def test_a_bad_file_of_cifar_leaves_nothing_in_the_cache(tmp_path, content):
    files = cifar10_files() | {"cifar-10-batches-py/batches.meta": content}
    with pytest.raises(UserError, match="cifar-10-batches-py"):
        load_data("cifar10", data_dir=write_folder(tmp_path / "data", files))
    assert not (tmp_path / "cache").exists()


def test_a_sound_pool_with_a_bad_test_size_is_cached_whole_and_used_at_the_next_try(tmp_path, cache):
    path = write_tar(
        tmp_path / "set.tar", {f"{kind}/{number}.png": png(number, mode="L") for kind in "ab" for number in range(3)}
    )
    with pytest.raises(UserError, match=f"^{path} has no test part, and none can be split off: test-size must leave "):
        load_data(path, test_size=1)
    (file,) = cache.iterdir()
    assert read_decoded(file) is not None
    written = file.stat().st_mtime_ns
    assert len(load_data(path, test_size=2).test_images) == 2
    assert [entry.stat().st_mtime_ns for entry in cache.iterdir()] == [written]
