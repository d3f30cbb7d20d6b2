"""Integration of the layer-peeled flows: Dormand and Prince's method of order 8, stopped at given times."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.integrate import DOP853
from scipy.optimize import brentq
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim
from mixscope.theory.peeled.loss import Array

FIRST_STEP = 1e-3  # of the length of the state
ROOT_OPTIONS = {"xtol": 1e-300, "rtol": 1e-14}


def follow(
    slope: Callable[[Array], Array],
    state: Array,
    *,
    log_time: Callable[[float, Array], float],
    log_times: Sequence[float],
    tolerance: float,
    floor: Array,
    max_steps: int,
    corrected: Callable[[Array], Array] = lambda state: state,
) -> tuple[list[Array], int, float]:
    """Follow x' = slope(x) and return the states at the given times, the number of steps, and log t at their end.

    Time is a function of the variable of integration and of the state, which must rise along the flow. The error of one
    step is at most the tolerance relative to an entry or to its floor, and `corrected` puts back after every step what
    the flow conserves. At max_steps it stops all the same, with fewer states. Order 8 takes 0.4 of the steps of 5.
    """
    if not state.any():
        raise ValueError("start must not be zero: the flow would stay there")
    speed = float(np.linalg.norm(slope(state)))
    if not speed < np.inf:
        raise ValueError(f"start must have a slope that float64 can hold, got one of length {speed}")
    first_step = FIRST_STEP * float(np.linalg.norm(state)) / speed if speed else 1.0
    options = {"first_step": first_step, "rtol": tolerance, "atol": tolerance * floor}
    solver = DOP853(lambda _, x: slope(x), 0.0, state, np.inf, **options)
    states: list[Array] = []
    steps, reached = 0, -np.inf
    while len(states) < len(log_times) and steps < max_steps:
        solver.step()
        if solver.status == "failed":
            break
        steps += 1
        after = corrected(solver.y)
        reached = log_time(solver.t, after)
        if reached >= log_times[len(states)]:
            path = solver.dense_output()
            for target in [later for later in log_times[len(states) :] if later <= reached]:
                states.append(corrected(path(_landing(path, log_time, target))))
        if after is not solver.y:
            solver.y, solver.f = after, slope(after)
    return states, steps, reached


def checked_times(**times: Tensor) -> list[float]:
    """Return the times of the records after checking that they are (T,), at least one, finite and increasing."""
    ((name, values),) = times.items()
    check_ndim(1, **times)
    check_finite(**times)
    if not len(values) or not bool((values.diff() > 0).all()):
        raise ValueError(f"{name} must be increasing and at least one, got {values.tolist()}")
    numbers: list[float] = values.detach().double().tolist()
    return numbers


def _landing(path: Callable[[float], Array], log_time: Callable[[float, Array], float], target: float) -> float:
    """Return where on the path of a step log t is the target: t / exp(target) - 1 is nearly linear there."""

    def excess(place: float) -> float:
        return float(np.expm1(log_time(place, path(place)) - target))

    low, high = path.t_old, path.t  # type: ignore[attr-defined]
    return float(brentq(excess, low, high, **ROOT_OPTIONS)) if excess(high) > 0 else float(high)
