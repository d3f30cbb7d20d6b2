"""Gradient flow of the layer-peeled model in log time, far past its loss's smallest float64, and plain descent.

The flow dW/dt = -dL/dW, dH/dt = -dL/dH is slow where the loss is small. With d tau = L dt it is the gradient flow of
log L, whose terms are all of order one, and w = L t obeys the linear equation dw/dtau = 1 - |grad log L|^2 w:
log t = log w - log L needs neither t nor L. In tau the stiffest rate is that of log t itself, so explicit steps of a
fixed size in log t are stable at any time. Source: Ji et al. 2022 (the flow); the form here is derived.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from mixscope.base.checks import check_at_least, check_at_most, check_positive
from mixscope.base.kinds import checked
from mixscope.theory.peeled.integration import checked_times, follow
from mixscope.theory.peeled.loss import Array, StackedLoss, stack, stacked_loss
from mixscope.theory.peeled.path_record import FlowRecord, record_path
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory.solution import Solution, solved

TOLERANCE = 3e-10  # error of one step relative to an entry, or for small ones of W and H to their root mean square
DRIFT_TOLERANCE = 1e-6  # of the conserved quantity; seen 1e-12 at log t = 10,000
MAX_CORRECTIONS = 3
MOST_STEPS = 10**9  # of descent: hours


@dataclass(frozen=True)
class _Flow:
    """The flow of log L on flat states of (K + N) D entries and w = L t, and the quantity it must conserve."""

    loss: StackedLoss
    shape: tuple[int, int]
    signs: Array
    conserved: Array

    def slope(self, state: Array) -> Array:
        """Return the right-hand side."""
        descent = self.loss.descent(state[:-1].reshape(self.shape))[1].ravel()
        return np.append(descent, 1 - (descent @ descent) * state[-1])

    def log_time(self, _: float, state: Array) -> float:
        """Return log t = log w - log L; NaN for w below 0, in a step that is too long."""
        return float(np.log(state[-1])) - self.log_loss(state)

    def log_loss(self, state: Array) -> float:
        """Return log L."""
        return self.loss.relative_slope(state[:-1].reshape(self.shape))[0]

    def corrected(self, state: Array) -> Array:
        """Put W^T W - H H^T back to its value at the start, by the least change of the state."""
        # J X S, J = diag(1 for W, -1 for H), with X^T X S + S X^T X the error: diagonal in X^T X's eigenvectors.
        point = state[:-1].reshape(self.shape)
        sizes, vectors = np.linalg.eigh(point.T @ point)
        sums = sizes[:, None] + sizes
        floor = 1e-15 * sizes[-1]
        for _ in range(MAX_CORRECTIONS):
            excess = (point.T * self.signs) @ point - self.conserved
            if np.abs(excess).max() <= floor:
                break
            turned = vectors.T @ excess @ vectors
            # Where X has no extent there is no excess to take off either.
            change = np.divide(turned, sums, out=np.zeros_like(turned), where=sums > floor)
            point = point - self.signs[:, None] * (point @ (vectors @ change @ vectors.T))
        return np.append(point.ravel(), state[-1])


@checked
def layer_peeled_flow(start: PeeledPoint, *, log_times: Tensor, max_steps: int = 50_000) -> Solution[FlowRecord]:
    """Follow the gradient flow of the summed cross-entropy and record its geometry at given times.

    Steps are of order 8 with error control, each followed by the smallest correction that restores the conserved
    W^T W - H H^T: log t = 10,000 takes a second or two for K = 4, D = 8, n = 5. The path does not depend on which times
    are recorded.

    Classes may be of different sizes. The limit theorem (directions tend to KKT points of the separation problem) needs
    L < log 2 at some time: the record's `is_separated` says where that holds. A flow that starts without it is followed
    all the same; but as long as its loss stays of order one (at a saddle, or with too few dimensions to separate the
    classes) the steps count t instead of log t, and may run out.
    The start, at t = 0, is not zero; log_times are (T,) float, finite and increasing, and may be negative; max_steps,
    at which it stops all the same, is at least 1. Source: Ji et al. 2022, section 3.

    Returns:
        The records. The residual is the largest `conserved_drift`; tolerance 1e-6. If the steps run out the records
        stop early and `is_converged` is False.

    Raises:
        ValueError: If an argument is out of its range, or the steps run out before the first record.
    """
    targets = checked_times(log_times=log_times)
    check_at_least(1, max_steps=max_steps)
    stacked = stack(start)
    signs = np.where(np.arange(len(stacked)) < start.num_classes, 1.0, -1.0)
    flow = _Flow(stacked_loss(start), stacked.shape, signs, conserved=(stacked.T * signs) @ stacked)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a trial step that is too long; it is rejected
        states, steps, reached = follow(
            flow.slope,
            np.append(stacked.ravel(), 0.0),
            log_time=flow.log_time,
            log_times=targets,
            tolerance=TOLERANCE,
            floor=np.append(np.full(stacked.size, (start.squared_norm / stacked.size) ** 0.5), 0.0),
            max_steps=max_steps,
            corrected=flow.corrected,
        )
        if not states:
            raise ValueError(
                f"max_steps must reach the first of log_times, got {max_steps}, which end at {reached:.6g}"
            )
        record = record_path(
            [state[:-1] for state in states],
            start=start,
            log_times=[flow.log_time(0.0, state) for state in states],
            log_losses=[flow.log_loss(state) for state in states],
        )
    missed = targets[len(states) :]
    return solved(
        record,
        residual=float(record.conserved_drift.max()),
        iterations=steps,
        tolerance=DRIFT_TOLERANCE,
        solver="layer_peeled_flow",
        reason=f"{steps} steps end at log t = {reached:.6g}, before {missed[0]:.6g}" if missed else "",
    )


@checked
def layer_peeled_descent(
    start: PeeledPoint, *, learning_rate: float, record_steps: Sequence[int]
) -> Solution[FlowRecord]:
    """Run plain gradient descent on the summed cross-entropy: the slow comparison for `layer_peeled_flow`.

    Time is learning_rate times steps, and the geometry changes with its logarithm. Records are taken after the given
    numbers of steps, increasing, each from 1 to 1e9. A learning rate of 0.1 is stable for tens of examples.
    Source: Ji et al. 2022, section 4; their step size is not known.

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
