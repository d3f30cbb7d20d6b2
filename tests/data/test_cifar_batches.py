import os
import pickle

import numpy as np
import pytest
from data_files import cifar10_files, python2_batch, python2_names, write_folder, write_tar

from mixscope.base.errors import UserError
from mixscope.data.cifar import read_cifar10_folder, read_cifar100_folder, restricted_load

NAMES = tuple("0123456789")


@pytest.fixture(params=["folder", "archive"])
def cifar10(request, tmp_path):
    if request.param == "folder":
        write_folder(tmp_path, cifar10_files())
    else:
        write_tar(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    return tmp_path


def test_python_2_batches_are_read_from_the_folder_and_from_the_archive(cifar10):
    decoded = read_cifar10_folder(cifar10, NAMES)
    assert decoded.train.images.shape == (50, 3, 32, 32)
    assert decoded.train.images[23].unique().tolist() == [23]  # third batch, fourth image
    assert decoded.train.labels.tolist() == [*range(10)] * 5
    assert decoded.test.images[3].unique().tolist() == [53]
    assert decoded.class_names == tuple(f"name{label}" for label in range(10))


def test_the_3072_bytes_of_a_row_are_the_red_green_and_blue_planes(tmp_path):
    files = cifar10_files()
    rows = np.arange(3072).reshape(1, 3072).repeat(10, axis=0)
    files["cifar-10-batches-py/data_batch_1"] = python2_batch(rows, list(range(10)))
    write_folder(tmp_path, files)
    image = read_cifar10_folder(tmp_path, NAMES).train.images[0]
    assert np.array_equal(image.numpy(), np.arange(3072).astype(np.uint8).reshape(3, 32, 32))


def test_cifar100_is_read_with_its_fine_labels(tmp_path):
    rows = np.zeros((100, 3072))
    batch = python2_batch(rows, list(range(100)), label_key=b"fine_labels")
    names = python2_names(b"fine_label_names", [b"fine%d" % label for label in range(100)])
    write_folder(tmp_path / "cifar-100-python", {"train": batch, "test": batch, "meta": names})
    decoded = read_cifar100_folder(tmp_path, tuple(map(str, range(100))))
    assert decoded.train.labels.tolist() == list(range(100))
    assert decoded.class_names[99] == "fine99"


@pytest.mark.parametrize("protocol", [2, 4])
def test_batches_written_by_this_numpy_are_read_too(protocol):
    rows = np.arange(24, dtype=np.uint8).reshape(2, 12)
    batch = {b"data": rows, b"labels": [1, 2], "text": "é"}
    loaded = restricted_load(pickle.dumps(batch, protocol=protocol), source="batch")
    assert np.array_equal(loaded[b"data"], rows)
    assert loaded[b"labels"] == [1, 2]
    assert loaded["text"] == "é"


class _Command:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_a_command_is_refused_by_name_and_not_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({b"data": _Command()}, protocol=protocol)
    with pytest.raises(UserError, match=rf"^batch: refused, the pickle wants to call {os.system.__module__}\.system; "):
        restricted_load(content, source="batch")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nscalar", "_codecs\ndecode"])
def test_every_other_name_is_refused(name):
    with pytest.raises(UserError, match=f"wants to call {name.replace(chr(10), '.')}; only arrays and plain values"):
        restricted_load(b"\x80\x02c" + name.encode() + b"\n.", source="batch")


def test_arrays_of_objects_are_refused():
    content = pickle.dumps(np.array([{}, []], dtype=object), protocol=2)
    with pytest.raises(UserError, match=r"batch: damaged pickle \(ValueError: only arrays of bytes \(u1\) are read"):
        restricted_load(content, source="batch")


def test_a_cut_off_batch_is_named(tmp_path):
    files = cifar10_files()
    files["cifar-10-batches-py/data_batch_4"] = files["cifar-10-batches-py/data_batch_4"][:1000]
    write_folder(tmp_path, files)
    with pytest.raises(UserError, match=r"cifar-10-batches-py: data_batch_4: damaged pickle"):
        read_cifar10_folder(tmp_path, NAMES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch", python2_batch(np.zeros((2, 3072)), [1]), "test_batch: 2 images but 1 labels"),
        ("test_batch", python2_batch(np.zeros((2, 3071)), [1, 2]), "test_batch: must hold data of 3072 bytes a row"),
        ("test_batch", pickle.dumps({b"labels": [1]}), "test_batch: must hold data of 3072 bytes a row and labels"),
        ("batches.meta", python2_names(b"names", [b"a"]), "the file of class names must hold label_names"),
        ("batches.meta", python2_names(b"label_names", [b"a"]), "must name 10 classes, got 1"),
    ],
)
def test_a_batch_of_something_else_is_named(tmp_path, name, content, message):
    write_folder(tmp_path, cifar10_files() | {f"cifar-10-batches-py/{name}": content})
    with pytest.raises(UserError, match=message):
        read_cifar10_folder(tmp_path, NAMES)


def test_an_archive_without_a_batch_names_it(tmp_path):
    files = cifar10_files()
    del files["cifar-10-batches-py/data_batch_3"]
    write_tar(tmp_path / "cifar-10-python.tar.gz", files)
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz: no file named data_batch_3 in the archive$"):
        read_cifar10_folder(tmp_path, NAMES)
