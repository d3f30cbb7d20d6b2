"""Checkpoints: a resumable state and plain weights, written whole or not at all, read without unpickling objects.

Both files carry their own SHA-256: the state as the comment that ends a zip archive, the weights in their header.
"""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.errors import UserError
from mixscope.base.files import EMPTY_SEAL, atomic_file, fill_seal, seal_fits
from mixscope.base.kinds import describe
from mixscope.base.reading import open_regular
from mixscope.base.tensor_files import load_torch

STATE_FILE, WEIGHTS_FILE = "last.pt", "weights.safetensors"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a resumable state to `folder/last.pt`: tensors and plain values, with "training" and "wall_seconds"."""
    buffer = io.BytesIO()  # torch.save to a file would hide a full disk behind an error of its own
    torch.save(state, buffer)
    buffer.seek(-2, io.SEEK_END)  # the length of the archive's comment
    buffer.write(len(EMPTY_SEAL).to_bytes(2, "little") + EMPTY_SEAL)
    with buffer.getbuffer() as content:
        fill_seal(content, len(content) - len(EMPTY_SEAL))
        with atomic_file(folder / STATE_FILE) as file:
            file.write(content)


def load_state(folder: Path) -> dict[str, Any]:
    """Read a resumable state; a `UserError` if it is missing, damaged, or more than tensors and plain values."""
    path = folder / STATE_FILE
    if not path.exists():
        raise UserError(f"{path} must be a checkpoint to resume from, but there is none")
    if not seal_fits(path):
        raise UserError(
            f"{path} must be a checkpoint of mixscope; it is damaged, or written by something else: "
            f"put a copy of it back, or begin anew with: mixscope train --from {folder.parent}"
        )
    try:
        with open_regular(path) as file:
            state: dict[str, Any] = load_torch(path, file)
    except UserError:
        raise
    except Exception as error:  # what is no tensor or plain value raises nearly anything, and torch's advice is trust
        raise UserError(f"{path} must be a checkpoint of mixscope; it holds more than tensors") from error
    if not isinstance(state, dict) or not {"training", "wall_seconds"} <= state.keys():
        raise UserError(f"{path} must be a checkpoint of mixscope; it holds something else")
    return state


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a network's parameters and buffers as safetensors, which any tool can read and nothing can execute.

    Tied weights are written under each of their names, as `load_state_dict` wants them.
    """
    content = encode_weights(model)
    with atomic_file(path) as file:
        file.write(content)


def encode_weights(model: nn.Module) -> bytearray:
    """Return what `save_weights` writes; a `UserError` if a network's state is more than plain tensors with values."""
    from safetensors import SafetensorError
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(f"{name} of the network must be a tensor to be saved, got {describe(value)}")
        kind = "quantised" if value.is_quantized else "without values, on the meta device" if value.is_meta else ""
        kind = kind or ("" if value.layout is torch.strided else f"of layout {value.layout}")
        if kind:
            raise UserError(f"{name} of the network must be a plain tensor to be saved, got one that is {kind}")
        tensor = value.detach().contiguous().cpu()
        place = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if place in seen else tensor  # safetensors refuses shared memory
        seen.add(place)
    try:
        content = bytearray(save(tensors, {"seal": EMPTY_SEAL.decode()}))
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"the network's weights must be such that safetensors can hold them: {error}") from error
    fill_seal(content, content.index(EMPTY_SEAL))
    return content
