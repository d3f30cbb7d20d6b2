"""Weights of a network, read from a file into it without running anything the file may carry."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.errors import UserError
from mixscope.base.files import seal_fits
from mixscope.base.reading import check_nothing_packed, kind_and_reason, one_line, open_regular
from mixscope.base.text import is_utf8

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
WEIGHT_SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
STATE_KEYS = ("state_dict", "model", "model_state_dict")  # Under one of these a training checkpoint keeps its weights.
WRAPPER_PREFIXES = ("module.", "model.", "_orig_mod.")  # Left by DataParallel, by trainers and by torch.compile.
NUM_NAMED = 3  # An error names this many weights of each kind.


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the weights in a file into `model`, all of them or, after an error, none.

    A .safetensors file holds tensors by name. A .pt, .pth, .ckpt or .bin file holds either tensors by name or a
    dictionary with them under "state_dict", "model" or "model_state_dict"; it is read with `weights_only=True`, which
    executes nothing. A prefix "module.", "model." or "_orig_mod." is taken off when every name in the file has it and
    not every name in the model does. Values are converted to the model's dtype and device. A `UserError` if the file is
    missing, has another suffix, cannot be read, holds more than tensors, is not what mixscope once wrote there, or does
    not fit the model: weights missing, unknown, of another shape, or NaN or infinite in the model's dtype.
    """
    path = Path(path)
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        raise UserError(f"{path}: weights must be a file ending in {', '.join(WEIGHT_SUFFIXES)}, got {path.suffix!r}")
    if not path.exists():
        raise UserError(f"{path}: no such file of weights")
    if seal_fits(path) is False:  # files of other programs carry none
        raise UserError(f"{path}: damaged since mixscope wrote it (its checksum does not fit); put a copy of it back")
    content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    own_state = model.state_dict()
    state = _without_wrapper_prefixes(_find_state(content, path=path), own_names=list(own_state))
    _check_fit(state, own_state, path=path)
    _check_finite(state, model, path=path)
    model.load_state_dict(state)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    with open_regular(path) as file:
        content = None if is_utf8(str(path)) else file.read()  # safetensors maps the file itself, where it can name it
    with one_line(path, "cannot be read as safetensors", SafetensorError, OSError):
        return load_file(path, device="cpu") if content is None else load(content)


def _read_torch(path: Path) -> Any:
    # A damaged file makes torch raise KeyError, EOFError, RuntimeError and others.
    what = "cannot be read as a PyTorch file, and nothing was executed"
    telling = one_line(path, what, Exception, words=kind_and_reason)
    with telling, open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of unusual pickle protocols, and reads them or raises.
        check_nothing_packed(path, file)
        try:
            return torch.load(file, weights_only=True, map_location="cpu")
        except pickle.UnpicklingError as error:
            wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
            asks_for = f" (it asks for {wanted[1]})" if wanted else ""
            raise UserError(
                f"{path}: needs unpickling, which can run code{asks_for}; nothing was executed."
                " Save model.state_dict() alone, or use .safetensors"
            ) from error


def _find_state(content: Any, *, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: must hold a dictionary of tensors by name, got a {type(content).__name__}")
    nested = [key for key in STATE_KEYS if isinstance(content.get(key), Mapping)]
    if len(nested) > 1:
        raise UserError(f"{path}: must hold weights under one key, got {' and '.join(nested)}")
    state = content[nested[0]] if nested else content
    others = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        got = f"other values under {_few([str(name) for name in others])}"
        raise UserError(f"{path}: must hold tensors by name, alone or under {', '.join(STATE_KEYS)}; got {got}")
    return dict(state)


def _without_wrapper_prefixes(state: dict[str, Tensor], *, own_names: list[str]) -> dict[str, Tensor]:
    for _ in range(len(WRAPPER_PREFIXES)):  # Wrappers nest: module._orig_mod.head.weight.
        for prefix in WRAPPER_PREFIXES:
            belongs_to_model = all(name.startswith(prefix) for name in own_names)
            if state and not belongs_to_model and all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _check_fit(state: dict[str, Tensor], own_state: dict[str, Tensor], *, path: Path) -> None:
    complaints = {
        "missing from the file": [name for name in own_state if name not in state],
        "unknown to the model": [name for name in state if name not in own_state],
        "of another shape": [
            f"{name}: {tuple(state[name].shape)} instead of {tuple(own_state[name].shape)}"
            for name in own_state
            if name in state and state[name].shape != own_state[name].shape
        ],
    }
    problems = [f"{len(names)} {complaint} ({_few(names)})" for complaint, names in complaints.items() if names]
    if problems:
        raise UserError(f"{path}: weights do not fit the model: {'; '.join(problems)}")


def _check_finite(state: dict[str, Tensor], model: nn.Module, *, path: Path) -> None:
    """Raise for NaN, and for infinities in what is trained: a buffer may hold them, as attention masks do."""
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    broken = []
    for name, own in model.state_dict().items():
        if own.is_floating_point():
            value = state[name].to(own.dtype)  # as loading does: 1e300 is infinite in float32
            if value.isnan().any() or (name in trained and value.isinf().any()):
                broken.append(name)
    if broken:
        raise UserError(f"{path}: weights must be finite, got NaN or infinite values in {_few(broken)}")


def _few(names: list[str]) -> str:
    return ", ".join([*names[:NUM_NAMED], *(["..."] if len(names) > NUM_NAMED else [])])
