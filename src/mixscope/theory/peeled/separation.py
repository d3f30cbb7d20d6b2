"""Optimum of the minimum-norm separation problem in closed form, with its proof of optimality in numbers.

min |W|^2 / 2 + |H|^2 / 2 subject to w_k . h_{k,i} - w_j . h_{k,i} >= 1 for all j != k and all i: where the direction of
the layer-peeled flow is headed. Source: Ji et al. 2022, section 3; constants derived.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_numbers, check_size
from mixscope.base.kinds import checked
from mixscope.base.simplex import center_rows
from mixscope.theory.peeled.point import PeeledPoint, check_class_counts, labels_of_counts
from mixscope.theory.solution import Solution, solved

TOLERANCE = 1e-10  # relative; rounding alone leaves about 1e-14


@dataclass(frozen=True)
class SeparationOptimum:
    """The optimum of the separation problem, up to rotation. Columns of (K, K) matrices are the example's class.

    Attributes:
        value: The least |W|^2 / 2 + |H|^2 / 2, which is also |W|^2 and |H|^2: the nuclear norm of the logits.
        normalized_margin: gamma = 1 / (2 value), the largest normalised margin of any point.
        logits: (K, K) float64, w_j . h of an example of class k at [j, k]: I - 11^T / K.
        weight_gram: (K, K) float64, W W^T.
        feature_gram: (K, K) float64, inner products of the features of one example of every class.
        multipliers: (K, K) float64, at least 0: of the constraint of class j on one example of class k; 0 for j = k.
    """

    value: float
    normalized_margin: float
    logits: Tensor
    weight_gram: Tensor
    feature_gram: Tensor
    multipliers: Tensor


@checked
def separation_optimum(num_classes: int, num_per_class: int) -> Solution[SeparationOptimum]:
    """Return the optimum for K >= 2 classes of n >= 1 examples each: neural collapse, of value sqrt(n) (K - 1).

    W and H are simplex frames with h_{k,i} = w_k / sqrt(n) and |w_k|^2 = sqrt(n) (K - 1) / K; all multipliers are
    1 / (K sqrt(n)). Needs D of at least K - 1. The residual is that of `imbalanced_separation_optimum`.

    Raises:
        ValueError: If num_classes is below 2 or num_per_class below 1.
    """
    check_size(2, num_classes=num_classes)
    check_numbers(num_classes, num_classes, num_classes=num_classes)
    check_at_least(1, num_per_class=num_per_class)
    root = math.sqrt(num_per_class)
    logits = center_rows(torch.eye(num_classes, dtype=torch.float64))
    multipliers = (1 - torch.eye(num_classes, dtype=torch.float64)) / (num_classes * root)
    value = root * (num_classes - 1)
    optimum = SeparationOptimum(value, 0.5 / value, logits, root * logits, logits / root, multipliers)
    return _certified(optimum, torch.full((num_classes,), float(num_per_class), dtype=torch.float64))


@checked
def imbalanced_separation_optimum(class_counts: Sequence[int]) -> Solution[SeparationOptimum]:
    """Return the optimum for classes of any sizes: the logits stay I - 11^T / K, the geometry does not.

    With S = I - 11^T / K and Q = diag(class counts): W W^T = (S Q S)^(1/2), and the features follow. Minority classes
    get shorter classifiers, longer features and smaller angles. K is at least 2, each class count at least 1.
    Source: the simplex-encoded-label geometry of Thrampoulidis et al. 2022; derived here, certified by the residual.

    Returns:
        The optimum. The residual is the largest of: the duality gap relative to the value (the multipliers' sum against
        the nuclear norm of the logits), how far the multipliers' matrix exceeds the spectral norm 1, and how far a
        multiplier is below 0 relative to the largest. When all are 0 no point of any dimension is better.

    Raises:
        ValueError: If there are fewer than two classes, or a count is below 1.

    Example:
        >>> solution = imbalanced_separation_optimum([10, 10, 1])
        >>> round(solution.value.value, 6), solution.is_converged
        (5.162278, True)
    """
    check_class_counts(class_counts)
    check_numbers(len(class_counts), len(class_counts), class_counts=f"{len(class_counts)} classes")
    counts = torch.tensor(list(class_counts), dtype=torch.float64)
    logits = center_rows(torch.eye(len(counts), dtype=torch.float64))
    squares, vectors = torch.linalg.eigh(logits * counts @ logits)
    sizes, vectors = squares[1:].sqrt(), vectors[:, 1:]  # the smallest eigenvalue is the zero of the ones' direction
    polar = (vectors / sizes) @ vectors.T @ logits
    multipliers = -polar + torch.diag(polar.diagonal())
    value = float(sizes.sum())
    optimum = SeparationOptimum(
        value,
        0.5 / value,
        logits,
        weight_gram=(vectors * sizes) @ vectors.T,
        feature_gram=logits @ (vectors / sizes) @ vectors.T @ logits,
        multipliers=multipliers,
    )
    return _certified(optimum, counts)


@checked
def separation_point(class_counts: Sequence[int], *, dim: int, generator: torch.Generator) -> PeeledPoint:
    """Build an optimum of the separation problem, of smallest margin 1, in a uniformly random orientation.

    Arguments and errors as of `gaussian_start`, with D at least K - 1.
    """
    check_class_counts(class_counts, dim=dim)
    num_classes = len(class_counts)
    if dim < num_classes - 1:
        raise ValueError(f"dim must be at least the classes of class_counts less one, {num_classes - 1}, got {dim}")
    optimum = imbalanced_separation_optimum(class_counts).value
    squares, vectors = torch.linalg.eigh(optimum.weight_gram)
    sizes, vectors = squares[1:], vectors[:, 1:]
    normal = torch.randn(dim, num_classes - 1, dtype=torch.float64, generator=generator)
    directions, triangle = torch.linalg.qr(normal)
    directions = directions * triangle.diagonal().sign()
    head_weight = vectors * sizes.sqrt() @ directions.T
    class_features = optimum.logits @ (vectors / sizes.sqrt()) @ directions.T
    labels = labels_of_counts(class_counts)
    return PeeledPoint(head_weight, class_features[labels], labels)


@checked
def square_point(num_per_class: int, *, dim: int) -> PeeledPoint:
    """Build the square: four classes in a plane, a KKT point of the separation problem that is not neural collapse.

    w_k = n^(1/4) (cos(k pi / 2), sin(k pi / 2), 0, ...), h_{k,i} = w_k / sqrt(n). Its value is 4 sqrt(n) where the
    optimum has 3 sqrt(n). Source: derived; the softmax code of four classes in two dimensions.

    Raises:
        ValueError: If num_per_class is below 1 or dim below 2.
    """
    check_size(1, num_per_class=num_per_class)
    check_size(2, dim=dim)
    check_numbers(4 * num_per_class, dim, num_per_class=num_per_class, dim=dim)
    corners = torch.zeros(4, dim, dtype=torch.float64)
    corners[:, :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    labels = labels_of_counts([num_per_class] * 4)
    return PeeledPoint(corners * num_per_class**0.25, corners[labels] / num_per_class**0.25, labels)


def _certified(optimum: SeparationOptimum, counts: Tensor) -> Solution[SeparationOptimum]:
    """Attach the proof: a dual point of the same value. For any U of spectral norm 1, <U, Z> <= |Z|_* <= rho^2 / 2."""
    multipliers = optimum.multipliers
    matrix = torch.diag(multipliers.sum(dim=0)) - multipliers
    spectral = float(torch.linalg.matrix_norm(matrix * counts.sqrt(), ord=2))
    dual = float((multipliers * counts).sum())
    below_zero = -float(multipliers.min()) / float(multipliers.max())
    residual = max(abs(optimum.value - dual) / optimum.value, spectral - 1, below_zero, 0.0)
    return solved(optimum, residual=residual, iterations=0, tolerance=TOLERANCE, solver="separation_optimum")
