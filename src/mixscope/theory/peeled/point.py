"""Points of the layer-peeled model, a classifier and one free feature per example, and the starts of its flows.

The model keeps a network's last layer and lets the features move freely: logits z_i = W h_i, no bias, summed
cross-entropy. Source: Ji et al. 2022, section 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_most,
    check_finite,
    check_labels,
    check_ndim,
    check_numbers,
    check_positive,
    check_same_length,
    check_shape,
    check_size,
)
from mixscope.base.kinds import checked
from mixscope.base.simplex import center_rows

LARGEST_SCALE = 1e100  # of the entries of a start: their squares must stay far below the largest number


@checked
@dataclass(frozen=True)
class PeeledPoint:
    """A classifier, a feature for every example, and whose class each is.

    Attributes:
        head_weight: (K, D) float64 on the CPU, K at least 2, no bias.
        features: (N, D) float64 on the CPU.
        labels: (N,) int64 in [0, K), every class at least once; the classes need not be of one size.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a label is not in [0, K), or a class has no example.
    """

    head_weight: Tensor
    features: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        check_ndim(2, head_weight=self.head_weight, features=self.features)
        rows = len(self.head_weight)
        if rows < 2:
            raise ValueError(f"head_weight must have a row for each of at least two classes, got {rows}")
        check_same_length(features=self.features, labels=self.labels)
        check_labels(self.labels, num_classes=rows, because=f"head_weight has {rows} rows")
        check_finite(head_weight=self.head_weight, features=self.features)
        check_shape((len(self.labels), self.head_weight.shape[1]), of="head_weight", features=self.features)
        for name in ("head_weight", "features"):
            object.__setattr__(self, name, getattr(self, name).detach().to("cpu", torch.float64))
        object.__setattr__(self, "labels", self.labels.detach().to("cpu", torch.int64))
        if not math.isfinite(self.squared_norm):
            raise ValueError("head_weight and features must have a finite squared norm, got entries near 1e154 or more")
        empty = (self.class_counts == 0).nonzero().flatten().tolist()
        if empty:
            raise ValueError(f"labels must hold every class at least once, got none of {empty}")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.head_weight)

    @property
    def class_counts(self) -> Tensor:
        """Examples per class, (K,) int64."""
        return torch.bincount(self.labels, minlength=self.num_classes)

    @property
    def squared_norm(self) -> float:
        """rho^2 = |W|_F^2 + |H|_F^2."""
        return float(self.head_weight.square().sum() + self.features.square().sum())


def check_class_counts(class_counts: Sequence[int], *, dim: int = 1) -> None:
    """Raise unless there are at least two classes, each with at least one example, and (K + N) D numbers are few."""
    if len(class_counts) < 2:
        raise ValueError(f"class_counts must be of at least two classes, got {len(class_counts)}")
    if min(class_counts) < 1:
        raise ValueError(f"class_counts must be at least 1, got {list(class_counts)}")
    check_size(1, dim=dim)
    num_rows = len(class_counts) + sum(class_counts)
    check_numbers(num_rows, dim, class_counts=f"{sum(class_counts):,} examples", dim=dim)


def labels_of_counts(class_counts: Sequence[int]) -> Tensor:
    """Return (N,) int64, the labels in order: class_counts[0] zeros, then class_counts[1] ones, and so on."""
    return torch.repeat_interleave(torch.arange(len(class_counts)), torch.tensor(list(class_counts)))


@checked
def scaled(point: PeeledPoint, *, squared_norm: float) -> PeeledPoint:
    """Return the point in the same direction with |W|^2 + |H|^2 = squared_norm.

    Raises:
        ValueError: If squared_norm is not positive and finite, or the point is zero.
    """
    check_positive(squared_norm=squared_norm)
    if point.squared_norm == 0:
        raise ValueError("point must not be zero: it has no direction")
    factor = (squared_norm / point.squared_norm) ** 0.5
    return PeeledPoint(factor * point.head_weight, factor * point.features, point.labels)


@checked
def gaussian_start(
    class_counts: Sequence[int], *, dim: int, scale: float = 1.0, generator: torch.Generator
) -> PeeledPoint:
    """Draw a generic start: every entry of classifier and features normal, with standard deviation `scale`.

    K is at least 2, with at least 1 example of each class, whose labels are in order; D is at least 1; the scale is
    positive and at most 1e100; the generator is the CPU's.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_class_counts(class_counts, dim=dim)
    check_positive(scale=scale)
    check_at_most(LARGEST_SCALE, scale=scale)
    labels = labels_of_counts(class_counts)
    draw = torch.randn(len(class_counts) + len(labels), dim, dtype=torch.float64, generator=generator) * scale
    return PeeledPoint(draw[: len(class_counts)], draw[len(class_counts) :], labels)


@checked
def symmetric_start(
    num_classes: int, num_per_class: int, *, dim: int, scale: float = 1.0, generator: torch.Generator
) -> PeeledPoint:
    """Draw a start without a frozen mode: rows of W normal and centred, every h_{k,i} = w_k / sqrt(n).

    W^T W = H H^T, no mean classifier and no scatter within classes: nothing is conserved that would hold the geometry
    back, and it collapses like a power of t instead of log t. K is at least 2, n at least 1; dimension and scale, of W
    before it is centred, and errors as of `gaussian_start`. Source: derived from Ji et al. 2022.
    """
    check_size(2, num_classes=num_classes)
    check_size(1, num_per_class=num_per_class)
    drawn = gaussian_start([num_per_class] * num_classes, dim=dim, scale=scale, generator=generator)
    head_weight = center_rows(drawn.head_weight)
    return PeeledPoint(head_weight, head_weight[drawn.labels] / num_per_class**0.5, drawn.labels)
