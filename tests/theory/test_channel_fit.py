"""Theory fitted to measured channels: parameters recovered, noise averaged out, and no answer where there is none."""

import math
import warnings

import pytest
import torch
from scipy.optimize import minimize_scalar

from mixscope.theory.channel.curve_fit import (
    GAIN_RANGE,
    fit_mixup_channel,
    fit_squared_loss_line,
    fit_unmixed_line,
    mixup_points,
)
from mixscope.theory.channel.mixed_features import mixup_features, same_class_rise, squared_loss_features
from mixscope.theory.solution import NotConvergedWarning


def uniform(count: int, *, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def curve(weights: torch.Tensor, gain: float, num_classes: int) -> torch.Tensor:
    return mixup_points(weights, math.log(gain), num_classes)[0]


def noise(count: int, *, size: float, seed: int = 1) -> torch.Tensor:
    return size * torch.randn(2, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("gain", [0.5, 50.0, 1e4])
@pytest.mark.parametrize("count", [3, 600])
def test_the_gain_of_exact_curves_is_recovered(num_classes: int, gain: float, count: int) -> None:
    weights = uniform(count)
    x1, x2 = curve(weights, gain, num_classes)
    solution = fit_mixup_channel(x1, x2, weights, num_classes=num_classes)
    assert solution.is_converged
    assert solution.value.gain == pytest.approx(gain, rel=1e-9)
    assert solution.value.relative_residual < 1e-10
    assert solution.value.same_class == pytest.approx(same_class_rise(num_classes, gain=gain), rel=1e-9)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("count", [3, 600])
def test_every_gain_between_the_ends_is_recovered_a_trial_or_not(num_classes: int, count: int) -> None:
    # Every power of ten is a trial, where the slope of the distance of an exact curve may be 0 to the last bit.
    weights = uniform(count)
    is_flat = num_classes == 2  # 10^14 and 10^15 give two classes the same curve but for the last digits
    for power in (*range(-5, 15), 2.25):
        gain = 10.0**power
        points = curve(weights, gain, num_classes)
        with warnings.catch_warnings():
            if is_flat and power > 5:
                warnings.simplefilter("ignore", NotConvergedWarning)
            solution = fit_mixup_channel(*points, weights, num_classes=num_classes)
        assert solution.is_converged or (is_flat and power > 5), power
        assert solution.value.relative_residual < 1e-13, power
        assert 64 <= solution.iterations < 500, power
        # Rounding moves log(a) by 1e-16 over what a step of it moves the curve by, with two classes about 1 / a.
        assert solution.value.gain == pytest.approx(gain, rel=1e-9 + is_flat * 1e-14 * gain), power


def lowest_distance(points: torch.Tensor, weights: torch.Tensor, *, num_classes: int) -> float:
    """The least sum of squares over a dense grid of gains and a bounded minimiser around the best of them."""

    def squares(log_gain: torch.Tensor | float) -> torch.Tensor:
        found = mixup_points(weights, log_gain, num_classes)[0]
        return (points.view(2, *[1] * (found.ndim - 2), -1) - found).square().sum(dim=(0, -1))

    grid = torch.linspace(*map(math.log, GAIN_RANGE), 300, dtype=torch.float64)
    found = squares(grid[:, None])
    best = int(found.argmin())
    bounds = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, 299)])
    near = minimize_scalar(
        lambda place: float(squares(place)), bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    return min(float(found[best]), near.fun)


@pytest.mark.parametrize("num_classes", [2, 10])
@pytest.mark.parametrize("gain", [0.01, 1e3, 1e8])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_no_gain_in_the_range_is_nearer_to_noisy_points_than_the_fit(
    num_classes: int, gain: float, size: float
) -> None:
    weights = uniform(60)
    points = curve(weights, gain, num_classes) + noise(60, size=size)
    check_least(points, weights, num_classes=num_classes)


@pytest.mark.parametrize(("count", "seed"), [(600, 3), (1500, 35)])
def test_points_that_noise_gives_two_minima_or_an_end_are_given_the_best(count: int, seed: int) -> None:
    weights = uniform(count, seed=seed)
    points = curve(weights, 1e3, 2) + noise(count, size=10.0, seed=1000 + seed)
    check_least(points, weights, num_classes=2)


def check_least(points: torch.Tensor, weights: torch.Tensor, *, num_classes: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)  # much noise asks for a gain at an end
        value = fit_mixup_channel(*points, weights, num_classes=num_classes).value
    least = lowest_distance(points, weights, num_classes=num_classes)
    assert value.relative_residual**2 * float(points.square().sum()) <= least * (1 + 1e-10)


def test_without_a_bound_the_best_of_the_range_comes_back() -> None:
    # Points that rise against their weights by half a nat: the nearer the curve to 0, the better.
    weights = uniform(2000)
    points = noise(2000, size=0.5) - 0.1 * torch.stack([weights - 0.5, 0.5 - weights])
    with pytest.warns(NotConvergedWarning, match="the data do not bound the gain: 1e-06 is the best in"):
        value = fit_mixup_channel(*points, weights, num_classes=2).value
    assert value.gain == pytest.approx(1e-6, rel=1e-12)
    assert value.relative_residual == pytest.approx(1.0, abs=1e-6)


def test_the_fit_is_the_least_squares_minimum_of_a_generic_minimiser() -> None:
    weights = uniform(700)
    points = curve(weights, 3e3, 10) + noise(700, size=1.0)
    fit = fit_mixup_channel(*points, weights, num_classes=10).value

    def squares(log_gain: float) -> float:
        return float((points - mixup_points(weights, log_gain, 10)[0]).square().sum())

    direct = minimize_scalar(squares, bounds=(2, 15), method="bounded", options={"xatol": 1e-10})
    assert math.log(fit.gain) == pytest.approx(direct.x, abs=1e-6)  # half the digits of a minimum's value
    assert fit.relative_residual == pytest.approx(math.sqrt(direct.fun / float(points.square().sum())), rel=1e-9)


def test_noise_is_averaged_out() -> None:
    weights = uniform(20_000)
    points = curve(weights, 1e4, 10) + noise(20_000, size=2.0)
    fit = fit_mixup_channel(*points, weights, num_classes=10).value
    # d(x1 + x2) / d log(a) is about 2, so the error of log(a) is about 2 / sqrt(2 * 20000) = 0.01
    assert math.log(fit.gain) == pytest.approx(math.log(1e4), abs=0.05)
    total = float(curve(weights, 1e4, 10).square().sum()) + 2 * 20_000 * 4
    assert fit.relative_residual == pytest.approx(math.sqrt(2 * 20_000 * 4 / total), rel=0.02)


def test_the_curve_is_given_on_a_grid() -> None:
    weights = uniform(50)
    x1, x2 = curve(weights, 200.0, 5)
    fit = fit_mixup_channel(x1, x2, weights, num_classes=5).value
    assert fit.curve_weights.tolist() == pytest.approx([i / 100 for i in range(101)], abs=1e-15)
    expected = mixup_features(5, fit.curve_weights, feature_penalty=5 / (4 * 200.0), scale=1.0).value
    torch.testing.assert_close(fit.curve_x1, expected.x1, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(fit.curve_x2, expected.x2, rtol=1e-8, atol=1e-12)


def test_order_and_exchange_of_the_points_do_not_matter() -> None:
    weights = uniform(1500)
    points = curve(weights, 500.0, 10) + noise(1500, size=0.7)
    plain = fit_mixup_channel(*points, weights, num_classes=10).value
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(3))
    shuffled = fit_mixup_channel(*points[:, order], weights[order], num_classes=10).value
    exchanged = fit_mixup_channel(points[1], points[0], 1 - weights, num_classes=10).value
    assert shuffled.gain == pytest.approx(plain.gain, rel=1e-11)
    assert exchanged.gain == pytest.approx(plain.gain, rel=1e-11)


def test_float32_measurements_are_taken() -> None:
    weights = uniform(40)
    x1, x2 = curve(weights, 500.0, 10)
    fit = fit_mixup_channel(x1.float(), x2.float().requires_grad_(), weights.float(), num_classes=10).value
    assert fit.gain == pytest.approx(500.0, rel=1e-5)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_slopes_of_the_curve_are_its_difference_quotients(num_classes: int) -> None:
    weights = torch.tensor([0.0, 0.1, 0.5, 0.8, 1.0], dtype=torch.float64)
    slopes = mixup_points(weights, 4.0, num_classes)[1]
    quotient = (mixup_points(weights, 4.0005, num_classes)[0] - mixup_points(weights, 3.9995, num_classes)[0]) / 1e-3
    torch.testing.assert_close(slopes, quotient, rtol=1e-6, atol=1e-9)


def test_data_that_ask_for_no_gain_come_back_unconverged() -> None:
    weights = uniform(100)
    with pytest.warns(NotConvergedWarning, match="the data do not bound the gain: 1e-06 is the best in"):
        solution = fit_mixup_channel(-weights, weights - 1, weights, num_classes=10)
    assert not solution.is_converged
    assert solution.reason == "the data do not bound the gain: 1e-06 is the best in [1e-06, 1e+15]"
    assert solution.value.relative_residual == pytest.approx(1.0, abs=1e-5)


def test_two_classes_and_even_blends_tell_nothing() -> None:
    even = torch.full((3,), 0.5)
    with pytest.warns(NotConvergedWarning):
        assert not fit_mixup_channel(even, -even, even, num_classes=2).is_converged
    assert fit_unmixed_line(even, -even, even, num_classes=2).value.same_class == 0


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("penalty", [5.0, 0.1])
def test_the_squared_loss_line_gives_its_penalty_back(num_classes: int, penalty: float) -> None:
    weights = uniform(30)
    value = squared_loss_features(num_classes, weights, feature_penalty=penalty, scale=1.3).value
    solution = fit_squared_loss_line(value.x1, value.x2, weights, num_classes=num_classes)
    assert solution.is_converged
    assert solution.value.gain == pytest.approx(value.gain, rel=1e-11)
    assert solution.value.feature_penalty(scale=1.3) == pytest.approx(penalty, rel=1e-11)
    assert solution.value.relative_residual < 1e-14
    full = squared_loss_features(num_classes, solution.value.curve_weights, feature_penalty=penalty, scale=1.3).value
    torch.testing.assert_close(solution.value.curve_x1, full.x1, rtol=0, atol=1e-14)


def test_lines_too_steep_or_falling_have_no_penalty() -> None:
    weights = uniform(5)
    steep = fit_squared_loss_line(2 * weights, 2 * (1 - weights), weights, num_classes=4).value
    assert steep.gain == math.inf
    assert steep.feature_penalty(scale=1.0) == 0
    assert steep.same_class == pytest.approx(2.0, rel=1e-14)
    falling = fit_squared_loss_line(-weights, weights - 1, weights, num_classes=4).value
    assert falling.gain == 0
    assert falling.feature_penalty(scale=1.0) == math.inf
    assert fit_unmixed_line(-weights, weights - 1, weights, num_classes=4).value.gain == 0


@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_unmixed_line_ends_at_the_unblended_features(num_classes: int) -> None:
    features = mixup_features(num_classes, torch.tensor([0.0, 1.0]), feature_penalty=1e-3, scale=1.0).value
    fit = fit_unmixed_line(features.x1, features.x2, features.weights, num_classes=num_classes).value
    assert fit.gain == pytest.approx(features.gain, rel=1e-11)
    assert fit.same_class == pytest.approx(features.same_class, rel=1e-13)
    assert fit.relative_residual < 1e-14


def test_bad_input_is_named() -> None:
    ones = torch.ones(3)
    with pytest.raises(ValueError, match="x1 and x2 and weights must have the same length, got 3 and 2 and 3"):
        fit_mixup_channel(ones, ones[:2], ones, num_classes=3)
    with pytest.raises(ValueError, match=r"x1 must have 1 dimensions, got shape \(1, 3\)"):
        fit_mixup_channel(ones[None], ones, ones, num_classes=3)
    with pytest.raises(ValueError, match="x2 must be finite, got 3 NaN"):
        fit_squared_loss_line(ones, ones * math.nan, ones, num_classes=3)
    with pytest.raises(ValueError, match=r"^weights must lie in \[0, 1\], got values from 2.0 to 2.0"):
        fit_unmixed_line(ones, ones, 2 * ones, num_classes=3)
    with pytest.raises(ValueError, match="x1 and x2 must hold a value that is not 0, got 3 points"):
        fit_mixup_channel(0 * ones, 0 * ones, ones, num_classes=3)
    with pytest.raises(ValueError, match="x1 and x2 must hold a value that is not 0, got 0 points"):
        fit_mixup_channel(ones[:0], ones[:0], ones[:0], num_classes=3)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        fit_mixup_channel(ones, ones, ones, num_classes=1)
    with pytest.raises(ValueError, match="scale must be positive and finite, got 0"):
        fit_unmixed_line(ones, ones, ones, num_classes=3).value.feature_penalty(scale=0)
