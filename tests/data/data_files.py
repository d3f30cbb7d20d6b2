"""Small files of every format the data room reads, written by hand for its tests."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array: np.ndarray) -> bytes:
    """An idx file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx_set(folder: Path, *, gzipped: bool, num_train: int = 20, num_test: int = 10) -> None:
    """Four idx files with ten classes; image i is filled with i, label i is i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for count in (num_train, num_test):
        arrays += [np.arange(count).repeat(6).reshape(count, 2, 3), np.arange(count) % 10]
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        content = idx_bytes(array)
        if gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def png(value, *, size: tuple[int, int] = (3, 2), mode: str = "RGB") -> bytes:
    """A PNG of one colour; size is (width, height)."""
    stream = io.BytesIO()
    Image.new(mode, size, value).save(stream, "PNG")
    return stream.getvalue()


def tree_files() -> dict[str, bytes]:
    """Two classes, three training and two test images, as train/CLASS/FILE and test/CLASS/FILE."""
    return {
        "train/cat/b.png": png((1, 2, 3)),
        "train/cat/a.png": png((4, 5, 6)),
        "train/ant/a.png": png((7, 8, 9)),
        "test/ant/a.png": png((10, 11, 12)),
        "test/cat/a.png": png((13, 14, 15)),
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    compression = {"gz": "w:gz", "tgz": "w:gz", "xz": "w:xz", "tar": "w"}[path.name.rpartition(".")[2]]
    with tarfile.open(path, compression) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def python2_batch(rows: np.ndarray, labels: list[int], *, label_key: bytes = b"labels") -> bytes:
    """A CIFAR batch opcode by opcode as Python 2 with numpy 1 wrote it: protocol 2, byte strings, numpy.core."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def count(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little")

    content = rows.astype(np.uint8).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85" + text(b"b") + b"\x87Rq\x09"
        b"(K\x01" + count(rows.shape[0]) + count(rows.shape[1]) + b"\x86"
        b"cnumpy\ndtype\nq\x0a" + text(b"u1") + b"K\x00K\x01\x87Rq\x0b"
        b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + len(content).to_bytes(4, "little") + content + b"tb"
    )
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}q\x01(" + text(b"batch_label") + b"q\x02" + text(b"training batch 1 of 5") + b"q\x03"
        + text(label_key) + b"q\x04]q\x05(" + numbers + b"e"
        + text(b"data") + b"q\x06" + array
        + text(b"filenames") + b"]q\x0c(" + text(b"leptodactylus.png") + b"eu."
    )  # fmt: skip


def python2_names(key: bytes, names: list[bytes]) -> bytes:
    """A CIFAR file of class names as Python 2 wrote it."""
    strings = b"".join(b"U" + bytes([len(name)]) + name for name in names)
    return b"\x80\x02}q\x01(U" + bytes([len(key)]) + key + b"]q\x02(" + strings + b"eu."


def cifar10_files() -> dict[str, bytes]:
    """The seven files of CIFAR-10, with ten images in every batch: image i of batch b is filled with 10 b + i."""
    files = {}
    for batch in range(6):
        rows = (10 * batch + np.arange(10)).repeat(3072).reshape(10, 3072)
        files["test_batch" if batch == 5 else f"data_batch_{batch + 1}"] = python2_batch(rows, list(range(10)))
    files["batches.meta"] = python2_names(b"label_names", [b"name%d" % label for label in range(10)])
    return {f"cifar-10-batches-py/{name}": content for name, content in files.items()}
