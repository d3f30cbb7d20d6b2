"""Intrusion of blends into other classes: how often a blend lies nearest to an example of a class not in its label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    naming,
)
from mixscope.base.kinds import checked
from mixscope.metrics.blends.blend_sums import check_shares

NUM_BINS = 5  # Ours: of the largest weight; 0.5-0.6, ..., 0.9-1.0 for two members.
BLOCK_VALUES = 1 << 23  # distances held at a time: 64 MiB of float64


@dataclass(frozen=True)
class IntrusionReport:
    """How many blends lie nearest to a real example of a class that is not in their label.

    Attributes:
        rate: Share of all blends, in [0, 1]; low is good: the labels of intruded blends are wrong.
        rates: (num_bins,) float64, the share in each bin of the largest weight; NaN in an empty one.
        counts: (num_bins,) float64, blends in each bin.
        edges: (num_bins + 1,) float64; bins are [low, high), the last one [low, high].
        intruded: (M,) bool, on the device of the blends.
    """

    rate: float
    rates: Tensor
    counts: Tensor
    edges: Tensor
    intruded: Tensor


@checked
def intrusion_rate(
    mixed: Tensor,
    member_labels: Tensor,
    weights: Tensor,
    *,
    real_inputs: Tensor,
    real_labels: Tensor,
    members: Tensor | None,
    edges: Sequence[float] | None = None,
) -> IntrusionReport:
    """Count the blends whose nearest real example belongs to none of the blended classes, by weight.

    A nearest neighbour (L2) stands for the label a person would give. Manifold intrusion as Guo et al. 2019 name it;
    this estimate of it is defined here. Members of weight 0 are not in a blend, and their classes not in its label.

    Args:
        mixed: (M, ...) float, the blends, flattened. Distances are exact: float64 around the mean of the real inputs,
            and near ties compared by the differences themselves; equal ones go to the first example.
        member_labels: (M, P) integers in [0, K), classes of the members.
        weights: (M, P) float, at least 0, rows sum to 1: shares of the members.
        real_inputs: (N, ...) float, N at least 1: the real examples, commonly the training images.
        real_labels: (N,) integers in [0, K).
        members: (M, P) integers in [0, N): which real examples were blended, to leave them out of the neighbours: the
            images that nobody blended are asked. None keeps them in: a blend close to a member is then never intruded.
            It matters, so it has no default: digits at weight 0.9 give 0.011 without the members, 0.000 with them.
        edges: Increasing edges of the bins of the largest weight. None: five equal bins from 1/P to 1.

    Returns:
        Shares over all blends and by bin. Blends outside the edges count in `rate` only.

    Raises:
        ValueError: If shapes or ranges do not fit, values are not finite, or all real examples of a blend are left out.

    Example:
        >>> real, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 2])
        >>> blends, weights = torch.tensor([[1.0], [0.2]]), torch.tensor([[0.5, 0.5], [0.9, 0.1]])
        >>> classes = torch.tensor([[0, 2], [0, 2]])
        >>> intrusion_rate(blends, classes, weights, real_inputs=real, real_labels=labels, members=None).rate
        0.5
    """
    for name, inputs in (("mixed", mixed), ("real_inputs", real_inputs)):
        if inputs.ndim < 2:
            raise ValueError(f"{name} must have one row per example, got shape {tuple(inputs.shape)}")
    blends, examples = mixed.detach().flatten(1), real_inputs.detach().flatten(1).to(mixed.device)
    check_ndim(2, member_labels=member_labels, weights=weights)
    check_same_length(mixed=blends, member_labels=member_labels, weights=weights)
    check_same_length(real_inputs=examples, real_labels=real_labels)
    check_not_empty(mixed=blends, real_inputs=examples)
    check_floating(mixed=blends, real_inputs=examples)
    check_shape((len(blends), examples.shape[1]), of="real_inputs", mixed=blends)
    check_shape(tuple(weights.shape), of="weights", member_labels=member_labels)
    check_finite(mixed=blends, real_inputs=examples)
    check_shares(weights)
    for name, labels in (("real_labels", real_labels), ("member_labels", member_labels.flatten())):
        check_labels(labels, num_classes=torch.iinfo(torch.int64).max, name=name)
    if members is not None:
        check_shape(tuple(weights.shape), of="weights", members=members)
        check_labels(members.flatten(), num_classes=len(examples), name="members")
    if edges is None:
        lowest = 1 / weights.shape[1]
        edges = [lowest + (1 - lowest) * place / NUM_BINS for place in range(NUM_BINS + 1)]
    bounds = torch.tensor(list(edges), dtype=torch.float64)
    if len(bounds) < 2 or not (bounds[1:] > bounds[:-1]).all():
        raise ValueError(f"edges must be at least two increasing numbers, got {list(edges)}")
    with naming("mixed and real_inputs"):
        nearest = _nearest(blends, examples, None if members is None else members.to(mixed.device).long())
    found = real_labels.to(mixed.device).long()[nearest]
    shares = weights.detach().to(mixed.device, torch.float64)
    in_label = (member_labels.to(mixed.device).long() == found[:, None]) & (shares > 0)
    intruded = ~in_label.any(dim=1)
    largest, hits = shares.amax(dim=1).cpu(), intruded.double().cpu()
    # Edges rounded like the weights: 0.6 in single precision lies on the edge 0.6, not above it.
    inner = bounds.to(weights.dtype).to(torch.float64)
    place = torch.bucketize(largest, inner, right=True) - 1
    place = torch.where(largest == inner[-1], len(inner) - 2, place)
    inside = (place >= 0) & (place < len(inner) - 1)
    counts = torch.bincount(place[inside], minlength=len(inner) - 1).double()
    sums = torch.zeros_like(counts).index_add_(0, place[inside], hits[inside])
    return IntrusionReport(float(hits.mean()), rates=sums / counts, counts=counts, edges=bounds, intruded=intruded)


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
    return _nearest(queries, examples, None if excluded is None else excluded.long())


def _nearest(queries: Tensor, examples: Tensor, excluded: Tensor | None) -> Tensor:
    """Do what `nearest_examples` does with checked arguments."""
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
    blocks = _blocks(len(query), max(1, BLOCK_VALUES // points.shape[1]))
    exact = torch.cat([(queries[query[pairs]] - points[candidate[pairs]]).square().sum(dim=1) for pairs in blocks])
    best = exact.new_full((len(queries),), torch.inf).scatter_reduce_(0, query, exact, "amin")
    is_best = exact == best[query]
    first = candidate.new_full((len(queries),), len(points))
    return first.scatter_reduce_(0, query[is_best], candidate[is_best], "amin")


def _blocks(num_rows: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, num_rows, size))
