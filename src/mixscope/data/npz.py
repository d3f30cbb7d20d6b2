"""Npz files with images and labels; what an array's header says is checked before the array is read."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import check_size, memory_bytes, one_line, open_regular, reason_of
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set
from mixscope.data.members import read_zip_member

if TYPE_CHECKING:
    import numpy as np

PARTS, KINDS = ("train", "test", "val"), ("images", "labels")
NPZ_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
MEMORY_SHARE = 0.25  # of the machine's memory, for one array: splits, subsets and another order of axes are copies
TOO_LARGE = "a quarter of this machine's memory; save fewer or smaller images"
HEADER_BYTES = 10_000  # of one array; numpy's own bound
DAMAGED = (OSError, ValueError, NotImplementedError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, *, allow_test_only: bool = False) -> DecodedSet:
    """Read an .npz file with train_images, train_labels, test_images and test_labels.

    Where there is no test part, val_images and val_labels are one, and where there is no training part the test part
    stands alone if that is allowed. Images are uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3,
    or floats in [0, 1] that reach above a half; labels are whole numbers from 0, (N,) or (N, 1), or one-hot rows
    (N, K). Classes are named by their numbers. A `UserError` if the file is damaged or would run code, an array is
    missing or of another kind, or it cannot be told which axis holds the channels.
    """
    telling = one_line(path, "not a readable .npz file", *DAMAGED, words=lambda error: _npz_problem(path, error))
    with telling, open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        there = [part for part in PARTS if all(f"{part}_{kind}" in members for kind in KINDS)]
        test_part = next((part for part in ("test", "val") if part in there), None)
        if test_part is None or ("train" not in there and not (allow_test_only and not _has(members, "train"))):
            missing = [name for name in NPZ_ARRAYS if name not in members]
            raise UserError(f"{path}: no array named {', '.join(missing)}; needed are {', '.join(NPZ_ARRAYS)}")
        used = [part for part in ("train", test_part) if part in there]
        arrays = {
            name: read_array(archive, members[name], path=path, name=name)
            for name in (f"{part}_{kind}" for part in used for kind in KINDS)
        }
    *train, test = (
        LabelledImages(
            _channels_first(arrays[f"{part}_images"], name=f"{part}_images", path=path),
            _labels(arrays[f"{part}_labels"], name=f"{part}_labels", path=path),
        )
        for part in used
    )
    num_classes = _num_classes((train[0] if train else test).labels, f"{used[0]}_labels", path)
    notes = f"arrays in {path}"
    if test_part == "val":
        notes += "; val_images are the test part"
    elif "val" in there:
        notes += "; val_images left out"
    return checked_set(
        train[0] if train else LabelledImages(test.images[:0], test.labels[:0]),
        test,
        class_names=tuple(map(str, range(num_classes))),
        notes=notes,
        has_train=bool(train),
        source=path,
    )


def _has(members: Mapping[str, zipfile.ZipInfo], part: str) -> bool:
    return any(f"{part}_{kind}" in members for kind in KINDS)


def _num_classes(labels: Tensor, name: str, path: Path) -> int:
    """Return K where the labels are 0 to K - 1 with every class present."""
    present = torch.unique(labels)
    # A gap in the labels is an empty class; found here, before 10^9 as a label asks for as many class names.
    wrong = present[present != torch.arange(len(present))].tolist()
    if wrong:
        got = f"{len(present)} classes are present, but one of them is {wrong[0]}"
        raise UserError(f"{path}: {name} must be 0 to K - 1 with every class present; {got}")
    return len(present)


def read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, path: Path, name: str) -> "np.ndarray":
    """Return one array, after its header was compared with the size of the member that holds it."""
    import numpy as np
    from numpy.lib import format as npy

    ceiling, source = int(MEMORY_SHARE * memory_bytes()), f"{path}: {name}"
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        if version != (1, 0):  # a header of the others may be of any length; they are for tables of very many columns
            raise ValueError(f"an array must be of format 1.0, got {version[0]}.{version[1]}")
        shape, is_fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=HEADER_BYTES)
        if dtype.hasobject:
            reason = f"{name} holds Python objects, and reading those can run code"
            raise UserError(f"{path}: not a readable .npz file ({reason})")
        size, held = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
        if size != held:
            said = f"{dtype} of shape {shape} in {size:,} bytes"
            raise UserError(f"{source} must hold what its header says, {said}, got {held:,}")
        check_size(size, ceiling=ceiling, source=source, why=TOO_LARGE)
        content = read_zip_member(stream, info, ceiling, source, TOO_LARGE)
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


def _npz_problem(path: Path, error: BaseException) -> str:
    """Say why an .npz file cannot be read."""
    with open_regular(path) as stream:
        if zipfile.is_zipfile(stream):
            return f"damaged: {reason_of(error)}"
        stream.seek(0)
        return "incomplete zip archive" if stream.read(2) == b"PK" else "not a zip archive"


def _labels(labels: "np.ndarray", *, name: str, path: Path) -> Tensor:
    import numpy as np

    if labels.ndim == 2 and labels.shape[1] == 1:  # as MedMNIST writes them
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "biuf" and labels.size:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1, dtype=np.int64) == 1).all()):
            got = f"{labels.dtype} of shape {labels.shape}"
            raise UserError(f"{path}: {name} must be integers of shape (N,), or one-hot rows of one 1 each, got {got}")
        labels = labels.argmax(axis=1)
    if (
        labels.ndim == 1
        and labels.dtype.kind == "f"
        and labels.size
        and (np.abs(labels) < 2**53).all()
        and (labels == np.floor(labels)).all()
    ):
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: {name} must be integers of shape (N,), got {labels.dtype} of shape {labels.shape}")
    if labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise UserError(f"{path}: {name} must be 0 to K - 1, got {int(labels.max())}")
    return torch.from_numpy(labels.astype(np.int64))


def _channels_first(images: "np.ndarray", *, name: str, path: Path) -> Tensor:
    """Return (N, C, H, W) uint8 from a numpy array in one of the three layouts."""
    import numpy as np

    if images.dtype.kind == "f" and images.size and images.ndim in (3, 4):
        images = _bytes_of(images, name, path)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        got = f"{images.dtype} of shape {images.shape}"
        raise UserError(f"{path}: {name} must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), got {got}")
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    if tensor.ndim == 3:
        return tensor.unsqueeze(1)
    is_first, is_last = tensor.shape[1] in (1, 3), tensor.shape[3] in (1, 3)
    if is_first == is_last:
        reason = "both axis 1 and axis 3 could be" if is_first else "neither axis 1 nor axis 3 is"
        raise UserError(f"{path}: cannot tell the channels of {name}: shape {images.shape}, {reason} 1 or 3 channels")
    return tensor if is_first else tensor.permute(0, 3, 1, 2).contiguous()


def _bytes_of(images: "np.ndarray", name: str, path: Path) -> "np.ndarray":
    """Return uint8 for floats in [0, 1], or in [0, 255] and whole; others could be anything, normalised pixels too."""
    import numpy as np

    low, high = float(images.min()), float(images.max())
    if low >= 0 and 0.5 < high <= 1:
        return np.round(images * 255).astype(np.uint8)
    if low >= 0 and 1 < high <= 255 and (images == np.floor(images)).all():
        return images.astype(np.uint8)
    got = f"{images.dtype} of shape {images.shape} from {low:.4g} to {high:.4g}"
    raise UserError(f"{path}: {name} must be uint8, or floats from 0 to 1, got {got}")
