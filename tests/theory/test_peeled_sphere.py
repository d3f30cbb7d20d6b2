import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from mixscope.theory.peeled.loss import best_normalized_margin, log_loss_bound
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start, scaled
from mixscope.theory.peeled.separation import separation_point, square_point
from mixscope.theory.peeled.sphere import minimize_on_sphere, sphere_curvature, sphere_report


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def naive_sphere_hessian(point):
    """The Riemannian Hessian of the loss on the point's sphere, by autograd, projected onto the tangent space."""
    num_classes, dim = point.head_weight.shape
    flat = torch.cat([point.head_weight, point.features]).flatten()

    def loss(flat):
        stacked = flat.view(-1, dim)
        return cross_entropy(stacked[num_classes:] @ stacked[:num_classes].T, point.labels, reduction="sum")

    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    identity = torch.eye(len(flat), dtype=torch.float64)
    tangent = identity - torch.outer(flat, flat) / flat.square().sum()
    return tangent @ (hessian - (gradient @ flat) / flat.square().sum() * identity) @ tangent


@pytest.mark.parametrize(
    ("scale", "curvature", "loss", "bound"),
    [
        (1.0, -1.11, 12.53, 11.65),
        (1.5, -0.690, 4.01, 2.78),
        (2.0, -0.155, 0.726, 0.288),
        (3.0, -1.1e-3, 0.0049, 0.00037),
    ],
)
def test_the_square_is_stationary_on_every_sphere_with_a_way_down(scale, curvature, loss, bound):
    square = square_point(5, dim=4)
    point = PeeledPoint(scale * square.head_weight, scale * square.features, square.labels)
    report = sphere_report(point)
    assert report.residual < 1e-14
    assert not report.is_optimal
    assert math.exp(report.log_loss) == pytest.approx(loss, rel=0.01)  # the digits given
    assert report.curvature * math.exp(report.log_loss) == pytest.approx(curvature, rel=0.01)
    least = log_loss_bound(point.squared_norm, num_classes=4, num_per_class=5)
    assert math.exp(least) == pytest.approx(bound, rel=0.01)
    assert report.log_loss > least
    # Along the constructed direction the curvature is what the formula says; and no direction is steeper down: the
    # smallest eigenvalue is half of it, as the direction has squared length 2.
    along = sphere_curvature(point, report.escape_weight, report.escape_features)
    assert along == pytest.approx(report.curvature, rel=1e-12)
    assert float(report.escape_weight.square().sum() + report.escape_features.square().sum()) == pytest.approx(2)
    eigenvalues = torch.linalg.eigvalsh(naive_sphere_hessian(point))
    assert float(eigenvalues[0]) == pytest.approx(report.curvature / 2 * math.exp(report.log_loss), rel=1e-6)


@pytest.mark.parametrize("scale", [0.5, 2.0, 30.0])
def test_a_small_step_along_the_escape_lowers_the_loss_by_the_curvature(scale):
    square = square_point(2, dim=3)
    point = PeeledPoint(scale * square.head_weight, scale * square.features, square.labels)
    report = sphere_report(point)
    step = 1e-3 / scale  # margins change by step^2
    moved = PeeledPoint(
        point.head_weight + step * report.escape_weight, point.features + step * report.escape_features, point.labels
    )
    moved = scaled(moved, squared_norm=point.squared_norm)
    fall = math.expm1(sphere_report(moved).log_loss - report.log_loss)
    assert fall < 0
    assert fall == pytest.approx(report.curvature * step**2 / 2, rel=1e-3)  # the next order, and 1e-16 / 1e-9 rounding


def test_the_curvature_agrees_with_autograd_in_any_direction_at_any_point():
    for counts, dim, scale in (([2, 3, 1], 4, 1.0), ([1, 1], 1, 0.3), ([2, 2, 2, 2], 3, 1.5)):
        point = gaussian_start(counts, dim=dim, scale=scale, generator=seeded())
        direction = gaussian_start(counts, dim=dim, generator=seeded(1))
        flat = torch.cat([direction.head_weight, direction.features]).flatten()
        loss = math.exp(sphere_report(point).log_loss)
        expected = float(flat @ naive_sphere_hessian(point) @ flat)
        found = sphere_curvature(point, direction.head_weight, direction.features)
        assert found * loss == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("num_classes", "dim", "num_per_class"), [(2, 1, 3), (3, 3, 2), (4, 6, 3)])
def test_collapse_is_certified_optimal_at_every_norm(num_classes, dim, num_per_class):
    point = separation_point([num_per_class] * num_classes, dim=dim, generator=seeded())
    for squared_norm in (1.0, 30.0, 1e5):
        report = sphere_report(scaled(point, squared_norm=squared_norm))
        assert report.is_optimal
        assert report.residual < 1e-15 * max(100, squared_norm)  # rounding of logits as large as the norm
        assert report.curvature / report.multiplier == pytest.approx(0, abs=1e-9)


