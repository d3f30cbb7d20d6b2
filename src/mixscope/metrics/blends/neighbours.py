"""Nearest neighbours, exactly: the example closest to each query, by blocks of matrix products."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_finite,
    check_floating,
    check_labels,
    check_ndim,
    check_not_empty,
    check_same_length,
    check_shape,
)
from mixscope.base.kinds import checked

BLOCK_VALUES = 1 << 23  # distances held at a time: 64 MiB of float64


@checked
def nearest_examples(queries: Tensor, examples: Tensor, *, excluded: Tensor | None = None) -> Tensor:
    """Return the nearest example (L2) of every query, exactly, by blocks of matrix products.

    |q - x|^2 = |q|^2 - 2 q x + |x|^2 loses digits where the points are close to one another and far from the mean. So
    every example within its rounding error of the smallest is compared again by (q - x) itself.

    Args:
        queries: (M, D) float.
        examples: (N, D) float, N at least 1, on the same device.
        excluded: (M, P) integers in [0, N): examples that do not count for a query. None: all count.

    Returns:
        (M,) int64 in [0, N); the first of equally near ones.

    Raises:
        ValueError: If shapes or ranges do not fit, a value is not finite, all examples are excluded for a query, or a
            squared distance overflows.

    Example:
        >>> nearest_examples(torch.tensor([[0.9], [5.0]]), torch.tensor([[0.0], [1.0], [4.0]])).tolist()
        [1, 2]
    """
    check_ndim(2, queries=queries, examples=examples)
    check_floating(queries=queries, examples=examples)
    check_not_empty(examples=examples)
    check_shape((len(queries), examples.shape[1]), of="examples", queries=queries)
    check_finite(queries=queries, examples=examples)
    if excluded is not None:
        check_ndim(2, excluded=excluded)
        check_same_length(queries=queries, excluded=excluded)
        check_labels(excluded.flatten(), num_classes=len(examples), name="excluded", because="the rows of examples")
        excluded = excluded.long()
    points = examples.to(torch.float64)
    centre = points.mean(dim=0)
    centred = points - centre
    squares = centred.square().sum(dim=1)
    # Error of a sum of D products: at most (D + 4) eps (|q| + |x|)^2, a few times less in practice.
    unit = (points.shape[1] + 4) * torch.finfo(torch.float64).eps
    found = []
    for rows in _blocks(len(queries), max(1, BLOCK_VALUES // len(points))):
        block = queries[rows].to(torch.float64)
        offsets = block - centre
        own = offsets.square().sum(dim=1, keepdim=True)
        distances = (own + squares).addmm_(offsets, centred.T, alpha=-2)
        if excluded is not None:
            distances.scatter_(1, excluded[rows], torch.inf)
        smallest = distances.amin(dim=1, keepdim=True)
        if torch.isinf(smallest).any():
            if not torch.isfinite(own + squares.max()).all():
                raise ValueError("queries and examples must have squares that float64 can hold, got an overflow")
            raise ValueError(f"excluded must leave every query an example, got all {len(points)} left out for one")
        error = unit * (own.sqrt() + squares.max().sqrt()).square()
        query, candidate = (distances <= smallest + 2 * error).nonzero(as_tuple=True)
        found.append(_nearest_of(block, points, query=query, candidate=candidate))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=queries.device)


def _nearest_of(queries: Tensor, points: Tensor, *, query: Tensor, candidate: Tensor) -> Tensor:
    """Return the nearest candidate of every query; pairs (query, candidate) are in increasing order."""
    exact = torch.cat(
        [
            (queries[query[pairs]] - points[candidate[pairs]]).square().sum(dim=1)
            for pairs in _blocks(len(query), max(1, BLOCK_VALUES // points.shape[1]))
        ]
    )
    best = exact.new_full((len(queries),), torch.inf).scatter_reduce_(0, query, exact, "amin")
    is_best = exact == best[query]
    first = candidate.new_full((len(queries),), len(points))
    return first.scatter_reduce_(0, query[is_best], candidate[is_best], "amin")


def _blocks(num_rows: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, num_rows, size))
