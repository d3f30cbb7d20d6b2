"""Checks of the layer-peeled model's optima, bounds and stationary points.

What each value is, by its name before the "/", is said by the claim that reads it, in `claims_landscape`.
"""

import math
from collections.abc import Sequence

import torch

from mixscope.studies.engine.trial import Measured
from mixscope.theory import (
    PeeledPoint,
    best_normalized_margin,
    gaussian_start,
    log_loss_bound,
    log_peeled_loss,
    minimize_on_sphere,
    normalized_margin,
    scaled,
    separation_kkt,
    separation_optimum,
    separation_point,
    solve_separation,
    sphere_curvature,
    sphere_report,
    square_point,
)

Sizes = Sequence[Sequence[int]]  # of problems: classes K, dimensions D and examples of a class n, each
PUSHES = (0.0, 1e-6, 1e-3, 0.1, 1.0)  # off the optimum, relative: where a bound that is wrong would show
DIM_OF_SQUARE = 6
PLANE_STEPS = 180  # of each angle, over the whole turn


def separation(sizes: Sizes, num_starts: int) -> Measured:
    """Solve the separation problem numerically and compare with the closed form."""
    values: dict[str, float] = {}
    for num_classes, dim, num_per_class in sizes:
        exact = separation_optimum(num_classes, num_per_class).value
        generator, counts = torch.Generator().manual_seed(0), [num_per_class] * num_classes
        found = solve_separation(counts, dim=dim, num_starts=num_starts, generator=generator).value
        weight, features = found.head_weight, found.features
        errors = {
            "value": found.squared_norm / 2 / exact.value - 1,
            "balance": float(weight.square().sum()) / float(features.square().sum()) - 1,
            "duality": float((features - weight[found.labels] / math.sqrt(num_per_class)).abs().max()),
            "gram": float((weight @ weight.T - exact.weight_gram).abs().max()),
        }
        values |= {f"{name}/{_size_name(num_classes, dim, num_per_class)}": abs(e) for name, e in errors.items()}
    return Measured(values)


