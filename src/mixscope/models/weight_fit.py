"""Fit of a checkpoint's tensors to a model, in words: what is missing, unknown, of another shape or not finite."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mixscope.base.errors import UserError
from mixscope.models.weight_names import EXTRA_STATE, few

COUNTER = "num_batches_tracked"  # of batch norm: older files lack it, and evaluation never reads it
# What profilers and older versions of a library leave among the weights, and forward passes make anew.
BYPRODUCTS = {
    *(COUNTER, "total_ops", "total_params", "position_ids", "relative_position_index", "relative_coords_table"),
    *("attn_mask", "inv_freq", "n_averaged", "decay"),
}


def unknown_words(unknown: Iterable[str]) -> list[str]:
    """Return in words, if anything, what a file has within a model's modules that the model has not."""
    names = list(unknown)
    if not names:
        return []
    hint = ""
    if any(part in name for name in names for part in ("weight_g", "parametrizations.", "weight_orig")):
        hint = "; one of the two has weight norm, spectral norm or pruning: take it off where the file is written"
    return [f"{len(names)} unknown to the model ({few(names)}){hint}"]


def within_modules(unknown: Iterable[str], own: Mapping[str, Any]) -> list[str]:
    """Return the names that lie within the model's modules: of a larger network, and no mere company."""
    children = {name.partition(".")[0] for name in own}
    numbered = any(child.isdigit() for child in children)
    found = []
    for name in unknown:
        child, _, rest = name.partition(".")
        is_own = (child in children and bool(rest)) or (numbered and child.isdigit())
        if is_own and name.rpartition(".")[2] not in BYPRODUCTS:
            found.append(name)
    return found


def check_plain(state: Mapping[str, Any], own: Mapping[str, Any], *, path: Path) -> None:
    """Raise a `UserError` for tensors that hold no plain values."""
    for name, value in state.items():
        if name in own and isinstance(value, Tensor) and isinstance(own[name], Tensor):
            if own[name].is_meta:
                raise UserError(
                    f"{path}: weights need a model with values to be replaced, got {name} on the meta device"
                )
            if own[name].is_floating_point() and not value.is_floating_point():
                raise UserError(f"{path}: weights must be in floating point, got {name} in {value.dtype}")
            kind = "quantised" if value.is_quantized else "without values" if value.is_meta else ""
            kind = kind or ("" if value.layout is torch.strided else f"of layout {value.layout}")
            if kind:
                raise UserError(f"{path}: weights must be plain tensors, got {name}, which is {kind}")


def check_finite(model: nn.Module, *, path: Path) -> None:
    """Raise for NaN, and for infinities in what is trained: a buffer may hold them, as attention masks do."""
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    broken = []
    for name, value in model.state_dict().items():
        has_values = isinstance(value, Tensor) and not is_lazy(value) and value.is_floating_point()
        if has_values and (value.isnan().any() or (name in trained and value.isinf().any())):
            broken.append(name)
    if broken:
        raise UserError(f"{path}: weights must be finite, got NaN or infinite values in {few(broken)}")


def other_shapes(state: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the names of another shape than the model's, with both shapes."""
    return [
        f"{name}: {tuple(state[name].shape)} instead of {shape_of(value)}"
        for name, value in own.items()
        if isinstance(state.get(name), Tensor) and shape_of(value) not in (None, tuple(state[name].shape))
    ]


def is_needed(name: str, value: Any) -> bool:
    """Return whether the model's value of this name must come from the file."""
    return isinstance(value, Tensor) and name.rpartition(".")[2] not in (COUNTER, EXTRA_STATE)


def is_tied(model: nn.Module, name: str, missing: Iterable[str]) -> bool:
    """Return whether a missing parameter is another's under a second name, and that one was loaded."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    lost = set(missing)
    return any(value is parameters.get(name) and other not in lost for other, value in parameters.items())


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return a tensor's shape; None for what is none, or has none yet."""
    return None if not isinstance(value, Tensor) or is_lazy(value) else tuple(value.shape)
