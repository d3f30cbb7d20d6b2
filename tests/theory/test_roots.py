"""Bracketed Newton steps, and Lambert's W of numbers too large or small for a float64."""

import math

import mpmath
import pytest
import torch

from mixscope.theory.roots import increasing_root, lambert_w_of_exp


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("shift", [0.0, 1000.0, -3.7])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_roots_are_found_on_shifted_and_scaled_problems(shift: float, scale: float) -> None:
    targets = column(0.0, 1e-3, 1.0, 7.0, -7.0)

    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner = (x - shift) / scale
        return torch.sinh(inner) - targets, torch.cosh(inner) / scale

    low, high = torch.full((5,), shift - 20 * scale), torch.full((5,), shift + 20 * scale)
    roots, steps = increasing_root(function, low=low.double(), high=high.double(), start=high.double())
    expected = shift + scale * torch.asinh(targets)
    # float64 around the shift: 1000 has a last digit of 1e-13
    torch.testing.assert_close(roots, expected, rtol=0, atol=2e-15 * max(abs(shift), 1.0))
    assert steps < 40


def test_steps_that_leave_the_bracket_are_halved_instead() -> None:
    # Newton's method on the arctangent runs away from any start beyond 1.39.
    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.atan(x), 1 / (1 + x * x)

    root, steps = increasing_root(function, low=column(-50.0), high=column(90.0), start=column(70.0))
    assert abs(float(root)) < 1e-15
    assert steps < 20


def test_lambert_w_agrees_with_fifty_digits() -> None:
    exponents = [-700.0, -30.0, -2.0, -1.0001, -1.0, -0.9999, 0.0, 0.5, 1.0, 2.0, 3.0, 30.0, 700.0, 1e4, 1e8, 1e300]
    computed = lambert_w_of_exp(column(*exponents)).tolist()
    with mpmath.workdps(50):
        for exponent, value in zip(exponents, computed, strict=True):
            # w + log(w) = L in fifty digits: one of Newton's steps from the value is its error.
            w = mpmath.mpf(value)
            error = (w + mpmath.log(w) - mpmath.mpf(exponent)) / (1 + w)
            # exp(-700) carries the rounding of its exponent, 700 last digits
            assert abs(error) < 4e-16 * (1 + abs(exponent) / (1 + value)), exponent


def test_lambert_w_of_a_negligible_number_is_that_number() -> None:
    assert lambert_w_of_exp(column(-800.0)).item() == 0.0
    assert lambert_w_of_exp(column(-100.0)).item() == pytest.approx(math.exp(-100), rel=1e-13)


def test_lambert_w_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="exponent must be finite, got 1 NaN or infinite values"):
        lambert_w_of_exp(column(math.inf))
