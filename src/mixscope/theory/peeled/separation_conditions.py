"""Optimality conditions of the separation problem at a point, and a numerical solver."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize, nnls
from torch import Tensor

from mixscope.base.checks import check_numbers, check_size
from mixscope.base.kinds import checked
from mixscope.theory.peeled.loss import Array, peeled_margins, stack, unstack
from mixscope.theory.peeled.point import PeeledPoint, check_class_counts, gaussian_start, scaled
from mixscope.theory.solution import Solution, solved

SOLVER_TOLERANCE = 1e-6  # relative; the quadratic programs of the solver end near 1e-8
MAX_SOLVER_STEPS = 1000


@dataclass(frozen=True)
class KktReport:
    """The first-order conditions of the separation problem at a point that was scaled to smallest margin 1.

    Attributes:
        value: |W|^2 / 2 + |H|^2 / 2 of the scaled point, at least `separation_optimum`'s.
        residual: Norm of theta - sum of multipliers times constraint gradients together with all multiplier * (margin
            over class j - 1), over |theta|: at least 0; 0 at a KKT point.
        multipliers: (N, K) float64, at least 0: of the constraint of class j on each example; 0 for its own class.
        curvature: 2 - 2 sigma_1, sigma_1 the largest singular value of the multipliers' matrix: when negative, and D
            exceeds the rank of W, the quadratic form of the problem's Lagrangian along a direction that moves no
            margin to first order. 0 at neural collapse, which has sigma_1 = 1.
    """

    value: float
    residual: float
    multipliers: Tensor
    curvature: float


@checked
def separation_kkt(point: PeeledPoint) -> KktReport:
    """Measure how far the direction of a point is from a KKT point of the separation problem.

    The multipliers are those of least residual, stationarity and complementarity together, by nonnegative least
    squares; so no constraint has to be called active. Source: Ji et al. 2022, section 3; measured as here by choice.

    Raises:
        ValueError: If the point does not classify every example.

    Example:
        >>> from mixscope.theory.peeled.separation import square_point
        >>> report = separation_kkt(square_point(1, dim=3))
        >>> round(report.value, 6), report.residual < 1e-12, round(report.curvature, 6)
        (4.0, True, -2.0)
    """
    smallest = float(peeled_margins(point).min())
    if not smallest > 0:
        raise ValueError(f"point must classify every example, got a smallest margin of {smallest:.3g}")
    point = scaled(point, squared_norm=point.squared_norm / smallest)
    gradients, gaps, places = _constraints(point)
    norm = math.sqrt(point.squared_norm)
    theta = torch.cat([point.head_weight, point.features]).flatten()
    system = torch.cat([gradients.T, torch.diag(gaps - 1)]).numpy() / norm
    target = torch.cat([theta, torch.zeros_like(gaps)]).numpy() / norm
    found, residual = nnls(system, target, maxiter=30 * len(gaps))
    multipliers = torch.zeros(len(point.labels), point.num_classes, dtype=torch.float64)
    multipliers[places] = torch.from_numpy(found)
    matrix = -multipliers
    matrix[torch.arange(len(matrix)), point.labels] = multipliers.sum(dim=1)
    return KktReport(
        value=point.squared_norm / 2,
        residual=float(residual),
        multipliers=multipliers,
        curvature=2 - 2 * float(torch.linalg.matrix_norm(matrix, ord=2)),
    )


@checked
def solve_separation(
    class_counts: Sequence[int], *, dim: int, num_starts: int = 4, generator: torch.Generator
) -> Solution[PeeledPoint]:
    """Solve the separation problem numerically, by sequential quadratic programming from random starts.

    For small problems: the independent check of `separation_optimum`, and the only answer where D is below K - 1 and
    neural collapse has no room. Classes, dimension and starts as of `minimize_on_sphere`.

    Returns:
        The best end of all starts, scaled to smallest margin 1. The residual is the KKT residual of `separation_kkt`;
        tolerance 1e-6. It certifies a stationary point, not a global optimum.

    Raises:
        ValueError: If an argument is out of its range, or no start reaches a point that classifies every example.
    """
    check_class_counts(class_counts, dim=dim)
    check_size(1, num_starts=num_starts)
    num_rows = len(class_counts) + sum(class_counts)
    num_constraints = sum(class_counts) * (len(class_counts) - 1)
    check_numbers(num_constraints, num_rows, dim, class_counts=f"{sum(class_counts):,} examples", dim=dim)
    best, steps = None, 0
    for _ in range(num_starts):
        start = gaussian_start(class_counts, dim=dim, generator=generator)
        found, taken = _quadratic_programs(start)
        steps += taken
        smallest = float(peeled_margins(found).min())
        if smallest > 0:
            feasible = scaled(found, squared_norm=found.squared_norm / smallest)
            best = feasible if best is None or feasible.squared_norm < best.squared_norm else best
    if best is None:
        raise ValueError(f"dim must leave room to separate {len(class_counts)} classes, got {dim}: no start did")
    residual = separation_kkt(best).residual
    return solved(best, residual=residual, iterations=steps, tolerance=SOLVER_TOLERANCE, solver="solve_separation")


def _constraints(point: PeeledPoint) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return the gradients (M, (K + N) D) and values (M,) of all (w_y - w_j) . h_i, and where they lie in (N, K)."""
    num_classes, dim = point.head_weight.shape
    others = torch.nn.functional.one_hot(point.labels, num_classes) == 0
    examples, rivals = others.nonzero(as_tuple=True)
    own = point.labels[examples]
    rows = torch.arange(len(examples))
    gradients = torch.zeros(len(examples), num_classes + len(point.labels), dim, dtype=torch.float64)
    gradients[rows, own] = point.features[examples]
    gradients[rows, rivals] = -point.features[examples]
    differences = point.head_weight[own] - point.head_weight[rivals]
    gradients[rows, num_classes + examples] = differences
    gaps = (differences * point.features[examples]).sum(dim=1)
    return gradients.flatten(1), gaps, (examples, rivals)


def _quadratic_programs(start: PeeledPoint) -> tuple[PeeledPoint, int]:
    """Run SLSQP from a start; return where it ended and its steps."""

    def at(flat: Array) -> PeeledPoint:
        return unstack(flat.reshape(-1, start.head_weight.shape[1]), like=start)

    constraints: Any = {
        "type": "ineq",
        "fun": lambda flat: _constraints(at(flat))[1].numpy() - 1,
        "jac": lambda flat: _constraints(at(flat))[0].numpy(),
    }
    result = minimize(
        lambda flat: 0.5 * float(flat @ flat),
        stack(start).ravel(),
        jac=lambda flat: flat,
        method="SLSQP",
        constraints=constraints,
        options={"maxiter": MAX_SOLVER_STEPS, "ftol": 1e-15},
    )
    return at(result.x) if np.isfinite(result.x).all() else start, int(result.nit)
