"""CIFAR-10 and CIFAR-100 from their Python batches, unpickled by a reader that admits arrays and plain values only."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mixscope.base.errors import UserError
from mixscope.base.reading import kind_and_reason, one_line, read_regular
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set
from mixscope.data.members import read_members

# Training batches, a test batch and the file of class names, in this order.
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
CIFAR100_FILES = ("train", "test", "meta")
IMAGE_SHAPE = (3, 32, 32)
BATCH_BYTES = 1 << 28  # 256 MiB; the largest, the training part of CIFAR-100, has 156 MB
WHY = "a file of CIFAR; put the original files there"


def read_cifar10_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read CIFAR-10 from `folder`: cifar-10-batches-py/, or cifar-10-python.tar.gz.

    A `UserError` if a file is missing or damaged, or a batch holds anything but arrays and plain values.
    """
    names = ("cifar-10-batches-py", "cifar-10-python.tar.gz")
    return _read_set(folder, *names, CIFAR10_FILES, prefix=b"", num_classes=len(class_names))


def read_cifar100_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read CIFAR-100 with its 100 fine labels from `folder`: cifar-100-python/, or cifar-100-python.tar.gz."""
    names = ("cifar-100-python", "cifar-100-python.tar.gz")
    return _read_set(folder, *names, CIFAR100_FILES, prefix=b"fine_", num_classes=len(class_names))


def restricted_load(content: bytes | bytearray, *, source: str) -> Any:
    """Unpickle numpy uint8 arrays, bytes, str, int, list and dict, and refuse everything else by name.

    Python 2 strings come out as bytes. The batches of 2009 name numpy.core.multiarray._reconstruct, numpy.ndarray and
    numpy.dtype; protocol 2 written by Python 3 names _codecs.encode for bytes. Each of these stands for a function or
    class below, so that a pickle never gets hold of numpy itself. A `UserError` if the pickle names anything else, or
    is damaged.
    """
    with one_line(source, "damaged pickle", Exception, words=kind_and_reason):  # damaged pickles raise nearly anything
        loaded = _RestrictedUnpickler(io.BytesIO(content), encoding="bytes", source=source).load()
        return _plain(loaded, iter(range(len(content))))


class _ByteType:
    """Stands for numpy.dtype, and can be the type of bytes only."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if code not in ("u1", b"u1"):
            raise ValueError(f"only arrays of bytes (u1) are read, got {code!r}")

    def __setstate__(self, state: Any) -> None:
        """Ignore byte order and alignment: bytes have none."""


class _ByteArray:
    """Stands for numpy.ndarray."""

    def __setstate__(self, state: Any) -> None:
        import numpy as np

        _version, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _ByteType):
            raise ValueError(f"only arrays of bytes (u1) are read, got {dtype!r}")
        # A view: one content may be named many times.
        self.array = np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _EmptyArray:
    """Stands for numpy's _reconstruct; the array's shape and content follow in the pickle, as its state.

    An object without attributes and not a function, so that a pickle has nothing on it to set.
    """

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, typecode: Any) -> _ByteArray:
        if kind is not _ByteArray:
            raise ValueError("only plain arrays are read")
        return _ByteArray()


class _Latin1Bytes:
    """Stands for _codecs.encode, as Python 3 uses it to write bytes in protocol 2."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if encoding not in ("latin1", b"latin1"):
            raise ValueError(f"only latin1 is read, got {encoding!r}")
        return str(text).encode("latin1")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _EmptyArray(),
    ("numpy._core.multiarray", "_reconstruct"): _EmptyArray(),  # as numpy 2 writes it
    ("numpy", "ndarray"): _ByteArray,
    ("numpy", "dtype"): _ByteType,
    ("_codecs", "encode"): _Latin1Bytes(),
}


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows the names in ALLOWED and no other."""

    def __init__(self, file: io.BytesIO, *, encoding: str, source: str) -> None:
        super().__init__(file, encoding=encoding)
        self.source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            wanted = f"the pickle wants to call {module}.{name}"
            raise UserError(f"{self.source}: refused, {wanted}; only arrays and plain values are read")
        return ALLOWED[module, name]


def _plain(value: Any, budget: Iterator[int]) -> Any:
    """Return the value with stand-ins replaced by the numpy arrays they hold.

    A list may stand in a pickle once and be named many times; copied each time, a few bytes become any number. So no
    more values are copied than the pickle has bytes, which is what `budget` counts.
    """
    if next(budget, None) is None:
        raise ValueError("it unfolds to more values than it has bytes")
    if isinstance(value, _ByteArray):
        return value.array
    if isinstance(value, dict):
        return {key: _plain(entry, budget) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, budget) for entry in value]
    if type(value) not in (bytes, str, int):
        raise ValueError(f"only arrays, bytes, str, int, list and dict are read, got {type(value).__name__}")
    return value


def _read_set(
    folder: Path, extracted: str, archive: str, names: tuple[str, ...], *, prefix: bytes, num_classes: int
) -> DecodedSet:
    """Make a set of the named files, from the extracted folder where it is complete, else from the archive.

    `prefix` stands before the keys of labels and class names.
    """
    if all((folder / extracted / name).is_file() for name in names):
        source = folder / extracted
        contents = (read_regular(source / name, ceiling=BATCH_BYTES, why=WHY) for name in names)
        found: dict[str, bytes | bytearray] = dict(zip(names, contents, strict=True))
    else:
        source = folder / archive
        members = read_members(
            source, lambda member, _: member.rpartition("/")[2] in names, ceiling=BATCH_BYTES, why=WHY
        )
        found = {member.rpartition("/")[2]: content for member, content in members if content is not None}
        if missing := [name for name in names if name not in found]:
            raise UserError(f"{source}: no file named {', '.join(missing)} in the archive")
    *train, test = (_batch(found[name], prefix + b"labels", f"{source}: {name}") for name in names[:-1])
    key = prefix + b"label_names"
    with one_line(source, f"the file of class names must hold {key.decode()}", KeyError, TypeError, AttributeError):
        entries = restricted_load(found[names[-1]], source=f"{source}: class names")[key]
        class_names = tuple(name.decode() for name in entries)
    if len(class_names) != num_classes:
        raise UserError(f"{source}: must name {num_classes} classes, got {len(class_names)}")
    joined = LabelledImages(torch.cat([part.images for part in train]), torch.cat([part.labels for part in train]))
    return checked_set(joined, test, class_names=class_names, notes=f"Python batches in {source}", source=source)


def _batch(content: bytes | bytearray, label_key: bytes, source: str) -> LabelledImages:
    batch = restricted_load(content, source=source)
    what, damages = f"must hold data of 3072 bytes a row and {label_key.decode()}", (KeyError, TypeError, ValueError)
    with one_line(source, what, *damages, RuntimeError, AttributeError, words=kind_and_reason):
        rows, labels = batch[b"data"], torch.tensor(batch[label_key], dtype=torch.int64)
        images = torch.from_numpy(rows.copy()).reshape(-1, *IMAGE_SHAPE)  # torch wants memory that may be written to
    if len(images) != len(labels):
        raise UserError(f"{source}: {len(images)} images but {len(labels)} labels")
    return LabelledImages(images, labels)
