import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from mixscope.theory.peeled.loss import (
    best_normalized_margin,
    log_loss_bound,
    log_peeled_loss,
    normalized_margin,
    peeled_margins,
    stack,
    stacked_loss,
)
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start, scaled, symmetric_start
from mixscope.theory.peeled.separation import separation_point

SHAPES = [(2, 2, 1), (3, 4, 2), (4, 6, 3), (10, 12, 2)]  # K, D, n


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_log_loss_and_its_slope_agree_with_cross_entropy_and_autograd(scale):
    point = gaussian_start([3, 1, 2, 5], dim=6, scale=scale, generator=seeded())
    weight, features = point.head_weight.clone().requires_grad_(), point.features.clone().requires_grad_()
    loss = cross_entropy(features @ weight.T, point.labels, reduction="sum")
    loss.log().backward()
    loss = loss.detach()
    found, descent = stacked_loss(point).descent(stack(point))
    expected = -torch.cat([weight.grad, features.grad])
    assert found == pytest.approx(float(loss.log()), rel=1e-13)
    assert torch.allclose(torch.from_numpy(descent), expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("squared_norm", [10.0, 1e3, 1e5, 1e9])
def test_log_loss_is_exact_far_below_the_smallest_float64(squared_norm):
    point = scaled(separation_point([5] * 4, dim=8, generator=seeded()), squared_norm=squared_norm)
    bound = log_loss_bound(squared_norm, num_classes=4, num_per_class=5)
    assert log_peeled_loss(point) == pytest.approx(bound, rel=1e-12)  # equality at collapse
    logits = (point.features @ point.head_weight.T)[:1]
    if squared_norm == 1e3:  # where float64 still has the loss: exp(-74)
        naive = 20 * 3 * math.exp(float(logits[0, 1] - logits[0, 0]))
        assert math.exp(bound) == pytest.approx(naive, rel=1e-11)


@pytest.mark.parametrize(("num_classes", "dim", "num_per_class"), SHAPES)
def test_no_point_beats_the_margin_or_the_loss_of_collapse_at_its_norm(num_classes, dim, num_per_class):
    gamma = best_normalized_margin(num_classes, num_per_class)
    for seed in range(100):
        scale = 10 ** (seed / 50 - 1)
        point = gaussian_start([num_per_class] * num_classes, dim=dim, scale=scale, generator=seeded(seed))
        if seed % 2:  # half of the draws close to the optimum
            optimum = separation_point([num_per_class] * num_classes, dim=dim, generator=seeded(seed))
            optimum = scaled(optimum, squared_norm=point.squared_norm)
            point = PeeledPoint(
                optimum.head_weight + 0.01 * point.head_weight, optimum.features + 0.01 * point.features, point.labels
            )
        assert normalized_margin(point) <= gamma
        bound = log_loss_bound(point.squared_norm, num_classes=num_classes, num_per_class=num_per_class)
        assert log_peeled_loss(point) >= bound


def test_margins_are_own_logit_minus_largest_other():
    point = gaussian_start([2, 3, 1], dim=2, generator=seeded())
    logits = (point.features @ point.head_weight.T).tolist()
    naive = [
        row[label] - max(value for j, value in enumerate(row) if j != label)
        for row, label in zip(logits, point.labels.tolist(), strict=True)
    ]
    assert peeled_margins(point).tolist() == pytest.approx(naive, abs=1e-15)
    assert normalized_margin(point) == pytest.approx(min(naive) / point.squared_norm, rel=1e-14)
    assert math.isnan(normalized_margin(PeeledPoint(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([0, 1]))))


def test_a_loss_below_log_two_means_that_every_example_is_classified():
    point = scaled(separation_point([1, 1, 1], dim=2, generator=seeded()), squared_norm=20.0)
    assert log_peeled_loss(point) < math.log(math.log(2))
    assert float(peeled_margins(point).min()) > 0


def test_the_symmetric_start_has_nothing_to_conserve():
    point = symmetric_start(4, 5, dim=7, generator=seeded())
    imbalance = point.head_weight.T @ point.head_weight - point.features.T @ point.features
    assert float(imbalance.abs().max()) < 1e-14  # float64 rounding
    assert float(point.head_weight.sum(dim=0).abs().max()) < 1e-14


def test_points_are_kept_in_float64_and_free_of_their_graph():
    weight = torch.eye(2, requires_grad=True)
    point = PeeledPoint(weight, torch.eye(2), torch.tensor([0, 1], dtype=torch.int32))
    assert point.head_weight.dtype is torch.float64
    assert not point.head_weight.requires_grad
    assert point.labels.dtype is torch.int64
    assert point.class_counts.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("weight", "features", "labels", "message"),
    [
        (torch.ones(2), torch.eye(2), [0, 1], r"head_weight must have 2 dimensions, got shape \(2,\)"),
        (torch.ones(1, 2), torch.eye(2), [0, 0], "head_weight must have a row for each of at least two classes, got 1"),
        (
            torch.eye(2),
            torch.eye(3),
            [0, 1, 1],
            r"features must have shape \(3, 2\), got \(3, 3\) \(to fit head_weight\)",
        ),
        (torch.eye(2), torch.eye(2), [0, 1, 1], "features and labels must have the same length, got 2 and 3"),
        (torch.eye(2), torch.eye(2), [0, 2], r"labels must lie in \[0, 2\), got values from 0 to 2"),
        (torch.eye(2), torch.eye(2), [0, 0], r"labels must hold every class at least once, got none of \[1\]"),
        (torch.eye(2) * math.nan, torch.eye(2), [0, 1], "head_weight must be finite, got 4 NaN or infinite values"),
        (
            torch.eye(2).double() * 1e200,
            torch.eye(2),
            [0, 1],
            "must have a finite squared norm, got entries near 1e154",
        ),
    ],
)
def test_points_that_make_no_sense_are_refused(weight, features, labels, message):
    with pytest.raises(ValueError, match=message):
        PeeledPoint(weight, features, torch.tensor(labels))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_normalized_margin(1, 1), "num_classes must be at least 2, got 1"),
        (lambda: best_normalized_margin(2, 0), "num_per_class must be at least 1, got 0"),
        (lambda: log_loss_bound(-1.0, num_classes=2, num_per_class=1), "squared_norm must be at least 0 and finite"),
        (
            lambda: log_loss_bound(math.nan, num_classes=2, num_per_class=1),
            "squared_norm must be at least 0 and finite",
        ),
        (lambda: gaussian_start([3], dim=2, generator=seeded()), "class_counts must be of at least two classes, got 1"),
        (lambda: gaussian_start([3, 0], dim=2, generator=seeded()), r"class_counts must be at least 1, got \[3, 0\]"),
        (lambda: gaussian_start([3, 1], dim=0, generator=seeded()), "dim must be at least 1, got 0"),
        (
            lambda: gaussian_start([3, 1], dim=1, scale=math.inf, generator=seeded()),
            "scale must be positive and finite, got inf",
        ),
        (
            lambda: scaled(PeeledPoint(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([0, 1])), squared_norm=1.0),
            "point must not be zero: it has no direction",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
