import gzip
import io
import pickle

import numpy as np
import pytest
import scipy.io
import torch
from data_files import IDX_NAMES, idx_bytes, write_idx_set

from mixscope.base.errors import UserError
from mixscope.data.idx_and_matlab import IDX_IMAGES, IDX_LABELS, read_idx, read_idx_folder, read_svhn_folder
from mixscope.data.named_sets import NAMED_SETS, read_digits
from mixscope.data.npz import read_npz

NAMES = tuple("0123456789")


@pytest.mark.parametrize("gzipped", [False, True])
def test_an_idx_set_is_read_with_or_without_gz(tmp_path, gzipped):
    write_idx_set(tmp_path, gzipped=gzipped)
    decoded = read_idx_folder(tmp_path, NAMES)
    assert decoded.train.images.shape == (20, 1, 2, 3)
    assert decoded.train.images[13].unique().tolist() == [13]
    assert decoded.train.labels.tolist() == [*range(10), *range(10)]
    assert decoded.test.images.shape == (10, 1, 2, 3)


def test_the_pixels_of_an_idx_file_are_rows_of_the_image(tmp_path):
    (tmp_path / "images").write_bytes(idx_bytes(np.arange(12).reshape(2, 2, 3)))
    assert read_idx(tmp_path / "images", magic=IDX_IMAGES).tolist() == [
        [[0, 1, 2], [3, 4, 5]],
        [[6, 7, 8], [9, 10, 11]],
    ]


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


GOOD = idx_bytes(np.arange(10))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x", idx_bytes(np.zeros((2, 2, 2))), "magic number must be 0x00000801, got 0x00000803"),
        ("x", b"\x00\x00", "magic number must be 0x00000801, got 0x00000000"),
        ("x", GOOD[:-1], "idx file is cut off: header says 18 bytes, got 17"),
        ("x", GOOD[:6], "idx file is cut off: header says 8 bytes, got 6"),
        ("x", GOOD + b"!", "idx file has trailing data: header says 18 bytes, got 19"),
        ("x.gz", gzip.compress(GOOD, mtime=0)[:-5], "damaged or incomplete gzip file"),
        ("x.gz", gzip.compress(GOOD, mtime=0)[:15], "damaged or incomplete gzip file"),
        ("x.gz", gzip.compress(GOOD, mtime=0) + b"trailing", "damaged or incomplete gzip file"),
        ("x.gz", b"no gzip at all", "damaged or incomplete gzip file"),
    ],
)
def test_a_damaged_idx_file_is_named_with_what_is_wrong(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_idx(path, magic=IDX_LABELS)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "labels", "message"),
    [
        (1, np.arange(19) % 10, "train-images-idx3-ubyte has 20 images but train-labels-idx1-ubyte has 19 labels"),
        (1, np.arange(20) % 9, "no training image of class 9; every class needs at least one"),
        (1, np.arange(20) % 11, r"train-labels-idx1-ubyte: labels must lie in \[0, 10\), got 10"),
        (3, np.arange(10) + 1, r"t10k-labels-idx1-ubyte: labels must lie in \[0, 10\), got 10"),
    ],
)
def test_idx_labels_that_do_not_fit_the_images_are_refused(tmp_path, file, labels, message):
    write_idx_set(tmp_path, gzipped=False)
    (tmp_path / IDX_NAMES[file]).write_bytes(idx_bytes(labels))
    with pytest.raises(UserError, match=f"^{tmp_path}.*{message}$"):
        read_idx_folder(tmp_path, NAMES)


@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_labels_out_of_range_name_the_file_of_labels(tmp_path, gzipped):
    write_idx_set(tmp_path, gzipped=gzipped)
    content = idx_bytes(np.arange(10) + 1)
    path = tmp_path / (f"{IDX_NAMES[3]}.gz" if gzipped else IDX_NAMES[3])
    path.write_bytes(gzip.compress(content, mtime=0) if gzipped else content)
    with pytest.raises(UserError, match=rf"^{path}: labels must lie in \[0, 10\), got 10$"):
        read_idx_folder(tmp_path, NAMES)


def test_an_idx_set_without_images_is_refused(tmp_path):
    write_idx_set(tmp_path, gzipped=False)
    (tmp_path / IDX_NAMES[0]).write_bytes(idx_bytes(np.zeros((0, 2, 3))))
    (tmp_path / IDX_NAMES[1]).write_bytes(idx_bytes(np.zeros(0)))
    with pytest.raises(UserError, match=r"no training images, got shape \(0, 1, 2, 3\)$"):
        read_idx_folder(tmp_path, NAMES)


def write_npz(path, **changes):
    arrays = {
        "train_images": np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5),
        "train_labels": np.array([1, 0]),
        "test_images": np.zeros((1, 4, 5), np.uint8),
        "test_labels": np.array([1], np.uint8),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_an_npz_file_of_grey_images_gets_one_channel(tmp_path):
    decoded = read_npz(write_npz(tmp_path / "set.npz"))
    assert decoded.train.images.shape == (2, 1, 4, 5)
    assert decoded.train.labels.tolist() == [1, 0]
    assert decoded.test.labels.dtype is torch.int64
    assert decoded.class_names == ("0", "1")


def test_an_npz_file_gives_the_same_with_channels_first_and_last(tmp_path):
    first = np.random.default_rng(0).integers(256, size=(2, 3, 4, 5), dtype=np.uint8)
    last = first.transpose(0, 2, 3, 1)
    for images in (first, last):
        path = write_npz(tmp_path / "set.npz", train_images=images, test_images=images[:1])
        assert torch.equal(read_npz(path).train.images, torch.from_numpy(first))


