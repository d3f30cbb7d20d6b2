"""CIFAR-10 and CIFAR-100 from their Python batches, unpickled by a reader that admits arrays and plain values only."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mixscope.base.errors import UserError
from mixscope.base.reading import kind_and_reason, read_regular
from mixscope.data.image_data import DecodedSet, LabelledImages, check_decoded
from mixscope.data.members import read_members

CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
CIFAR100_FILES = ("train", "test", "meta")
IMAGE_SHAPE = (3, 32, 32)
BATCH_BYTES = 1 << 28  # 256 MiB; the largest, the training part of CIFAR-100, has 156 MB
WHY = "a file of CIFAR; put the original files there"


def read_cifar10_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read CIFAR-10 from `folder`: cifar-10-batches-py/, or cifar-10-python.tar.gz.

    Raises:
        UserError: If a file is missing or damaged, or a batch holds anything but arrays and plain values.
    """
    files, source = _read_files(folder, "cifar-10-batches-py", "cifar-10-python.tar.gz", CIFAR10_FILES)
    train = _concatenate([_batch(files[name], b"labels", f"{source}: {name}") for name in CIFAR10_FILES[:5]])
    test = _batch(files["test_batch"], b"labels", f"{source}: test_batch")
    return _checked(train, test, files["batches.meta"], b"label_names", len(class_names), source)


def read_cifar100_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read CIFAR-100 with its 100 fine labels from `folder`: cifar-100-python/, or cifar-100-python.tar.gz.

    Raises:
        UserError: If a file is missing or damaged, or a batch holds anything but arrays and plain values.
    """
    files, source = _read_files(folder, "cifar-100-python", "cifar-100-python.tar.gz", CIFAR100_FILES)
    train = _batch(files["train"], b"fine_labels", f"{source}: train")
    test = _batch(files["test"], b"fine_labels", f"{source}: test")
    return _checked(train, test, files["meta"], b"fine_label_names", len(class_names), source)


def restricted_load(content: bytes | bytearray, *, source: str) -> Any:
    """Unpickle numpy uint8 arrays, bytes, str, int, list and dict, and refuse everything else by name.

    Python 2 strings come out as bytes. The batches of 2009 name numpy.core.multiarray._reconstruct, numpy.ndarray and
    numpy.dtype; protocol 2 written by Python 3 names _codecs.encode for bytes. Each of these stands for a function or
    class below, so that a pickle never gets hold of numpy itself.

    Raises:
        UserError: If the pickle names anything else, or is damaged.
    """
    try:
        return _plain(_RestrictedUnpickler(io.BytesIO(content), encoding="bytes").load(), iter(range(len(content))))
    except _ForbiddenNameError as error:
        raise UserError(
            f"{source}: refused, the pickle wants to call {error}; only arrays and plain values are read"
        ) from None
    except Exception as error:  # Damaged pickles raise nearly anything.
        raise UserError(f"{source}: damaged pickle ({kind_and_reason(error)})") from error


class _ForbiddenNameError(Exception):
    """A pickle names something that is not on the list."""


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
        """Return an array to be filled."""
        if kind is not _ByteArray:
            raise ValueError("only plain arrays are read")
        return _ByteArray()


class _Latin1Bytes:
    """Stands for _codecs.encode, as Python 3 uses it to write bytes in protocol 2."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        """Return the text as bytes."""
        if encoding not in ("latin1", b"latin1"):
            raise ValueError(f"only latin1 is read, got {encoding!r}")
        return str(text).encode("latin1")


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows the names in ALLOWED and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _ForbiddenNameError(f"{module}.{name}")
        return ALLOWED[module, name]


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _EmptyArray(),
    ("numpy._core.multiarray", "_reconstruct"): _EmptyArray(),  # as numpy 2 writes it
    ("numpy", "ndarray"): _ByteArray,
    ("numpy", "dtype"): _ByteType,
    ("_codecs", "encode"): _Latin1Bytes(),
}


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


def _read_files(
    folder: Path, extracted: str, archive: str, names: tuple[str, ...]
) -> tuple[dict[str, bytes | bytearray], Path]:
    """Return the contents of the named files, from the extracted folder where it is complete, else from the archive."""
    if all((folder / extracted / name).is_file() for name in names):
        source = folder / extracted
        return {name: read_regular(source / name, ceiling=BATCH_BYTES, why=WHY) for name in names}, source
    source = folder / archive
    files: dict[str, bytes | bytearray] = {}
    members = read_members(source, lambda member: member.rpartition("/")[2] in names, ceiling=BATCH_BYTES, why=WHY)
    for member, content in members:
        if content is not None:
            files[member.rpartition("/")[2]] = content
    missing = [name for name in names if name not in files]
    if missing:
        raise UserError(f"{source}: no file named {', '.join(missing)} in the archive")
    return files, source


def _batch(content: bytes | bytearray, label_key: bytes, source: str) -> LabelledImages:
    batch = restricted_load(content, source=source)
    try:
        rows, labels = batch[b"data"], torch.tensor(batch[label_key], dtype=torch.int64)
        images = torch.from_numpy(rows.copy()).reshape(-1, *IMAGE_SHAPE)  # torch wants memory that may be written to
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(
            f"{source}: must hold data of 3072 bytes a row and {label_key.decode()} ({kind_and_reason(error)})"
        ) from error
    if len(images) != len(labels):
        raise UserError(f"{source}: {len(images)} images but {len(labels)} labels")
    return LabelledImages(images, labels)


def _concatenate(parts: list[LabelledImages]) -> LabelledImages:
    return LabelledImages(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def _checked(
    train: LabelledImages, test: LabelledImages, meta: bytes | bytearray, key: bytes, num_classes: int, source: Path
) -> DecodedSet:
    try:
        names = tuple(name.decode() for name in restricted_load(meta, source=f"{source}: class names")[key])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: the file of class names must hold {key.decode()}") from error
    if len(names) != num_classes:
        raise UserError(f"{source}: must name {num_classes} classes, got {len(names)}")
    decoded = DecodedSet(train, test, names, f"Python batches in {source}")
    check_decoded(decoded, source=str(source))
    return decoded
