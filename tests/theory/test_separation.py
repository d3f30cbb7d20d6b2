import math

import pytest
import torch

from mixscope.theory.peeled.loss import best_normalized_margin, normalized_margin, peeled_margins
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start, scaled
from mixscope.theory.peeled.separation import (
    imbalanced_separation_optimum,
    separation_optimum,
    separation_point,
    square_point,
)
from mixscope.theory.peeled.separation_conditions import separation_kkt, solve_separation


def cosines_of(rows):
    """One for each pair of rows."""
    unit = rows / rows.norm(dim=1, keepdim=True)
    return (unit @ unit.T)[torch.triu(torch.ones(len(rows), len(rows), dtype=torch.bool), diagonal=1)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("num_classes", "dim", "num_per_class", "value"),
    [
        (2, 2, 1, 1.0),
        (3, 3, 1, 2.0),
        (3, 4, 2, 2.82842712),
        (4, 3, 1, 3.0),
        (4, 4, 2, 4.24264069),
        (4, 6, 3, 5.19615242),
    ],
)
def test_the_solver_finds_the_closed_form_and_nothing_better(num_classes, dim, num_per_class, value):
    solution = solve_separation([num_per_class] * num_classes, dim=dim, num_starts=2, generator=seeded())
    closed = separation_optimum(num_classes, num_per_class).value
    assert closed.value == pytest.approx(value, abs=5e-9)  # the digits given
    assert solution.is_converged
    found = solution.value
    assert found.squared_norm / 2 == pytest.approx(closed.value, rel=1e-10)  # seen 1e-15; claimed 1e-6
    # Deviations of the solution itself: of the root of the value's, seen 8e-9, claimed 1e-5.
    assert float(found.head_weight.square().sum() - found.features.square().sum()) == pytest.approx(0, abs=1e-6)
    gap = found.features - found.head_weight[found.labels] / math.sqrt(num_per_class)
    assert float(gap.abs().max()) < 1e-6
    cosines = cosines_of(found.head_weight)
    assert torch.allclose(cosines, torch.full_like(cosines, -1 / (num_classes - 1)), atol=1e-6)


@pytest.mark.parametrize(("num_classes", "num_per_class"), [(2, 1), (3, 4), (4, 5), (10, 7), (1000, 50)])
def test_the_optimum_certifies_itself_and_has_the_derived_constants(num_classes, num_per_class):
    solution = separation_optimum(num_classes, num_per_class)
    optimum, root = solution.value, math.sqrt(num_per_class)
    assert solution.is_converged
    assert solution.residual < 1e-12  # rounding
    assert optimum.value == pytest.approx(root * (num_classes - 1), rel=1e-15)
    assert optimum.normalized_margin == pytest.approx(best_normalized_margin(num_classes, num_per_class), rel=1e-15)
    assert float(optimum.weight_gram[0, 0]) == pytest.approx(root * (num_classes - 1) / num_classes, rel=1e-14)
    assert float(optimum.feature_gram[0, 0]) == pytest.approx((num_classes - 1) / num_classes / root, rel=1e-14)
    assert float(optimum.logits[0, 0]) == pytest.approx((num_classes - 1) / num_classes, rel=1e-14)
    assert float(optimum.logits[0, 1]) == pytest.approx(-1 / num_classes, rel=1e-12)
    if num_classes <= 10:
        stretched = optimum.logits.repeat_interleave(num_per_class, dim=1)
        assert float(torch.linalg.matrix_norm(stretched, ord="nuc")) == pytest.approx(optimum.value, rel=1e-13)


def test_classes_of_one_size_are_a_special_case_of_classes_of_any():
    one, any_size = separation_optimum(5, 3).value, imbalanced_separation_optimum([3] * 5).value
    assert any_size.value == pytest.approx(one.value, rel=1e-14)
    for name in ("logits", "weight_gram", "feature_gram", "multipliers"):
        assert torch.allclose(getattr(one, name), getattr(any_size, name), atol=1e-13), name


@pytest.mark.parametrize("counts", [[4, 2, 1], [1, 5], [3, 1, 1, 1]])
def test_the_solver_finds_the_optimum_of_imbalanced_classes(counts):
    closed = imbalanced_separation_optimum(counts)
    found = solve_separation(counts, dim=len(counts) + 1, num_starts=2, generator=seeded(1)).value
    assert closed.is_converged
    assert found.squared_norm / 2 == pytest.approx(closed.value.value, rel=1e-9)  # seen 1e-15
    assert torch.allclose(found.head_weight @ found.head_weight.T, closed.value.weight_gram, atol=1e-6)


def test_minority_classes_get_shorter_classifiers_longer_features_and_smaller_angles():
    optimum = imbalanced_separation_optimum([10, 10, 1, 1]).value
    gram = optimum.weight_gram
    assert gram[2, 2] < gram[0, 0]
    assert optimum.feature_gram[2, 2] > optimum.feature_gram[0, 0]
    assert gram[2, 3] / gram[2, 2] > gram[0, 1] / gram[0, 0]


