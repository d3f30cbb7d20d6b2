"""The embedded Runge-Kutta pair of orders 5 and 4 of Dormand and Prince (1980), one step at a time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUM_STAGES = 7
STAGES = tuple(
    np.array(row)
    for row in (
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],  # the step of order 5
    )
)
ERROR = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])

# Usual choices of step control: aim a little below the tolerance, and change the step gently.
SAFETY, SMALLEST_CHANGE, LARGEST_CHANGE = 0.9, 0.2, 5.0


def runge_kutta_step(
    slope: Callable[[Array], Array], state: Array, first_slope: Array, *, step: float
) -> tuple[Array, Array]:
    """Take one step of an autonomous equation.

    Args:
        slope: The right-hand side, (M,) to (M,).
        state: (M,) where the step begins.
        first_slope: The right-hand side there.
        step: Its length.

    Returns:
        The state after the step, of order 5, and the estimated error of each entry. Six evaluations of the slope.
    """
    slopes = np.empty((NUM_STAGES, len(state)))
    slopes[0] = first_slope
    for stage, weights in enumerate(STAGES, start=1):
        following = state + (step * weights) @ slopes[:stage]
        slopes[stage] = slope(following)
    return following, step * (ERROR @ slopes)


def next_step(step: float, *, error: float) -> float:
    """Return the step to take after one whose error, in units of the tolerance, was as given (NaN shrinks it most)."""
    if not error < np.inf:
        return step * SMALLEST_CHANGE
    if error == 0:
        return step * LARGEST_CHANGE
    return step * min(LARGEST_CHANGE, max(SMALLEST_CHANGE, SAFETY * error**-0.2))
