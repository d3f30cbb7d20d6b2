"""Arrays of predictions and labels from files that other programs wrote, told apart by content; nothing is executed."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import kind_and_reason, one_line, open_regular
from mixscope.base.tensor_files import load_safetensors, load_torch
from mixscope.data.npz import read_array

NPY, ZIP, PICKLE = b"\x93NUMPY", b"PK", b"\x80"
KINDS = ".npy, .npz, .pt, .pth or .safetensors"


def read_tensor(path: Path, name: str) -> Tensor:
    """Read the one array of a file, or the one called `name`; that of a .npy or .safetensors is mapped, not copied.

    A `UserError` if the file is missing, not regular, damaged, holds more than arrays, or no one array of numbers.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file of {name}")
    # A damaged file makes numpy and torch raise nearly anything.
    telling = one_line(path, f"not a readable {KINDS} file", Exception, words=kind_and_reason)
    with telling, open_regular(path) as file:
        start = file.read(9)
        if start.startswith(NPY):
            return _as_tensor(np.load(path, mmap_mode="c", allow_pickle=False), path)
        if start.startswith(ZIP):
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                if not any(info.filename.endswith("/data.pkl") for info in members.values()):
                    key = _chosen(list(members), name, path)
                    return _as_tensor(read_array(archive, members[key], path=path, name=key), path)
            return _read_torch(file, path, name)
        if start[8:] == b"{":
            tensors = load_safetensors(path)
            return tensors[_chosen(list(tensors), name, path)]
        if start.startswith(PICKLE):
            return _read_torch(file, path, name)
    raise UserError(f"{path}: must be a {KINDS} file, got something else")


def _read_torch(file: io.BufferedReader, path: Path, name: str) -> Tensor:
    file.seek(0)
    content = load_torch(path, file)
    if isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        content = tensors[_chosen(list(tensors), name, path)]
    if not isinstance(content, Tensor):
        raise UserError(f"{path}: must hold one tensor, got a {type(content).__name__}")
    if content.layout is not torch.strided or content.device.type != "cpu" or content.is_quantized:
        raise UserError(f"{path}: must hold a plain tensor, got one that is sparse, quantized or without numbers")
    return content.detach()


def _chosen(names: list[Any], wanted: str, path: Path) -> Any:
    """Return the only name, or the one that is wanted."""
    if len(names) == 1 or wanted in names:
        return wanted if wanted in names else names[0]
    got = ", ".join(map(str, names[:6])) or "none"
    raise UserError(f"{path}: must hold one array, or one called {wanted}; got {got}")


def _as_tensor(array: "np.ndarray", path: Path) -> Tensor:
    if array.dtype.kind not in "fiub":
        raise UserError(f"{path}: must hold numbers, got {array.dtype}")
    if array.dtype.itemsize > 8:  # long double
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array)


def checked_labels(labels: Tensor, *, num_classes: int, num_rows: int, path: Path) -> Tensor:
    """Return (N,) int64 labels of (N,) or (N, 1) whole numbers; a `UserError` where they do not fit the predictions."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; of one-hot rows take argmax(1)" if labels.ndim == 2 else ""
        raise UserError(f"{path}: labels must be one class number per image, got shape {tuple(labels.shape)}{hint}")
    if len(labels) != num_rows:
        raise UserError(f"{path}: must hold {num_rows:,} labels, one for each row of predictions, got {len(labels):,}")
    if labels.is_complex() or labels.dtype is torch.bool:
        raise UserError(f"{path}: labels must be whole numbers, got {labels.dtype}")
    if labels.is_floating_point():
        odd = ~(labels == labels.floor())  # NaN too
        if odd.any():
            place = int(odd.nonzero()[0])
            raise UserError(f"{path}: labels must be whole numbers, got {float(labels[place]):g} in place {place}")
    values = labels.to(torch.float64)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high >= num_classes:
        hint = "; subtract 1, classes are counted from 0" if low >= 1 and high == num_classes else ""
        got = f"got {low:g} to {high:g}{hint}"
        raise UserError(f"{path}: labels must lie in 0 to {num_classes - 1}, the predictions' columns, {got}")
    return labels.to(torch.int64)


def checked_scores(scores: Tensor, *, name: str, path: Path) -> Tensor:
    """Return (N, K) floats; a `UserError` for another shape, integers or nothing."""
    if scores.ndim != 2:
        hint = "; of one logit z of the second of two classes make the columns 0 and z" if scores.ndim == 1 else ""
        raise UserError(f"{path}: {name} must be (N, K), a row per image, got shape {tuple(scores.shape)}{hint}")
    if not scores.is_floating_point():
        raise UserError(f"{path}: {name} must be floating point, got {scores.dtype}; are these the labels?")
    if not len(scores) or scores.shape[1] < 2:
        raise UserError(f"{path}: {name} must have at least one row and two classes, got shape {tuple(scores.shape)}")
    return scores if scores.element_size() > 1 else scores.to(torch.float32)  # 8 bits are stored, not computed with
