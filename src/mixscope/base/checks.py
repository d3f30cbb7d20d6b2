"""Argument checks whose messages say what the argument must be and what it was."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

MAX_SIZE = 1_000_000  # classes, bins, resamples, ...: far above any use, and nothing it sizes fills a memory
MAX_NUMBERS = 2**29  # of one tensor that a caller's sizes ask for: 4 GiB of float64


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Put the name of the caller's argument before the message of an error about what is made of it.

    It takes the place of a name put there further inside that it contains: "train_batches" that of "batches".
    """
    try:
        yield
    except ValueError as error:
        inner, _, message = str(error).partition(": ")
        raise ValueError(f"{argument}: {message if inner in argument else error}") from error


def check_same_length(**tensors: Tensor) -> None:
    """Raise unless all tensors have the same first dimension."""
    for name, tensor in tensors.items():
        if not tensor.ndim:
            raise ValueError(f"{name} must have at least one dimension, got a single number")
    lengths = [len(tensor) for tensor in tensors.values()]
    if len(set(lengths)) > 1:
        names = " and ".join(tensors)
        raise ValueError(f"{names} must have the same length, got {' and '.join(map(str, lengths))}")


def check_ndim(ndim: int, **tensors: Tensor) -> None:
    """Raise unless every tensor has `ndim` dimensions."""
    for name, tensor in tensors.items():
        if tensor.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} dimensions, got shape {tuple(tensor.shape)}")


def check_shape(shape: tuple[int, ...], *, of: str = "", **tensors: Tensor) -> None:
    """Raise unless every tensor has this shape; `of` names what it must fit."""
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shape:
            origin = f" (to fit {of})" if of else ""
            raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}{origin}")


def check_floating(**tensors: Tensor) -> None:
    """Raise unless every tensor is floating point."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {tensor.dtype}")


def check_labels(labels: Tensor, *, num_classes: int, name: str = "labels", because: str = "") -> None:
    """Raise unless `labels` is a (N,) integer tensor in [0, num_classes); `because` says where that number is from."""
    if labels.ndim != 1:
        raise ValueError(f"{name} must be one integer per example, shape (N,), got shape {tuple(labels.shape)}")
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype is torch.bool:
        raise ValueError(f"{name} must be integers, got {labels.dtype}")
    if labels.numel():
        low, high = (int(v) for v in torch.aminmax(labels))
        if low < 0 or high >= num_classes:
            origin = f" ({because})" if because else ""
            raise ValueError(f"{name} must lie in [0, {num_classes}), got values from {low} to {high}{origin}")


def check_not_empty(**tensors: Tensor) -> None:
    """Raise unless every tensor has a first dimension and something in it."""
    for name, tensor in tensors.items():
        if not tensor.ndim or not tensor.numel():
            raise ValueError(f"{name} must hold at least one example, got 0 in shape {tuple(tensor.shape)}")


def check_within(low: float, high: float, **tensors: Tensor) -> None:
    """Raise unless every value lies in [low, high]; NaN does not."""
    for name, tensor in tensors.items():
        if tensor.numel():
            smallest, largest = (float(end) for end in torch.aminmax(tensor.detach()))
            if not low <= smallest <= largest <= high:
                raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got values from {smallest} to {largest}")


def check_finite(**tensors: Tensor) -> None:
    """Raise if a tensor holds NaN or an infinity."""
    for name, tensor in tensors.items():
        # One pass: a sum is not finite when an entry is not. A sum that overflows is looked at again.
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise ValueError(f"{name} must be finite, got {count} NaN or infinite values")


def check_at_least(minimum: float, **values: float) -> None:
    """Raise unless every value is at least `minimum` (NaN fails)."""
    _require(lambda value: value >= minimum, f"at least {minimum}", values)


def check_at_most(maximum: float, **values: float) -> None:
    """Raise unless every value is at most `maximum` (NaN fails)."""
    _require(lambda value: value <= maximum, f"at most {maximum:.10g}", values)


def check_not_negative(**values: float) -> None:
    """Raise unless every value is finite and at least 0."""
    _require(lambda value: 0 <= value < math.inf, "at least 0 and finite", values)


def check_positive(**values: float) -> None:
    """Raise unless every value is finite and above 0."""
    _require(lambda value: 0 < value < math.inf, "positive and finite", values)


def check_size(minimum: int, **sizes: int) -> None:
    """Raise unless every size is at least `minimum` and at most a million."""
    check_at_least(minimum, **sizes)
    check_at_most(MAX_SIZE, **sizes)


def check_numbers(*shape: int, **sizes: object) -> None:
    """Raise unless a tensor of this shape, which the sizes ask for, has at most 2^29 numbers."""
    if math.prod(shape) > MAX_NUMBERS:
        got = f"{math.prod(shape):,} ({' and '.join(f'{name} = {size}' for name, size in sizes.items())})"
        raise ValueError(f"{' and '.join(sizes)} must ask for at most {MAX_NUMBERS:,} numbers, got {got}")


def nearest(value: Any, choices: Collection[Any]) -> str:
    """Return ' (did you mean X?)' for the choices spelt like `value`, or an empty string."""
    close: Sequence[str] = get_close_matches(str(value), [str(choice) for choice in choices], n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _require(is_right: Callable[[float], bool], words: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not is_right(value):
            raise ValueError(f"{name} must be {words}, got {value}")
