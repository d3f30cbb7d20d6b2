"""Intrusion of blends into other classes: how often a blend lies nearest to an example of a class not in its label."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_finite,
    check_labels,
    check_ndim,
    check_not_empty,
    check_same_length,
    naming,
)
from mixscope.base.kinds import checked
from mixscope.metrics.blends.blend_sums import check_shares
from mixscope.metrics.blends.neighbours import nearest_examples

NUM_BINS = 5  # Ours: of the largest weight; 0.5-0.6, ..., 0.9-1.0 for two members.


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
    _check(blends, member_labels, weights, examples, real_labels, members)
    shares = weights.detach().to(mixed.device, torch.float64)
    num_points = shares.shape[1]
    if edges is None:
        edges = [1 / num_points + (1 - 1 / num_points) * place / NUM_BINS for place in range(NUM_BINS + 1)]
    bounds = torch.tensor(list(edges), dtype=torch.float64)
    if len(bounds) < 2 or not (bounds[1:] > bounds[:-1]).all():
        raise ValueError(f"edges must be at least two increasing numbers, got {list(edges)}")
    excluded = None if members is None else members.to(mixed.device).long()
    with naming("mixed and real_inputs"):
        nearest = nearest_examples(blends, examples, excluded=excluded)
    found = real_labels.to(mixed.device).long()[nearest]
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


def _check(
    mixed: Tensor,
    member_labels: Tensor,
    weights: Tensor,
    real_inputs: Tensor,
    real_labels: Tensor,
    members: Tensor | None,
) -> None:
    check_ndim(2, member_labels=member_labels, weights=weights)
    check_same_length(mixed=mixed, member_labels=member_labels, weights=weights)
    check_same_length(real_inputs=real_inputs, real_labels=real_labels)
    check_not_empty(mixed=mixed, real_inputs=real_inputs)
    if mixed.shape[1] != real_inputs.shape[1] or not (mixed.is_floating_point() and real_inputs.is_floating_point()):
        raise ValueError(
            f"mixed and real_inputs must be float of the same size per example, got {mixed.dtype} of "
            f"{mixed.shape[1]} and {real_inputs.dtype} of {real_inputs.shape[1]}"
        )
    if member_labels.shape != weights.shape:
        raise ValueError(
            f"member_labels and weights must have the same shape (M, P), got {tuple(member_labels.shape)} and "
            f"{tuple(weights.shape)}"
        )
    check_finite(mixed=mixed, real_inputs=real_inputs)
    check_shares(weights)
    largest = torch.iinfo(torch.int64).max
    check_labels(real_labels, num_classes=largest, name="real_labels")
    check_labels(member_labels.reshape(-1), num_classes=largest, name="member_labels")
    if members is None:
        return
    if members.shape != weights.shape:
        raise ValueError(f"members must have shape {tuple(weights.shape)}, got {tuple(members.shape)}")
    check_labels(members.reshape(-1), num_classes=len(real_inputs), name="members")
