"""Gradient descent on the layer-peeled model: the slow way, for comparison. Source: Ji et al. 2022, section 4."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mixscope.base.checks import check_at_most, check_positive
from mixscope.base.kinds import checked
from mixscope.theory.peeled.loss import stack, stacked_loss
from mixscope.theory.peeled.path_record import FlowRecord, record_path
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory.solution import Solution, solved

MOST_STEPS = 10**9  # hours


@checked
def layer_peeled_descent(
    start: PeeledPoint, *, learning_rate: float, record_steps: Sequence[int]
) -> Solution[FlowRecord]:
    """Run plain gradient descent on the summed cross-entropy: the comparison for `layer_peeled_flow`.

    Time is learning_rate times steps. Slow by nature: the geometry changes with the logarithm of the steps.
    Source: Ji et al. 2022, section 4; their step size is not known.

    Records are taken after the given numbers of steps, increasing, each from 1 to 1e9. A learning rate of 0.1 is stable
    for tens of examples.

    Returns:
        The records. The residual is the largest `conserved_drift`, 0 for the flow itself; any converges. Descent that
        overflows stops early with `is_converged` False.

    Raises:
        ValueError: If an argument is out of its range, or descent overflows before the first record.
    """
    check_positive(learning_rate=learning_rate)
    marks = list(record_steps)
    if not marks or marks[0] < 1 or any(after <= before for before, after in pairwise(marks)):
        raise ValueError(f"record_steps must be increasing and at least 1, got {marks}")
    check_at_most(MOST_STEPS, record_steps=marks[-1])
    loss, stacked = stacked_loss(start), stack(start)
    states, log_losses, taken = [], [], 0
    with np.errstate(over="ignore", invalid="ignore"):
        log_loss, descent = loss.descent(stacked)
        for mark in marks:
            for _ in range(mark - taken):
                stacked = stacked + (learning_rate * math.exp(min(log_loss, 700.0))) * descent
                log_loss, descent = loss.descent(stacked)
            taken = mark
            if not math.isfinite(log_loss):
                break
            states.append(stacked)
            log_losses.append(log_loss)
    if not states:
        raise ValueError(f"learning_rate must be small enough not to overflow by step {taken}, got {learning_rate}")
    log_times = [math.log(learning_rate * mark) for mark in marks[: len(states)]]
    record = record_path(states, start=start, log_times=log_times, log_losses=log_losses)
    residual = float(record.conserved_drift.max()) if len(states) == len(marks) else math.nan
    return solved(record, residual=residual, iterations=taken, tolerance=math.inf, solver="layer_peeled_descent")
