"""Stationary points of the layer-peeled loss on a sphere of parameters, the way down from them, and its minima.

On |W|^2 + |H|^2 = rho^2 a point is stationary when dL/dW = -lam W and dL/dH = -lam H. Source: Ji et al. 2022, section 3
(every such point but neural collapse has a direction of negative curvature); constants derived.
Everything is relative to the loss itself, which may be far below the smallest float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mixscope.base.checks import check_finite, check_positive, check_shape, check_size
from mixscope.base.kinds import checked
from mixscope.theory.peeled.loss import Array, stack, stacked_loss, unstack
from mixscope.theory.peeled.point import PeeledPoint, check_class_counts, gaussian_start, scaled
from mixscope.theory.solution import Solution, solved

STATIONARY = 1e-6  # relative tangential gradient; the minimiser ends between 1e-9 and 1e-7
SAME = 1e-9  # of lam: closer than this sigma_1 counts as equal, with what the residual moves it besides
RESIDUAL_MOVES = 4.0  # sigma_1 / lam at an optimum, in units of sqrt(K) residual; derived 1, seen 0.6
RANK_TOLERANCE = 1e-10  # of the largest singular value of W
MAX_STEPS = 5000


@dataclass(frozen=True)
class SphereReport:
    """First and second order at a point of the sphere.

    Attributes:
        log_loss: log L.
        multiplier: lam / L, positive once the loss falls along the ray.
        residual: |tangential gradient| / |gradient|, from 0 (stationary) to 1.
        largest_singular_value: sigma_1 / L of -dL/dZ. At a stationary point with lam > 0: equal to lam at a global
            optimum (neural collapse), and above it anywhere else.
        is_optimal: Whether the point is stationary up to a residual of 1e-6, and sigma_1 <= lam up to 1e-9 and what
            such a residual moves it by, 4 sqrt(K) times the residual: a proof of global optimality to that accuracy.
            The nuclear norm of the logits is at most rho^2 / 2, so no point of the sphere has a loss lower by more
            than (sigma_1 - lam) rho^2 / 2.
        curvature: (2 lam - 2 sigma_1) / L, the Riemannian Hessian's quadratic form along the escape direction, of
            squared length 2; below 0 at every stationary point that is not optimal.
        escape_weight: (K, D) float64, u a^T with (u, v) the top singular pair and a unit vector orthogonal to the rows
            of W; None where W leaves no such vector (D is its rank).
        escape_features: (N, D) float64, v a^T; None likewise.
    """

    log_loss: float
    multiplier: float
    residual: float
    largest_singular_value: float
    is_optimal: bool
    curvature: float
    escape_weight: Tensor | None
    escape_features: Tensor | None


@dataclass(frozen=True)
class SphereMinima:
    """Where minimisation from S random starts ended: log L, (S,) float64, of each, and the point of least loss."""

    log_losses: Tensor
    best: PeeledPoint


@checked
def sphere_report(point: PeeledPoint) -> SphereReport:
    """Measure stationarity on the sphere through a point and construct the direction of negative curvature.

    The direction (u a^T, v a^T) leaves the logits unchanged to first order, so the loss's curvature along it is that of
    the logits' second order alone: -2 sigma_1, plus 2 lam for staying on the sphere. At least K features
    always leave room for it at a stationary point, where the rows of W sum to zero. Source: derived.

    Raises:
        ValueError: If the point is zero.

    Example:
        >>> from mixscope.theory.peeled.separation import square_point
        >>> report = sphere_report(square_point(1, dim=3))
        >>> report.residual < 1e-12, report.is_optimal, report.curvature < 0
        (True, False, True)
    """
    check_positive(squared_norm=point.squared_norm)
    loss, stacked = stacked_loss(point), stack(point)
    log_loss, slope = loss.relative_slope(stacked)
    descent = loss.descent(stacked)[1]
    multiplier = float((descent * stacked).sum()) / point.squared_norm
    length = float(np.linalg.norm(descent))
    residual = float(np.linalg.norm(descent - multiplier * stacked)) / length if length else 0.0
    left, sizes, right = torch.linalg.svd(-torch.from_numpy(slope), full_matrices=False)
    largest = float(sizes[0])
    slack = SAME + RESIDUAL_MOVES * math.sqrt(point.num_classes) * residual
    away = _orthogonal_to_rows(point.head_weight)
    return SphereReport(
        log_loss=log_loss,
        multiplier=multiplier,
        residual=residual,
        largest_singular_value=largest,
        is_optimal=residual <= STATIONARY and largest <= multiplier * (1 + slack),
        curvature=2 * multiplier - 2 * largest,
        escape_weight=None if away is None else torch.outer(right[0], away),
        escape_features=None if away is None else torch.outer(left[:, 0], away),
    )


@checked
def sphere_curvature(point: PeeledPoint, weight_direction: Tensor, feature_direction: Tensor) -> float:
    """Return the quadratic form of the Riemannian Hessian of L on the sphere along a direction, divided by L.

    Hess L[X, Y] + lam (|X|^2 + |Y|^2) with lam = -<gradient, point> / rho^2, X (K, D) and Y (N, D) float; the part of
    the direction along the point is taken off first. Not normalised by the direction's length. Source: derived.

    Raises:
        ValueError: If the point is zero, or a direction has not the shape of what it moves.
    """
    check_positive(squared_norm=point.squared_norm)
    check_shape(tuple(point.head_weight.shape), of="point", weight_direction=weight_direction)
    check_shape(tuple(point.features.shape), of="point", feature_direction=feature_direction)
    check_finite(weight_direction=weight_direction, feature_direction=feature_direction)
    stacked = torch.from_numpy(stack(point))
    direction = torch.cat([weight_direction, feature_direction]).to(torch.float64)
    direction = direction - (direction * stacked).sum() / point.squared_norm * stacked
    to_weight, to_features = direction[: point.num_classes], direction[point.num_classes :]
    log_loss, array = stacked_loss(point).relative_slope(stacked.numpy())
    slope = torch.from_numpy(array)
    moved = to_features @ point.head_weight.T + point.features @ to_weight.T
    moved = moved - moved.gather(1, point.labels[:, None])
    mean = (slope * moved).sum(dim=1)
    bend = (slope * moved.square()).sum() - math.exp(log_loss) * mean.square().sum()
    multiplier = -2 * float((slope * (point.features @ point.head_weight.T)).sum()) / point.squared_norm
    turn = 2 * (slope * (to_features @ to_weight.T)).sum()
    return float(bend + turn + multiplier * direction.square().sum())


@checked
def minimize_on_sphere(
    class_counts: Sequence[int], *, dim: int, squared_norm: float, num_starts: int = 12, generator: torch.Generator
) -> Solution[SphereMinima]:
    """Minimise the loss on a sphere from random starts, to see whether any ends elsewhere than at the global optimum.

    L-BFGS on log L as a function of the direction. Compare with `log_loss_bound` where classes are of one size. Classes
    and dimension as of `gaussian_start`, rho^2 positive, at least one start.

    Returns:
        Where the starts ended. The residual is the largest tangential gradient relative to the gradient, over all
        starts; tolerance 1e-6.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_class_counts(class_counts, dim=dim)
    check_size(1, num_starts=num_starts)
    check_positive(squared_norm=squared_norm)
    starts = [gaussian_start(class_counts, dim=dim, generator=generator) for _ in range(num_starts)]
    ends, steps = zip(*(_descend(start, squared_norm=squared_norm) for start in starts), strict=True)
    reports = [sphere_report(end) for end in ends]
    losses = torch.tensor([report.log_loss for report in reports], dtype=torch.float64)
    worst = max(report.residual for report in reports)
    minima = SphereMinima(log_losses=losses, best=ends[int(losses.argmin())])
    return solved(minima, residual=worst, iterations=sum(steps), tolerance=STATIONARY, solver="minimize_on_sphere")


def _descend(start: PeeledPoint, *, squared_norm: float) -> tuple[PeeledPoint, int]:
    """Run L-BFGS from a start; return the end on the sphere and the steps."""
    loss, first, radius = stacked_loss(start), stack(scaled(start, squared_norm=1.0)), math.sqrt(squared_norm)

    def objective(flat: Array) -> tuple[float, Array]:
        length = float(np.linalg.norm(flat))
        unit = flat / length
        log_loss, descent = loss.descent((radius * unit).reshape(first.shape))
        outward = descent.ravel()
        return log_loss, -(outward - (outward @ unit) * unit) * (radius / length)

    result = minimize(
        objective,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "ftol": 0.0, "gtol": 1e-10, "maxcor": 20},
    )
    return scaled(unstack(result.x.reshape(first.shape), like=start), squared_norm=squared_norm), int(result.nit)


def _orthogonal_to_rows(head_weight: Tensor) -> Tensor | None:
    """Return a unit vector (D,) orthogonal to every row, or None if the rows span the whole space."""
    _, sizes, right = torch.linalg.svd(head_weight, full_matrices=True)
    rank = int((sizes > RANK_TOLERANCE * sizes[0]).sum())
    return right[rank] if rank < right.shape[0] else None