@pytest.mark.parametrize("counts", [[5, 5, 5, 5], [7, 1, 2]])
def test_the_constructed_point_is_the_optimum_in_any_orientation(counts):
    optimum = imbalanced_separation_optimum(counts).value
    for seed in range(3):
        point = separation_point(counts, dim=len(counts) + seed - 1, generator=seeded(seed))
        assert torch.allclose(peeled_margins(point), torch.ones(sum(counts), dtype=torch.float64), atol=1e-12)
        assert point.squared_norm / 2 == pytest.approx(optimum.value, rel=1e-13)
        assert normalized_margin(point) == pytest.approx(optimum.normalized_margin, rel=1e-12)
        assert torch.allclose(point.head_weight @ point.head_weight.T, optimum.weight_gram, atol=1e-12)
        report = separation_kkt(scaled(point, squared_norm=0.37))  # any scale
        assert report.residual < 1e-10
        assert report.curvature == pytest.approx(0, abs=1e-9)
    first, second = (separation_point(counts, dim=9, generator=seeded(seed)) for seed in (0, 1))
    assert float((first.head_weight - second.head_weight).norm()) > 0.1


def test_a_shift_of_the_classifier_costs_norm_and_changes_no_margin():
    point = separation_point([2, 3, 1], dim=4, generator=seeded())
    shift = torch.randn(4, dtype=torch.float64, generator=seeded(1))
    moved = PeeledPoint(point.head_weight + shift, point.features, point.labels)
    assert torch.allclose(peeled_margins(moved), peeled_margins(point), atol=1e-12)
    assert moved.squared_norm == pytest.approx(point.squared_norm + 3 * float(shift.square().sum()), rel=1e-12)
    assert normalized_margin(moved) < normalized_margin(point)


@pytest.mark.parametrize("num_per_class", [1, 2, 5])
def test_the_square_is_a_kkt_point_that_is_not_the_optimum(num_per_class):
    report = separation_kkt(square_point(num_per_class, dim=5))
    root = math.sqrt(num_per_class)
    assert report.residual < 1e-10  # seen 4e-16
    assert report.value == pytest.approx(4 * root, rel=1e-14)
    assert report.value / separation_optimum(4, num_per_class).value.value == pytest.approx(4 / 3, rel=1e-14)
    assert report.curvature == pytest.approx(-2, abs=1e-12)
    first = report.multipliers[0]  # the example's own class, its neighbours, and the opposite corner
    assert first.tolist() == pytest.approx([0, 1 / (2 * root), 0, 1 / (2 * root)], abs=1e-12)
    matrix = torch.diag(report.multipliers.sum(1))[:, ::num_per_class] if num_per_class == 1 else None
    if matrix is not None:
        sizes = torch.linalg.svdvals(matrix - report.multipliers)
        assert sizes.tolist() == pytest.approx([2, 1, 1, 0], abs=1e-12)


def test_the_value_falls_along_the_squares_escape_direction():
    square = square_point(1, dim=3)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:, None] / 2
    away = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    for step in (1e-2, 1e-1):
        moved = PeeledPoint(
            square.head_weight + step * signs * away, square.features + step * signs * away, square.labels
        )
        scaled_value = moved.squared_norm / 2 / float(peeled_margins(moved).min())
        # margins over the neighbours rise by step^2 / 2: (4 + step^2) / (1 + step^2 / 2) = 4 - step^2 + ...
        assert scaled_value - 4 == pytest.approx(-(step**2), rel=step)


def test_with_two_dimensions_the_four_classes_can_do_no_better_than_the_square():
    found = solve_separation([1] * 4, dim=2, generator=seeded())
    assert found.is_converged
    assert found.value.squared_norm / 2 == pytest.approx(4.0, rel=1e-9)
    cosines = cosines_of(found.value.head_weight)
    assert float((cosines + 1 / 3).abs().mean()) == pytest.approx(4 / 9, abs=1e-6)


def test_a_generic_point_is_no_kkt_point_and_rotation_does_not_matter():
    optimum = separation_point([2, 2, 2], dim=4, generator=seeded())
    noise = gaussian_start([2, 2, 2], dim=4, scale=0.1, generator=seeded())
    point = PeeledPoint(optimum.head_weight + noise.head_weight, optimum.features + noise.features, optimum.labels)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=seeded(3)))
    turned = PeeledPoint(point.head_weight @ turn, point.features @ turn, point.labels)
    first, second = separation_kkt(point), separation_kkt(turned)
    assert first.residual > 0.01
    assert first.residual == pytest.approx(second.residual, rel=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: separation_optimum(1, 5), "num_classes must be at least 2, got 1"),
        (lambda: separation_optimum(3, 0), "num_per_class must be at least 1, got 0"),
        (lambda: imbalanced_separation_optimum([4]), "class_counts must be of at least two classes, got 1"),
        (lambda: imbalanced_separation_optimum([4, 0]), r"class_counts must be at least 1, got \[4, 0\]"),
        (
            lambda: separation_point([1] * 4, dim=2, generator=seeded()),
            "dim must be at least the classes of class_counts less one, 3, got 2",
        ),
        (lambda: square_point(0, dim=2), "num_per_class must be at least 1, got 0"),
        (lambda: square_point(1, dim=1), "dim must be at least 2, got 1"),
        (
            lambda: separation_kkt(gaussian_start([2, 2, 2], dim=2, generator=seeded())),
            "point must classify every example, got a smallest margin of -",
        ),
        (
            lambda: solve_separation([1, 1, 1], dim=1, num_starts=1, generator=seeded()),
            "dim must leave room to separate 3 classes, got 1: no start did",
        ),
        (lambda: solve_separation([1, 1], dim=1, num_starts=0, generator=seeded()), "num_starts must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