def test_a_generic_point_is_not_stationary():
    report = sphere_report(gaussian_start([2, 2, 2], dim=4, generator=seeded()))
    assert report.residual > 0.1
    assert not report.is_optimal


@pytest.mark.parametrize(
    ("num_classes", "dim", "num_per_class"), [(3, 3, 2), (4, 4, 2), (4, 6, 3), (4, 3, 3), (5, 5, 2)]
)
@pytest.mark.parametrize("size", [2, 6, 12])
def test_no_start_ends_in_a_spurious_minimum(num_classes, dim, num_per_class, size):
    squared_norm = size / best_normalized_margin(num_classes, num_per_class)
    bound = log_loss_bound(squared_norm, num_classes=num_classes, num_per_class=num_per_class)
    solution = minimize_on_sphere(
        [num_per_class] * num_classes, dim=dim, squared_norm=squared_norm, num_starts=12, generator=seeded()
    )
    assert solution.is_converged
    # Second order in the residual gradient: seen 5e-15.
    assert float((solution.value.log_losses - bound).abs().max()) < 1e-8
    assert sphere_report(solution.value.best).residual < 1e-6
    assert sphere_report(solution.value.best).is_optimal


@pytest.mark.parametrize("counts", [[2, 2, 2], [5, 3, 2], [10, 10, 1, 1], [1] * 10])
@pytest.mark.parametrize("squared_norm", [1.0, 30.0, 200.0])
def test_minima_that_the_library_finds_are_certified(counts, squared_norm):
    solution = minimize_on_sphere(
        counts, dim=len(counts) + 1, squared_norm=squared_norm, num_starts=2, generator=seeded()
    )
    assert solution.is_converged
    assert sphere_report(solution.value.best).is_optimal


def nudged(point, size):
    """The point moved on its sphere by a share of its length in a direction of its own."""
    move = gaussian_start(point.class_counts.tolist(), dim=point.head_weight.shape[1], generator=seeded(7))
    factor = size * (point.squared_norm / move.squared_norm) ** 0.5
    moved = PeeledPoint(
        point.head_weight + factor * move.head_weight, point.features + factor * move.features, point.labels
    )
    return scaled(moved, squared_norm=point.squared_norm)


@pytest.mark.parametrize("size", [1e-13, 1e-10, 1e-8, 1e-7])
@pytest.mark.parametrize("squared_norm", [0.5, 10.0, 100.0])
def test_near_a_stationary_point_the_certificate_is_the_points_own(size, squared_norm):
    collapse = scaled(separation_point([3] * 4, dim=5, generator=seeded()), squared_norm=squared_norm)
    square = scaled(square_point(3, dim=5), squared_norm=squared_norm)
    for point, is_optimal in ((collapse, True), (square, False)):
        report = sphere_report(nudged(point, size))
        assert report.is_optimal == (is_optimal and report.residual <= 1e-6)


@pytest.mark.parametrize(("size", "gap"), [(2, 0.17), (6, 1.1), (12, 2.6)])
def test_below_k_minus_one_dimensions_the_bound_is_out_of_reach(size, gap):
    squared_norm = size / best_normalized_margin(4, 3)
    solution = minimize_on_sphere([3] * 4, dim=2, squared_norm=squared_norm, num_starts=3, generator=seeded())
    bound = log_loss_bound(squared_norm, num_classes=4, num_per_class=3)
    assert float(solution.value.log_losses.min()) - bound == pytest.approx(gap, rel=0.05)  # the digits given
    assert sphere_report(solution.value.best).escape_weight is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sphere_report(PeeledPoint(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([0, 1]))),
            "squared_norm must be positive and finite, got 0.0",
        ),
        (
            lambda: sphere_curvature(square_point(1, dim=2), torch.zeros(4, 3), torch.zeros(4, 2)),
            r"weight_direction must have shape \(4, 2\), got \(4, 3\)",
        ),
        (
            lambda: minimize_on_sphere([1, 1], dim=2, squared_norm=-1.0, generator=seeded()),
            "squared_norm must be positive and finite, got -1.0",
        ),
        (
            lambda: minimize_on_sphere([2], dim=2, squared_norm=1.0, generator=seeded()),
            "class_counts must be of at least two classes",
        ),
        (
            lambda: minimize_on_sphere([1, 1], dim=2, squared_norm=1.0, num_starts=0, generator=seeded()),
            "num_starts must be at least 1, got 0",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
