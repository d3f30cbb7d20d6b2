import math
import re

import pytest
import torch
from torch import Tensor

from mixscope.metrics.blends.curve_overlay import CurveFamily, OverlayFit, theory_residual

SCALE, LEVEL, SLOPE = 3.0, 1.5, 0.8


def channel(weights: Tensor, scale: float, level: float, slope: float) -> tuple[Tensor, Tensor]:
    """A smooth family with the symmetry of a channel: swapping the classes and the weights swaps x1 and x2."""
    height = level + scale * weights * (1 - weights)
    return height + slope * (weights - 0.5), height - slope * (weights - 0.5)


FAMILY = CurveFamily(channel, start={"scale": 1.0, "level": 0.1, "slope": 0.1})


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shares(num: int = 200) -> Tensor:
    return torch.rand(num, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def measured(noise: float, num: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    weights = shares(num)
    first, second = channel(weights, SCALE, LEVEL, SLOPE)
    return first + noise * normal(num, seed=2), second + noise * normal(num, seed=3), weights


def naive_residuals(fit: OverlayFit, first: Tensor, second: Tensor) -> tuple[float, float]:
    points = list(zip(first.tolist(), second.tolist(), fit.first.tolist(), fit.second.tolist(), strict=True))
    mean1, mean2 = sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
    left = sum((x1 - c1) ** 2 + (x2 - c2) ** 2 for x1, x2, c1, c2 in points)
    length = sum(x1**2 + x2**2 for x1, x2, _, _ in points)
    spread = sum((x1 - mean1) ** 2 + (x2 - mean2) ** 2 for x1, x2, _, _ in points)
    return math.sqrt(left / length), left / spread


def test_points_on_the_curve_give_back_its_parameters() -> None:
    first, second, weights = measured(0.0)
    fit = theory_residual(first, second, weights, FAMILY)
    assert fit.parameters == pytest.approx({"scale": SCALE, "level": LEVEL, "slope": SLOPE}, rel=1e-9)
    assert fit.relative_residual == pytest.approx(0, abs=1e-10)
    assert fit.variance_left == pytest.approx(0, abs=1e-18)
    assert fit.is_converged
    torch.testing.assert_close(fit.first, first)


def test_noise_moves_the_parameters_by_what_it_should_and_is_what_is_left() -> None:
    noise = 0.1
    first, second, weights = measured(noise, num=2000)
    fit = theory_residual(first, second, weights, FAMILY)
    # Standard errors are below 0.1 / sqrt(2000) / 0.07 = 0.03; five of them.
    assert fit.parameters == pytest.approx({"scale": SCALE, "level": LEVEL, "slope": SLOPE}, abs=0.15)
    rms = math.sqrt(float((first.square() + second.square()).mean()))
    assert fit.relative_residual == pytest.approx(math.sqrt(2) * noise / rms, rel=0.05)
    relative, left = naive_residuals(fit, first, second)
    assert fit.relative_residual == pytest.approx(relative, rel=1e-12)
    assert fit.variance_left == pytest.approx(left, rel=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_shifted_and_scaled_problems_are_solved_as_well(factor: float, shift: float) -> None:
    first, second, weights = measured(0.1)
    plain = theory_residual(first, second, weights, FAMILY)
    moved = [factor * (part + shift) for part in (first, second)]
    fit = theory_residual(*moved, weights, FAMILY)
    expected = {"scale": factor, "slope": factor}
    for name, power in expected.items():
        assert fit.parameters[name] == pytest.approx(power * plain.parameters[name], rel=1e-6), name
    assert fit.parameters["level"] == pytest.approx(factor * (plain.parameters["level"] + shift), rel=1e-6)
    assert fit.variance_left == pytest.approx(plain.variance_left, rel=1e-6)
    assert fit.is_converged


def test_a_curve_that_is_not_linear_in_its_parameters_is_fitted() -> None:
    weights = shares()

    def curve(w: Tensor, power: float, size: float) -> tuple[Tensor, Tensor]:
        return size * w**power, size * (1 - w) ** power

    first, second = curve(weights, 2.5, 7.0)
    family = CurveFamily(curve, start={"power": 1.0, "size": 1.0}, bounds={"power": (0.1, 10.0), "size": (0.0, 100.0)})
    fit = theory_residual(first, second, weights, family)
    assert fit.parameters == pytest.approx({"power": 2.5, "size": 7.0}, rel=1e-8)
    assert fit.at_bounds == ()


def test_order_of_the_points_does_not_matter() -> None:
    first, second, weights = measured(0.2)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(5))
    plain, moved = (
        theory_residual(*(part[rows] for part in (first, second, weights)), FAMILY)
        for rows in (torch.arange(200), order)
    )
    assert moved.parameters == pytest.approx(plain.parameters, rel=1e-8)
    assert moved.relative_residual == pytest.approx(plain.relative_residual, rel=1e-10)


def test_a_curve_without_parameters_is_compared_as_it_is() -> None:
    weights = torch.tensor([0.25, 0.75])
    fit = theory_residual(weights, 1 - weights, weights, CurveFamily(lambda w: (torch.ones_like(w), 0 * w)))
    # Off by (-0.75, 0.75) and (-0.25, 0.25); lengths^2 are 0.0625 + 0.5625 each.
    assert fit.relative_residual == pytest.approx(math.sqrt(1.25 / 1.25))
    # Means are 0.5, so the spread is 4 * 0.0625.
    assert fit.variance_left == pytest.approx(1.25 / 0.25)
    assert fit.parameters == {}
    assert (fit.is_converged, fit.message, fit.num_evaluations) == (True, "nothing was fitted", 1)


def test_a_parameter_that_ends_on_its_bound_is_named() -> None:
    first, second, weights = measured(0.0)
    family = CurveFamily(channel, start={"scale": 1.0, "level": 0.1, "slope": 0.1}, bounds={"scale": (0.0, 2.0)})
    fit = theory_residual(first, second, weights, family)
    assert fit.parameters["scale"] == pytest.approx(2.0)
    assert fit.at_bounds == ("scale",)
    assert fit.relative_residual > 0.01


def test_a_curve_that_breaks_on_the_way_has_not_converged_and_says_why() -> None:
    weights = shares()
    calls = 0

    def breaking(w: Tensor, size: float) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        value = math.nan if size != 1.0 else 1.0
        return value * w, value * w

    fit = theory_residual(3 * weights, 3 * weights, weights, CurveFamily(breaking, start={"size": 1.0}))
    assert not fit.is_converged
    assert fit.message.startswith("stopped at the start: ")
    assert fit.parameters == {"size": 1.0}
    assert fit.relative_residual == pytest.approx(2 / 3)
    assert calls > 1


def test_no_parameter_is_on_an_infinite_bound() -> None:
    first, second, weights = measured(0.0)
    family = CurveFamily(channel, start={"scale": 1.0, "level": 0.1, "slope": 0.1}, bounds={"scale": (0.0, math.inf)})
    assert theory_residual(first, second, weights, family).at_bounds == ()


def saturating(weights: Tensor, place: float) -> tuple[Tensor, Tensor]:
    height = math.tanh(place) * torch.ones_like(weights)
    return height, height


@pytest.mark.parametrize("start", [50.0, 18.0, -18.0, 13.0, -40.0])
def test_a_fit_from_a_plateau_ends_at_the_minimum_or_names_the_parameter(start: float) -> None:
    # tanh is flat there to the last digits, while the data ask for tanh(0.3).
    weights = shares()
    points = saturating(weights, 0.3)
    fit = theory_residual(*points, weights, CurveFamily(saturating, start={"place": start}))
    is_found = abs(fit.parameters["place"] - 0.3) < 1e-6
    assert fit.is_converged == is_found
    assert is_found or re.match("stopped on a plateau: .* place at ", fit.message)


def test_a_start_where_the_last_digits_are_flat_has_not_converged() -> None:
    weights = shares()
    fit = theory_residual(*saturating(weights, 0.3), weights, CurveFamily(saturating, start={"place": 50.0}))
    assert fit.parameters == {"place": 50.0}
    assert not fit.is_converged
    assert fit.message == "stopped on a plateau: the curve does not move with place at 50"


def test_a_parameter_that_moves_nothing_is_named() -> None:
    first, second, weights = measured(0.1)
    family = CurveFamily(
        lambda w, height, idle: (height * w + 0 * idle, height * w), start={"height": 1.0, "idle": 2.0}
    )
    fit = theory_residual(first, second, weights, family)
    assert not fit.is_converged
    assert fit.message == "stopped on a plateau: the curve does not move with idle at 2"


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 1.0])
def test_minima_of_any_size_and_noise_are_no_plateaus(size: float, noise: float) -> None:
    first, second, weights = measured(noise)
    family = CurveFamily(
        lambda w, scale, level, slope: tuple(size * part for part in channel(w, scale, level, slope)),
        start={"scale": 1.0, "level": 0.1, "slope": 0.1},
    )
    assert theory_residual(size * first, size * second, weights, family).is_converged
    direct = CurveFamily(channel, start={"scale": size, "level": size, "slope": size})
    fit = theory_residual(size * first, size * second, weights, direct)
    assert fit.is_converged
    plain = theory_residual(first, second, weights, FAMILY)
    for name, value in plain.parameters.items():
        assert fit.parameters[name] == pytest.approx(size * value, rel=1e-6), name


