"""Tensor files of torch and of safetensors, read without running anything that they may carry."""

import warnings
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mixscope.base.reading import check_nothing_packed, open_regular
from mixscope.base.text import is_utf8


def load_torch(path: Path, file: BinaryIO) -> Any:
    """Return what a file of torch holds, opened by its path: tensors and plain values, on the CPU.

    A `UserError` if it unfolds to more than its own size; whatever torch raises if it is damaged or holds more.
    """
    check_nothing_packed(path, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of unusual pickle protocols, and reads them or raises
        return torch.load(file, weights_only=True, map_location="cpu")


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, mapped from it where safetensors can name it.

    A `UserError` if it is no regular file; whatever safetensors raises if it is damaged.
    """
    from safetensors.torch import load, load_file

    with open_regular(path) as file:
        content = None if is_utf8(str(path)) else file.read()
    return load_file(path, device="cpu") if content is None else load(content)