ZEROS = np.zeros((2, 4, 5), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "no array named test_labels; needed are train_images, train_labels, test_images"),
        ({"train_images": np.zeros((2, 3, 4, 3), np.uint8)}, "both axis 1 and axis 3 could be 1 or 3 channels"),
        ({"train_images": np.zeros((2, 4, 5, 4), np.uint8)}, "neither axis 1 nor axis 3 is 1 or 3 channels"),
        ({"train_images": ZEROS - 0.5}, r"must be uint8, or floats from 0 to 1, got float64 of shape \(2, 4, 5\)"),
        ({"train_images": ZEROS + 0.25}, r"train_images must be uint8, or floats .* from 0.25 to 0.25"),
        ({"train_images": ZEROS[0]}, r"train_images must be uint8 of shape \(N, H, W\)"),
        ({"train_labels": np.array([0.0, 0.5])}, r"train_labels must be integers of shape \(N,\), got float64"),
        (
            {"train_labels": np.array([[0, 1], [1, 1]])},
            r"must be integers .* or one-hot rows of one 1 each",
        ),
        ({"train_labels": np.array([0, 2])}, "2 classes are present, but one of them is 2"),
        ({"train_labels": np.array([-1, 0])}, "2 classes are present, but one of them is -1"),
        ({"train_labels": np.array([0, 10**9])}, "2 classes are present, but one of them is 1000000000"),
        ({"train_labels": np.array([0])}, "2 training images but 1 training labels"),
        ({"test_labels": np.array([2])}, r"test labels must lie in \[0, 2\), got values from 2 to 2"),
        ({"train_images": ZEROS[:0], "train_labels": np.zeros(0, int)}, "no training images"),
        ({"test_images": ZEROS[:1, :3]}, "training and test images must have one shape"),
        (
            {"train_images": np.array([{}, {}])},
            r"not a readable \.npz file \(train_images holds Python objects, and reading those can run code\)$",
        ),
    ],
)
def test_an_npz_file_that_makes_no_set_is_named_with_what_is_wrong(tmp_path, changes, message):
    path = write_npz(tmp_path / "set.npz", **changes)
    with pytest.raises(UserError, match=message) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"plain text", npy_bytes(np.zeros(3)), pickle.dumps({"x": 1})])
def test_a_file_that_is_no_npz_is_named(tmp_path, content):
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.npz: not a readable \.npz file \(not a zip archive\)$"):
        read_npz(path)


def test_a_cut_off_npz_file_is_named(tmp_path):
    path = write_npz(tmp_path / "set.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"set\.npz: not a readable \.npz file \(incomplete zip archive\)$"):
        read_npz(path)


def test_a_damaged_array_in_an_npz_file_is_told_apart_from_a_missing_end(tmp_path):
    path = write_npz(tmp_path / "set.npz")
    content = bytearray(path.read_bytes())
    content[content.index(b"\x93NUMPY") + 130] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.npz: not a readable \.npz file \(damaged: Bad CRC-32"):
        read_npz(path)


def test_an_npz_file_that_the_system_does_not_give_is_not_called_damaged(tmp_path):
    (tmp_path / "set.npz").mkdir()
    with pytest.raises(UserError, match=r"set\.npz: must be a regular file, got a folder$"):
        read_npz(tmp_path / "set.npz")


def write_svhn(folder, **changes):
    images = np.arange(2 * 3 * 3 * 10, dtype=np.uint8).reshape(2, 3, 3, 10)
    arrays = {"X": images, "y": np.array([10, *range(1, 10)], np.uint8)[:, None]} | changes
    for name in ("train_32x32.mat", "test_32x32.mat"):
        scipy.io.savemat(folder / name, {name: array for name, array in arrays.items() if array is not None})
    return arrays


def test_label_10_of_svhn_is_the_digit_0(tmp_path):
    arrays = write_svhn(tmp_path)
    decoded = read_svhn_folder(tmp_path, NAMES)
    assert decoded.train.labels.tolist() == list(range(10))
    assert decoded.test.images.shape == (10, 3, 2, 3)
    assert np.array_equal(decoded.train.images[4, 2].numpy(), arrays["X"][:, :, 2, 4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": None}, "not a readable MATLAB file with X and y"),
        ({"y": np.arange(10)[:, None]}, "y must lie in 1 to 10, got values from 0 to 9"),
        ({"y": np.arange(1, 10)[:, None]}, r"got torch.uint8 of shape \(2, 3, 3, 10\) and 9 labels"),
    ],
)
def test_a_matlab_file_of_something_else_is_named(tmp_path, changes, message):
    write_svhn(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"^{tmp_path}/train_32x32\.mat: .*{message}"):
        read_svhn_folder(tmp_path, NAMES)


def test_a_damaged_matlab_file_is_named(tmp_path):
    write_svhn(tmp_path)
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(UserError, match=r"test_32x32\.mat: not a readable MATLAB file with X and y"):
        read_svhn_folder(tmp_path, NAMES)


def test_the_grey_levels_of_the_digits_are_exactly_15_times_scikit_learns():
    from sklearn.datasets import load_digits

    digits = read_digits(NAMED_SETS["digits"].package_folder, NAMES).train
    assert digits.images.shape == (1797, 1, 8, 8)
    assert np.array_equal(digits.images[:, 0].numpy(), load_digits().images * 15)
    assert np.array_equal(digits.labels.numpy(), load_digits().target)
