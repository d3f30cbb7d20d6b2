"""Bracketed Newton steps."""

import pytest
import torch

from mixscope.theory.roots import increasing_root


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
