"""Checks, row blocks, top labels and bins shared by everything that reads predicted probabilities or logits."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_floating, check_labels, check_ndim, check_same_length

SUM_TOLERANCE = 1e-4  # How far a row of probabilities may be from summing to 1: float32 rounding with room.
FEW_VALUES = 2048  # Below, one search among the edges is quicker than several operations.
BLOCK_ELEMENTS = 2**18  # 2 MiB as float64: a block and what is computed from it stay in a core's cache.


def check_probabilities(probabilities: Tensor, labels: Tensor) -> None:
    """Raise unless `probabilities` are (N, K) floats in [0, 1] whose rows sum to 1, with N labels in [0, K)."""
    check_shapes(labels, probabilities=probabilities)
    check_finite(probabilities=probabilities)
    check_labels(
        labels, num_classes=probabilities.shape[1], because=f"probabilities have {probabilities.shape[1]} columns"
    )
    if not len(probabilities):
        return
    low, high = (float(bound) for bound in torch.aminmax(probabilities.detach()))
    if low < 0 or high > 1:
        raise ValueError(
            f"probabilities must lie in [0, 1], got values from {low:g} to {high:g} (take softmax of logits)"
        )
    worst = max(float(_largest_excess(rows)) for rows, _ in row_blocks(probabilities.detach(), labels))
    tolerance = _sum_tolerance(probabilities.dtype)
    if worst > tolerance:
        raise ValueError(
            f"probabilities must have rows that sum to 1 within {tolerance:g}, got a row that is off by {worst:.2g}"
        )


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise unless `logits` are (N, K) finite floats, with N labels in [0, K)."""
    check_shapes(labels, logits=logits)
    check_finite(logits=logits.detach())
    check_labels(labels, num_classes=logits.shape[1], because=f"logits have {logits.shape[1]} columns")


def check_shapes(labels: Tensor, **values: Tensor) -> None:
    """Raise unless the one of `values` is (N, K) floating point and `labels` are (N,) integers; reads no value."""
    check_ndim(2, **values)
    check_same_length(**values, labels=labels)
    check_floating(**values)
    for name, tensor in values.items():
        if not tensor.shape[1]:
            raise ValueError(f"{name} must have at least one class, got shape {tuple(tensor.shape)}")
    check_labels(labels[:0] if labels.ndim == 1 else labels, num_classes=1)  # the values of none


def are_probabilities(rows: Tensor, labels: Tensor) -> Tensor | bool:
    """Say what `check_probabilities` says in words, for B at least 1: on the CPU a bool, elsewhere a tensor unread."""
    low, high, excess, first, last = _numbers(*torch.aminmax(rows), _largest_excess(rows), *torch.aminmax(labels))
    # No comparison with NaN holds.
    is_inside = (low >= 0) & (high <= 1) & (excess <= _sum_tolerance(rows.dtype))
    return is_inside & (first >= 0) & (last < rows.shape[1])


def are_logits(rows: Tensor, labels: Tensor) -> Tensor | bool:
    """Say whether (B, K) rows, B at least 1, are finite and labels fit; returns as `are_probabilities` does."""
    low, high, first, last = _numbers(*torch.aminmax(rows), *torch.aminmax(labels))
    return (low > -math.inf) & (high < math.inf) & (first >= 0) & (last < rows.shape[1])


def row_blocks(values: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (rows, labels) of blocks that fit a core's cache, labels on the device of the rows; none if N = 0."""
    size = max(1, BLOCK_ELEMENTS // values.shape[1])
    labels = labels.to(values.device)
    for start in range(0, len(values), size):
        yield values[start : start + size], labels[start : start + size]


def top_label(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest softmax probability of each row, (B,) float64, and the (first) class that has it."""
    largest, prediction = logits.max(dim=1)
    above = logits.to(torch.float64) - largest.to(torch.float64)[:, None]
    return 1 / above.exp_().sum(dim=1), prediction


def bin_positions(values: Tensor, *, num_bins: int) -> Tensor:
    """Return the equal-width bin (low, high] of each value in [0, 1], int64 in [0, num_bins); others get some bin."""
    # Edges in the precision of the values: the float32 number nearest to 3/15 lies on that edge.
    upper = torch.arange(1, num_bins + 1, dtype=torch.float64, device=values.device).div_(num_bins).to(values.dtype)
    spacing = torch.finfo(values.dtype).eps
    if values.dtype not in (torch.float32, torch.float64):
        values, upper = values.to(torch.float32), upper.to(torch.float32)  # exact
    flat = values.flatten().contiguous()
    if not flat.is_cpu or len(flat) < FEW_VALUES or num_bins * spacing > 1 / 8:
        # right=False counts the edges below the value: a value on an edge stays in the bin that ends there.
        return torch.bucketize(flat, upper[:-1], right=False).view(values.shape)
    # Five times as fast as a search among the edges. A quarter of a bin is more than all rounding: the product without
    # it falls into the value's bin or the one before, and one look at the edge between the two decides.
    place = flat.mul(num_bins).sub_(1.25).ceil_().to(torch.int32).clamp_(0, num_bins - 1)
    is_above = flat > upper.index_select(0, place)
    return place.add_(is_above).clamp_(max=num_bins - 1).to(torch.int64).view(values.shape)


def equal_edges(num_bins: int) -> Tensor:
    """Return (num_bins + 1,) float64, from 0 to 1."""
    return torch.arange(num_bins + 1, dtype=torch.float64) / num_bins


def _largest_excess(rows: Tensor) -> Tensor:
    return (rows.sum(dim=1, dtype=torch.float64) - 1).abs().amax()


def _sum_tolerance(dtype: torch.dtype) -> float:
    # Rounding moves a row's sum by at most half the spacing at 1 (float16: 0.001, bfloat16: 0.008).
    return max(SUM_TOLERANCE, torch.finfo(dtype).eps)


def _numbers(*scalars: Tensor) -> Sequence[Any]:
    """Return scalars as numbers on the CPU, where reading them is quicker than one operation; elsewhere as they are."""
    return [scalar.item() for scalar in scalars] if scalars[0].is_cpu else scalars