def test_a_fit_that_runs_out_of_evaluations_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixscope.metrics.blends import curve_overlay

    monkeypatch.setattr(curve_overlay, "MAX_EVALUATIONS", 1)
    fit = theory_residual(*measured(0.1), FAMILY)
    assert not fit.is_converged
    assert "maximum number of function evaluations is exceeded" in fit.message


def test_float32_and_graphs_are_taken_as_they_are() -> None:
    first, second, weights = (part.float() for part in measured(0.1))
    expected = theory_residual(first.double(), second.double(), weights.double(), FAMILY)
    found = theory_residual(first.requires_grad_(), second, weights, FAMILY)
    assert found.parameters == expected.parameters
    assert not found.first.requires_grad


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (lambda w: w, r"predictor must give two tensors of shape \(5,\), got shape \(5,\)"),
        (lambda w: (w, w[:1]), r"predictor must give two tensors of shape \(5,\), got \(5,\) and \(1,\)"),
        (lambda w: (w, 1.0), r"predictor must give two tensors of shape \(5,\), got \(5,\) and float"),
        (lambda w: (w / 0, w), r"predictor must be finite at its start \(no parameters\), got 5 values that are not"),
    ],
)
def test_predictors_that_give_no_curve_are_named(curve, message: str) -> None:
    weights = torch.full((5,), 0.5)
    with pytest.raises(ValueError, match=message):
        theory_residual(weights, weights, weights, CurveFamily(curve))


