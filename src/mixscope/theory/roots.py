"""Scalar root finding for many equations at once: Newton's steps held inside a bracket, and Lambert's W of exp(L)."""

from collections.abc import Callable

import torch
from torch import Tensor

from mixscope.base.checks import check_finite

MAX_STEPS = 100  # a bracket of 1e3 in log space is 60 halvings from its last digit; Newton's steps take 3 to 8
# Newton's and Halley's errors at least square: after a step this small the next would not change a float64.
SMALL_STEP = 1e-8
LAST_DIGIT = 1e-15  # what rounding leaves of a bracket


def increasing_root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], *, low: Tensor, high: Tensor, start: Tensor
) -> tuple[Tensor, int]:
    """Find the root of an increasing function in [low, high], one per entry.

    Newton's step where it stays inside the bracket, the middle of the bracket where it does not. The equation is best
    written so that root and slope are of order one (in the logarithm of a positive unknown).

    Args:
        function: Takes (...) float64 and returns the values and the slopes there, the slopes positive.
        low: (...) float64, where the function is at most 0.
        high: (...) float64, where it is at least 0.
        start: (...) float64, the first guess.

    Returns:
        The roots, (...) float64, and the number of steps. After 100 steps the last point is returned: the caller
        judges it by its own residual.

    Example:
        >>> low, high = torch.zeros(2, dtype=torch.float64), torch.full((2,), 9.0, dtype=torch.float64)
        >>> squares = torch.tensor([4.0, 49.0], dtype=torch.float64)
        >>> roots, steps = increasing_root(lambda x: (x * x - squares, 2 * x), low=low, high=high, start=high)
        >>> roots.tolist()
        [2.0, 7.0]
    """
    point, steps = start, 0
    previous = torch.full_like(start, torch.inf)
    while steps < MAX_STEPS:
        steps += 1
        value, slope = function(point)
        low = torch.where(value < 0, point, low)
        high = torch.where(value > 0, point, high)
        newton = point - value / slope
        is_inside = (newton >= low) & (newton <= high)
        following = torch.where(is_inside, newton, (low + high) / 2)
        step = (following - point).abs()
        point = following
        size = point.abs().clamp(min=1.0)
        # Errors square, so that the next step is about step^3 / previous^2. Both steps must be small to tell.
        is_last = (step <= SMALL_STEP * size) & (step * (step / previous).square() <= LAST_DIGIT * size)
        if bool((is_inside & is_last & previous.isfinite() | (step <= LAST_DIGIT * size)).all()):
            break
        previous = step
    return point, steps


def lambert_w_of_exp(exponent: Tensor) -> Tensor:
    """Evaluate Lambert's W_0(exp(L)): the w > 0 with w + log(w) = L, where exp(L) itself may not fit a float64.

    Fritsch's fourth-order iteration on w + log(w) - L (Fritsch, Shafer and Crowley 1973), for L below -1 on
    the unknown v = log(w), which is then the one that keeps its digits.

    Args:
        exponent: (...) float, finite.

    Returns:
        (...) float64, positive (0 where exp(L) underflows); relative error below 1e-15 times 1 + |L| / (1 + w).

    Raises:
        ValueError: If a value is not finite.

    Example:
        >>> [round(float(w), 12) for w in lambert_w_of_exp(torch.tensor([1.0, 1e6]))]
        [1.0, 999986.1845032576]
    """
    check_finite(exponent=exponent)
    logarithm = exponent.detach().to(torch.float64)
    # v + exp(v) = L: exp(L) is what is left for small L, L - log(L) for large.
    small = torch.minimum(logarithm, torch.zeros_like(logarithm))
    low_guess = small - small.exp() / (1 + small.exp())
    root = _log_root(small, low_guess)
    large = logarithm.clamp(min=-1.0)
    guess = torch.where(large > 2, large - large.clamp(min=2.0).log(), (large.clamp(max=2.0) / 2).exp() / 2)
    for _ in range(4):
        newton = (large - guess - guess.log()) / (1 + guess)
        bend = newton / (1 + guess) / (2 + 4 * newton / 3)
        guess = guess * (1 + newton * (1 - bend) / (1 - 2 * bend))
    return torch.where(logarithm < -1, root.exp(), guess)


def _log_root(exponent: Tensor, guess: Tensor) -> Tensor:
    """Solve v + exp(v) = L for L at most 0 by Newton's method: convex and increasing, slope between 1 and 2."""
    for _ in range(6):
        power = guess.exp()
        guess = guess - (guess + power - exponent) / (1 + power)
    return guess
