"""Argument checks whose messages say what the argument must be and what it was."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor


def check_same_length(**tensors: Tensor) -> None:
    """Raise unless all tensors have the same first dimension."""
    lengths = [len(tensor) for tensor in tensors.values()]
    if len(set(lengths)) > 1:
        names = " and ".join(tensors)
        raise ValueError(f"{names} must have the same length, got {' and '.join(map(str, lengths))}")


def check_ndim(ndim: int, **tensors: Tensor) -> None:
    """Raise unless every tensor has `ndim` dimensions."""
    for name, tensor in tensors.items():
        if tensor.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} dimensions, got shape {tuple(tensor.shape)}")


def check_labels(labels: Tensor, *, num_classes: int, name: str = "labels") -> None:
    """Raise unless `labels` is a (N,) integer tensor with values in [0, num_classes)."""
    if labels.ndim != 1:
        raise ValueError(f"{name} must be one integer per example, shape (N,), got shape {tuple(labels.shape)}")
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype is torch.bool:
        raise ValueError(f"{name} must be integers, got {labels.dtype}")
    if labels.numel():
        low, high = (int(v) for v in torch.aminmax(labels))
        if low < 0 or high >= num_classes:
            raise ValueError(f"{name} must lie in [0, {num_classes}), got values from {low} to {high}")


def check_finite(**tensors: Tensor) -> None:
    """Raise if a tensor holds NaN or an infinity."""
    for name, tensor in tensors.items():
        # One pass: a sum is not finite when an entry is not. A sum that overflows is looked at again.
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise ValueError(f"{name} must be finite, got {count} NaN or infinite values")


def check_at_least(minimum: float, **values: float) -> None:
    """Raise unless every value is at least `minimum` (NaN fails)."""
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_positive(**values: float) -> None:
    """Raise unless every value is finite and above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive and finite, got {value}")


def nearest(value: Any, choices: Collection[Any]) -> str:
    """Return ' (did you mean X?)' for the choices spelt like `value`, or an empty string."""
    close: Sequence[str] = get_close_matches(str(value), [str(choice) for choice in choices], n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
