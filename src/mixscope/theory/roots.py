"""Roots of many scalar equations at once: Newton's steps held inside a bracket.

For one equation `scipy.optimize.brentq` is there; its `elementwise.find_root` takes many, without their slopes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

MAX_STEPS = 100  # a bracket of 1e3 in log space is 60 halvings from its last digit; Newton's steps take 3 to 8
# Errors at least square: after a step this small the next would not change a float64.
SMALL_STEP = 1e-8
LAST_DIGIT = 1e-15  # what rounding leaves of a bracket


def increasing_root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], *, low: Tensor, high: Tensor, start: Tensor
) -> tuple[Tensor, int]:
    """Find the root of an increasing function in [low, high], one per entry (...), and the number of steps.

    Newton's step where it stays inside the bracket, the middle of the bracket where it does not. The function returns
    values and positive slopes; both are best of order one (take the logarithm of a positive unknown). After 100 steps
    the last point is returned: the caller judges it by its own residual.
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
