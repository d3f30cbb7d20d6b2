"""The features of blends under a simplex classifier: direct minimisation, worked numbers, and the exact line."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mixscope.base.simplex import simplex_etf
from mixscope.theory.channel.mixed_features import mixup_features, same_class_rise, squared_loss_features
from mixscope.theory.channel.soft_labels import logit_gain
from mixscope.theory.solution import NotConvergedWarning

# K, scale, feature penalty, weight, x1, x2, |h|: found by a damped Newton minimiser, independent of the closed form.
WORKED = [
    (3, 1.0, 0.1, 0.3, 1.325960, 2.116849, 1.23511),
    (3, 1.0, 0.1, 0.5, 1.768423, 1.768423, 1.17895),
    (10, 1.0, 0.1, 0.5, 2.172901, 2.172901, 2.60748),
    (10, 1.0, 1e-3, 0.3, 5.607769, 6.461578, 7.26422),
    (10, 1.0, 1e-3, 0.5, 6.110551, 6.110551, 7.33266),
    (10, 2.5, 1e-3, 0.3, 7.215104, 8.063790, 3.67400),
    (100, 2.5, 1e-3, 0.3, 9.190326, 10.040155, 5.36288),
]
WORKED_SAME_CLASS = [
    (3, 1.0, 0.1, 2.689854, 1.79324),
    (3, 1.0, 1e-3, 6.532184, 4.35479),
    (10, 1.0, 0.1, 3.233339, 2.91000),
    (10, 1.0, 1e-3, 7.319247, 6.58732),
    (100, 2.5, 1e-3, 10.959620, 4.34001),
]


def weights(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("num_classes", "scale", "penalty", "weight", "x1", "x2", "length"), WORKED)
def test_blends_of_two_classes_lie_where_a_minimiser_found_them(
    num_classes: int, scale: float, penalty: float, weight: float, x1: float, x2: float, length: float
) -> None:
    value = mixup_features(num_classes, weight, feature_penalty=penalty, scale=scale).value
    assert float(value.x1) == pytest.approx(x1, abs=5e-7)  # as printed
    assert float(value.x2) == pytest.approx(x2, abs=5e-7)
    assert float(value.lengths) == pytest.approx(length, abs=5e-6)


@pytest.mark.parametrize(("num_classes", "scale", "penalty", "rise", "length"), WORKED_SAME_CLASS)
def test_unblended_examples_lie_where_a_minimiser_found_them(
    num_classes: int, scale: float, penalty: float, rise: float, length: float
) -> None:
    value = mixup_features(num_classes, 0.2, feature_penalty=penalty, scale=scale).value
    assert value.same_class == pytest.approx(rise, abs=5e-7)
    assert value.same_class_length == pytest.approx(length, abs=5e-6)
    gain = logit_gain(num_classes, feature_penalty=penalty, scale=scale)
    # Delta exp(Delta) + (K - 1) Delta = a K
    left = value.same_class * (math.exp(value.same_class) + num_classes - 1)
    assert left == pytest.approx(gain * num_classes, rel=1e-13)


@pytest.mark.parametrize("num_classes", [3, 4, 10, 100])
@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_features_are_a_point_where_the_gradient_vanishes(num_classes: int, penalty: float) -> None:
    scale = 1.7
    generator = torch.Generator().manual_seed(num_classes)
    frame = simplex_etf(num_classes, num_classes + 1, scale=scale, generator=generator)
    shares = weights(0.0, 0.1, 0.3, 0.5, 0.77, 1.0)
    value = mixup_features(num_classes, shares, feature_penalty=penalty, scale=scale).value
    features = value.features(frame[2], frame[0])
    labels = shares[:, None] * torch.eye(num_classes, dtype=torch.float64)[2]
    labels = labels + (1 - shares[:, None]) * torch.eye(num_classes, dtype=torch.float64)[0]
    # A vector added to every row of the classifier changes nothing.
    shifted = frame + torch.randn(num_classes + 1, dtype=torch.float64, generator=generator)
    gradient = (torch.softmax(features @ shifted.T, 1) - labels) @ shifted + penalty * features
    assert float(gradient.abs().max()) < 1e-13  # terms of order 1, so ten to a hundred last digits
    torch.testing.assert_close(torch.linalg.vector_norm(features, dim=1), value.lengths, rtol=1e-12, atol=0)


@pytest.mark.parametrize("num_classes", [2, 3, 1000, 10**6])
@pytest.mark.parametrize("penalty", [1.0, 1e-6, 1e-12])
def test_the_residual_is_below_its_tolerance_for_all_classes_penalties_and_weights(
    num_classes: int, penalty: float
) -> None:
    shares = torch.cat([weights(0, 1e-9, 1e-3, 1 - 1e-9, 1), torch.linspace(0.01, 0.99, 99, dtype=torch.float64)])
    solution = mixup_features(num_classes, shares, feature_penalty=penalty, scale=1.3)
    assert solution.is_converged
    assert solution.residual < 1e-13  # promised 1e-12, seen 4e-15


@pytest.mark.parametrize("num_classes", [2, 3, 10, 10**6])
def test_exchanging_the_two_classes_exchanges_their_coordinates(num_classes: int) -> None:
    shares = torch.tensor([0.125, 0.25, 0.375, 0.5, 2.0**-30], dtype=torch.float64)  # 1 - w is exact
    one = mixup_features(num_classes, shares, feature_penalty=1e-5, scale=1.0).value
    other = mixup_features(num_classes, 1 - shares, feature_penalty=1e-5, scale=1.0).value
    torch.testing.assert_close(one.x1, other.x2, rtol=1e-14, atol=0)
    torch.testing.assert_close(one.x2, other.x1, rtol=1e-14, atol=0)


def test_blends_reach_the_unblended_features_at_the_ends() -> None:
    value = mixup_features(5, weights(0.0, 1.0, 1e-14), feature_penalty=1e-2, scale=1.0).value
    assert value.x1[0] == 0
    assert value.x2[1] == 0
    assert float(value.x2[0]) == pytest.approx(value.same_class, rel=1e-14)
    assert float(value.x1[1]) == pytest.approx(value.same_class, rel=1e-14)
    assert 0 < float(value.x1[2]) < 1e-11


def test_scale_and_penalty_matter_only_through_the_gain() -> None:
    one = mixup_features(7, weights(0.2, 0.5), feature_penalty=1e-3, scale=1.0).value
    other = mixup_features(7, weights(0.2, 0.5), feature_penalty=9e-3, scale=3.0).value
    torch.testing.assert_close(one.x1, other.x1, rtol=1e-13, atol=0)
    # The same logits from rows three times as long need features a third as long.
    torch.testing.assert_close(one.lengths, 3 * other.lengths, rtol=1e-13, atol=0)


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("penalty", [10.0, 0.1, 1e-6])
def test_two_classes_follow_the_hyperbolic_tangent(weight: float, penalty: float) -> None:
    value = mixup_features(2, weight, feature_penalty=penalty, scale=1.5).value
    delta = float(value.x1 - value.x2)
    gain = logit_gain(2, feature_penalty=penalty, scale=1.5)
    assert float(value.x1) == -float(value.x2)
    # delta = a (2 w - 1) - a tanh(delta / 2): the terms round in their last digit, times a
    assert delta == pytest.approx(gain * (2 * weight - 1) - gain * math.tanh(delta / 2), abs=1e-15 * gain + 1e-15)
    row = torch.tensor([1.5, 0.0], dtype=torch.float64)
    feature = value.features(row, -row)
    assert feature.tolist() == pytest.approx([delta / (2 * 1.5**2) * 1.5, 0.0], rel=1e-14)
    if weight == 0.5:
        assert float(value.lengths) == 0


def test_numbers_and_tensors_of_any_shape_are_taken() -> None:
    grid = torch.linspace(0, 1, 6).view(2, 3)
    value = mixup_features(4, grid, feature_penalty=0.1, scale=1.0).value
    assert value.x1.shape == value.x2.shape == value.lengths.shape == (2, 3)
    one = mixup_features(4, float(grid[1, 0]), feature_penalty=0.1, scale=1.0).value
    assert one.x1.shape == ()
    assert float(one.x1) == pytest.approx(float(value.x1[1, 0]), rel=1e-14)
    assert mixup_features(4, grid[:0], feature_penalty=0.1, scale=1.0).value.x1.shape == (0, 3)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_squared_loss_is_ridge_regression_on_the_classifier(num_classes: int) -> None:
    scale, penalty = 1.4, 0.3
    frame = simplex_etf(num_classes, num_classes + 3, scale=scale, generator=torch.Generator().manual_seed(1))
    shares = weights(0.0, 0.3, 0.5, 1.0)
    value = squared_loss_features(num_classes, shares, feature_penalty=penalty, scale=scale).value
    features = value.features(frame[0], frame[1])
    eye = torch.eye(num_classes, dtype=torch.float64)
    labels = shares[:, None] * eye[0] + (1 - shares[:, None]) * eye[1]
    ridge = torch.linalg.solve(
        frame.T @ frame + penalty * torch.eye(num_classes + 3, dtype=torch.float64), frame.T @ labels.T
    ).T
    torch.testing.assert_close(features, ridge, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.vector_norm(ridge, dim=1), value.lengths, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(features[1], 0.3 * features[3] + 0.7 * features[0], rtol=0, atol=1e-15)
    # h of a class = (K - 1) w / (m^2 K + (K - 1) penalty)
    expected = (num_classes - 1) / (scale**2 * num_classes + (num_classes - 1) * penalty)
    torch.testing.assert_close(features[3], expected * frame[0], rtol=0, atol=1e-14)
    assert value.same_class_length == pytest.approx(expected * scale, rel=1e-14)


def test_probabilities_miss_the_label_by_the_logits_over_the_gain() -> None:
    shares = weights(0.0, 0.3, 0.5)
    value = mixup_features(10, shares, feature_penalty=1e-4, scale=1.0).value
    logits = torch.stack([value.x1, value.x2, *[torch.zeros_like(value.x1)] * 8])
    first, second, other = logits.softmax(dim=0)[:3]
    base = -(value.x1 + value.x2) / 10
    torch.testing.assert_close(first, shares - (value.x1 + base) / value.gain, rtol=1e-10, atol=0)
    torch.testing.assert_close(second, 1 - shares - (value.x2 + base) / value.gain, rtol=1e-10, atol=0)
    torch.testing.assert_close(other, -base / value.gain, rtol=1e-10, atol=0)


def test_the_same_class_rise_is_the_one_of_the_features() -> None:
    value = mixup_features(6, 0.5, feature_penalty=1e-2, scale=1.0).value
    assert same_class_rise(6, gain=value.gain) == pytest.approx(value.same_class, rel=1e-15)


@pytest.mark.parametrize("num_classes", [2, 3, 6])
def test_same_class_is_the_logit_above_every_other_class_and_twice_x1_with_two(num_classes: int) -> None:
    # One free feature under the frame, label 0 alone: Newton's method on the loss itself, no closed form.
    penalty, scale = 0.05, 1.5
    frame = simplex_etf(num_classes, num_classes - 1, scale=scale, generator=torch.Generator().manual_seed(0))

    def loss(feature: torch.Tensor) -> torch.Tensor:
        return -(frame @ feature).log_softmax(dim=0)[0] + penalty / 2 * feature.square().sum()

    feature = torch.zeros(num_classes - 1, dtype=torch.float64)
    for _ in range(50):
        slope = torch.autograd.functional.jacobian(loss, feature)
        bend = torch.autograd.functional.hessian(loss, feature)
        feature = feature - torch.linalg.solve(bend, slope)
    logits = frame @ feature
    value = mixup_features(num_classes, 1.0, feature_penalty=penalty, scale=scale).value
    others = logits[1:].mean() if num_classes > 2 else logits.mean()
    # float64: seen 1e-15, allowed 1e-10
    assert value.same_class == pytest.approx(float(logits[0] - logits[1]), rel=1e-10)
    assert float(value.x1) == pytest.approx(float(logits[0] - others), rel=1e-10)
    assert value.same_class == pytest.approx(float(value.x1) * (2 if num_classes == 2 else 1), rel=1e-10)
    assert value.same_class_length == pytest.approx(float(feature.norm()), rel=1e-10)


def test_stopping_early_is_a_returned_fact_and_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixscope.theory.roots.MAX_STEPS", 1)
    with pytest.warns(NotConvergedWarning, match="did not converge: the residual .* after 1 steps") as warned:
        solution = mixup_features(10, weights(0.3), feature_penalty=1e-4, scale=1.0)
    assert len(warned) == 1
    assert not solution.is_converged
    assert solution.residual > 1e-12
    assert "above the tolerance 1e-12" in solution.reason
    assert float(solution.value.x1) == pytest.approx(7.6328, rel=0.05)  # the best so far


@pytest.mark.parametrize("solve", [mixup_features, squared_loss_features])
def test_bad_input_is_named(solve: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"mixing_weight must lie in \[0, 1\], got values from -0.1 to 0.5"):
        solve(3, weights(0.5, -0.1), feature_penalty=1.0, scale=1.0)
    with pytest.raises(ValueError, match="mixing_weight must be finite, got 1 NaN"):
        solve(3, math.nan, feature_penalty=1.0, scale=1.0)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        solve(1, 0.5, feature_penalty=1.0, scale=1.0)
    with pytest.raises(ValueError, match="feature_penalty must be positive and finite, got 0"):
        solve(3, 0.5, feature_penalty=0.0, scale=1.0)
    with pytest.raises(ValueError, match="scale must be positive and finite, got inf"):
        solve(3, 0.5, feature_penalty=1.0, scale=math.inf)