def test_what_does_not_fit_is_named() -> None:
    w = torch.full((5,), 0.5)
    family = CurveFamily(lambda w, *p: (w, w), start=dict.fromkeys("abc", 0.0))
    for arguments, message in (
        ((w, w[:3], w), "first and second and weights must have the same length, got 5 and 3 and 5"),
        ((w, w, w + 1), r"weights must lie in \[0, 1\], got from 1\.5 to 1\.5"),
        ((w * math.nan, w, w), "first must be finite, got 5 NaN"),
        ((w[:, None], w, w), "first must have 1 dimensions"),
        ((w[:1], w[:1], w[:1]), "first must hold a point for every two parameters, got 1 points"),
        ((w[:0], w[:0], w[:0]), "first must hold a point for every two parameters, got 0 points"),
    ):
        with pytest.raises(ValueError, match=message):
            theory_residual(*arguments, family)
    with pytest.raises(ValueError, match=r"predictor must be finite at its start \(a=0\), got 10 values"):
        theory_residual(w, w, w, CurveFamily(lambda w, a: (w / a, w / a), start={"a": 0.0}))
    with pytest.raises(ValueError, match=r"bounds must name parameters of start, got 'scal' \(did you mean scale\?\)"):
        CurveFamily(channel, start={"scale": 1.0}, bounds={"scal": (0, 1)})
    with pytest.raises(ValueError, match="bounds of 'scale' must be a lower and a higher value, got 1 and 1"):
        CurveFamily(channel, start={"scale": 1.0}, bounds={"scale": (1, 1)})
    with pytest.raises(ValueError, match=r"start of 'scale' must be finite and lie in \[2, 3\], got 1\.0"):
        CurveFamily(channel, start={"scale": 1.0}, bounds={"scale": (2, 3)})