def bounds(sizes: Sizes, num_draws: int) -> Measured:
    """Look for points that break the bounds on margin and loss: random ones, ones near the optimum, of many norms."""
    generator = torch.Generator().manual_seed(0)
    margin, loss, at_optimum = -math.inf, math.inf, 0.0
    for draw in range(num_draws):
        num_classes, dim, num_per_class = sizes[draw % len(sizes)]
        counts, push = [num_per_class] * num_classes, PUSHES[draw // len(sizes) % len(PUSHES)]
        best = best_normalized_margin(num_classes, num_per_class)
        noise = gaussian_start(counts, dim=dim, generator=generator)
        norm = 40 * float(torch.rand((), generator=generator, dtype=torch.float64)) / best + 0.1
        if push < 1:
            ideal = separation_point(counts, dim=dim, generator=generator)
            moved = (ideal.head_weight + push * noise.head_weight, ideal.features + push * noise.features)
            noise = PeeledPoint(*moved, ideal.labels)
        point = scaled(noise, squared_norm=norm)
        bound = log_loss_bound(norm, num_classes=num_classes, num_per_class=num_per_class)
        excess = log_peeled_loss(point) - bound
        margin, loss = max(margin, normalized_margin(point) / best - 1), min(loss, excess)
        if push == 0:
            at_optimum = max(at_optimum, abs(math.expm1(excess)))
    return Measured({"margin_excess": margin, "loss_excess": loss, "loss_at_optimum": at_optimum})


def conservation(sizes: Sizes, num_draws: int) -> Measured:
    """Measure at random points how fast the flow changes W^T W - H H^T, by automatic differentiation."""
    generator, rate = torch.Generator().manual_seed(0), 0.0
    for draw in range(num_draws):
        num_classes, dim, num_per_class = sizes[draw % len(sizes)]
        point = gaussian_start([num_per_class] * num_classes, dim=dim, generator=generator)
        weight, features = point.head_weight.clone().requires_grad_(), point.features.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(features @ weight.T, point.labels, reduction="sum")
        of_weight, of_features = torch.autograd.grad(loss, (weight, features))
        first = of_weight.T @ point.head_weight
        second = of_features.T @ point.features
        change = first + first.T - second - second.T
        rate = max(rate, float(change.norm() / (first + first.T).norm()))
    return Measured({"rate": rate})


def square(nums_per_class: Sequence[int]) -> Measured:
    """Measure the square, a stationary point that is no collapse, with n examples of each class."""
    values: dict[str, float] = {}
    for n in nums_per_class:
        report = separation_kkt(square_point(n, dim=DIM_OF_SQUARE))
        values |= {f"residual/n={n}": report.residual, f"value/n={n}": report.value / (4 * math.sqrt(n))}
        values[f"curvature/n={n}"] = report.curvature
    return Measured(values)


def planar_angles() -> Measured:
    """Search every arrangement of four directions in a plane for the one nearest to a simplex's angles."""
    steps = torch.arange(PLANE_STEPS, dtype=torch.float64) * (2 * math.pi / PLANE_STEPS)
    second, third = torch.meshgrid(steps, steps, indexing="ij")
    least = math.inf
    for first in steps:  # the fourth lies at 0
        gaps = torch.stack([first.expand_as(second), second, third, first - second, first - third, second - third])
        least = min(least, float((gaps.cos() + 1 / 3).abs().mean(dim=0).min()))
    return Measured({"angle": least})


def stationary_points(sizes: Sizes, squared_norms: Sequence[float], num_starts: int) -> Measured:
    """Take points that are stationary on a sphere but no collapse, and find the least eigenvalue of the Hessian.

    Each is the best point in a plane, set into D dimensions, on a sphere of a squared norm rho^2.
    """
    values: dict[str, float] = {}
    for place, (counts, dim, norm, _) in _spheres(sizes, squared_norms).items():
        generator = torch.Generator().manual_seed(0)
        found = minimize_on_sphere(counts, dim=2, squared_norm=norm, num_starts=num_starts, generator=generator)
        point = _padded(found.value.best, dim=dim)
        report = sphere_report(point)
        lowest = 1 - report.largest_singular_value / report.multiplier
        eigenvalue = float(torch.linalg.eigvalsh(_hessian(point))[0]) / report.multiplier
        values |= {f"residual/{place}": report.residual, f"eigenvalue/{place}": eigenvalue}
        values[f"excess/{place}"] = eigenvalue - lowest
    return Measured(values)


def minima(sizes: Sizes, squared_norms: Sequence[float], num_starts: int) -> Measured:
    """Minimise the loss on spheres, of rho^2 gamma each, from random starts and compare every end with the bound."""
    values: dict[str, float] = {}
    for place, (counts, dim, norm, bound) in _spheres(sizes, squared_norms).items():
        generator = torch.Generator().manual_seed(0)
        found = minimize_on_sphere(counts, dim=dim, squared_norm=norm, num_starts=num_starts, generator=generator)
        excess = found.value.log_losses - bound
        values |= {f"worst/{place}": float(excess.abs().max()), f"least/{place}": float(excess.min())}
    return Measured(values)


def _spheres(sizes: Sizes, reaches: Sequence[float]) -> dict[str, tuple[list[int], int, float, float]]:
    """Return examples by class, dimensions, squared norm and lower bound of the log loss, by "SIZE, rho^2 g = X"."""
    spheres = {}
    for num_classes, dim, num_per_class in sizes:
        for reach in reaches:
            norm = reach / best_normalized_margin(num_classes, num_per_class)
            bound = log_loss_bound(norm, num_classes=num_classes, num_per_class=num_per_class)
            name = f"{_size_name(num_classes, dim, num_per_class)}, rho^2 g = {reach:g}"
            spheres[name] = ([num_per_class] * num_classes, dim, norm, bound)
    return spheres


def _size_name(num_classes: int, dim: int, num_per_class: int) -> str:
    return f"K={num_classes}, D={dim}, n={num_per_class}"


def _padded(point: PeeledPoint, *, dim: int) -> PeeledPoint:
    """Return the point with columns of zeros, in `dim` dimensions."""
    more = dim - point.head_weight.shape[1]
    pad = torch.nn.functional.pad
    return PeeledPoint(pad(point.head_weight, (0, more)), pad(point.features, (0, more)), point.labels)


def _hessian(point: PeeledPoint) -> torch.Tensor:
    """Return the Riemannian Hessian over the loss as a matrix, entry by entry from its quadratic form.

    The direction along the point itself belongs to eigenvalue 0.
    """
    num_classes, size = point.num_classes, point.head_weight.numel() + point.features.numel()
    units = torch.eye(size, dtype=torch.float64).view(size, -1, point.head_weight.shape[1])

    def form(direction: torch.Tensor) -> float:
        return sphere_curvature(point, direction[:num_classes], direction[num_classes:])

    diagonal = [form(unit) for unit in units]
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for row in range(size):
        for place in range(row):
            both = form(units[row] + units[place])
            matrix[row, place] = matrix[place, row] = (both - diagonal[row] - diagonal[place]) / 2
    return matrix
