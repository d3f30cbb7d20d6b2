"""Gradient flow of the layer-peeled model in the logarithm of time, far past the smallest float64 of its loss.

The flow dW/dt = -dL/dW, dH/dt = -dL/dH is slow where the loss is small. With d tau = L dt it is the gradient flow of
log L, whose terms are all of order one, and w = L t obeys the linear equation dw/dtau = 1 - |grad log L|^2 w:
log t = log w - log L needs neither t nor L. In tau the stiffest rate is that of log t itself, so explicit steps of a
fixed size in log t are stable at any time. Source: Ji et al. 2022 (the flow); the form here is derived.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_ndim
from mixscope.base.kinds import checked
from mixscope.theory.peeled.loss import Array, StackedLoss, stack, stacked_loss
from mixscope.theory.peeled.path_record import FlowRecord, record_path
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory.peeled.runge_kutta import next_step, runge_kutta_step
from mixscope.theory.solution import NotConvergedWarning, Solution, solved

TOLERANCE = 1e-10  # error of one step relative to |(W, H)|; all records agree with those of 1e-11 to 1e-8
TIME_TOLERANCE = 100 * TOLERANCE  # error of one step of log t
DRIFT_TOLERANCE = 1e-6  # of the conserved quantity; seen 1e-12 at log t = 10,000
LANDING = 1e-9  # how far a record may be from the log t asked for, relative to max(1, |log t|)
FIRST_STEP = 1e-3  # of |(W, H)| moved
MAX_LANDING_STEPS = 60
MAX_CORRECTIONS = 3


@dataclass(frozen=True)
class _Flow:
    """The flow of log L on flat states of (K + N) D entries and w = L t, and the quantity it must conserve."""

    loss: StackedLoss
    shape: tuple[int, int]
    signs: Array
    conserved: Array

    def loss_and_slope(self, state: Array) -> tuple[float, Array]:
        """Return log L and the right-hand side."""
        log_loss, direction = self.loss.descent(state[:-1].reshape(self.shape))
        descent = direction.ravel()
        slope = np.empty_like(state)
        slope[:-1] = descent
        slope[-1] = 1 - (descent @ descent) * state[-1]
        return log_loss, slope

    def slope(self, state: Array) -> Array:
        """Return the right-hand side."""
        return self.loss_and_slope(state)[1]

    def error(self, before: Array, after: Array, estimate: Array) -> float:
        """Return the estimated error in units of the tolerance."""
        if not after[-1] > 0:
            return math.inf
        of_point = float(np.linalg.norm(estimate[:-1]) / np.linalg.norm(before[:-1])) / TOLERANCE
        return max(of_point, abs(estimate[-1]) / (TIME_TOLERANCE * after[-1]))

    def corrected(self, state: Array) -> Array:
        """Put W^T W - H H^T back to its value at the start, by the least change of the state.

        The least change is J X S, J = diag(1 for W, -1 for H), with X^T X S + S X^T X the error: diagonal in the
        eigenvectors of X^T X. Newton's iteration, with one decomposition.
        """
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
def layer_peeled_flow(start: PeeledPoint, *, log_times: Tensor, max_steps: int = 100_000) -> Solution[FlowRecord]:
    """Follow the gradient flow of the summed cross-entropy and record its geometry at given times.

    Steps are those of an embedded Runge-Kutta pair of order 5 with error control, each followed by the smallest
    correction that restores the conserved W^T W - H H^T. About 0.6 steps per unit of log t: log t = 10,000 takes a
    second or two for K = 4, D = 8, n = 5. The path does not depend on which times are recorded.

    Classes may be of different sizes. The limit theorem (directions tend to KKT points of the separation problem) needs
    L < log 2 at some time: the record's `is_separated` says where that holds. A flow that starts without it is followed
    all the same; but as long as its loss stays of order one (at a saddle, or with too few dimensions to separate the
    classes) the steps count t instead of log t, and may run out.
    Source: Ji et al. 2022, section 3.

    Args:
        start: Where the flow is at t = 0, not zero.
        log_times: (T,) float, log t of each record, finite and increasing; may be negative.
        max_steps: At which to stop all the same, rejected steps included; at least 1.

    Returns:
        The records, each within 1e-9 max(1, |log t|) of the time asked for. The residual is the largest
        `conserved_drift`; tolerance 1e-6. If the steps run out the records stop early and `is_converged` is False.

    Raises:
        ValueError: If log_times is empty, not one-dimensional, not finite or not increasing, start is zero, or
            max_steps is below 1; or if the steps run out before the first record.

    Example:
        >>> from mixscope.theory.peeled.point import gaussian_start
        >>> start = gaussian_start([2, 2, 2], dim=4, generator=torch.Generator().manual_seed(0))
        >>> solution = layer_peeled_flow(start, log_times=torch.tensor([10.0, 100.0, 1000.0]))
        >>> [round(value, 2) for value in solution.value.norm_law.tolist()], solution.is_converged
        ([1.88, 1.09, 1.01], True)
    """
    _check_log_times(log_times)
    check_at_least(1, max_steps=max_steps)
    if start.squared_norm == 0:
        raise ValueError("start must not be zero: the flow would stay there")
    stacked, loss = stack(start), stacked_loss(start)
    signs = np.where(np.arange(len(stacked)) < start.num_classes, 1.0, -1.0)
    flow = _Flow(loss, stacked.shape, signs, conserved=(stacked.T * signs) @ stacked)
    targets = log_times.detach().to("cpu", torch.float64).tolist()
    states: list[Array] = []
    reached, steps = -math.inf, 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a trial step that is too long; it is rejected
        for number, state, slope, step, reached in _steps(flow, np.append(stacked.ravel(), 0.0), max_steps=max_steps):
            steps = number
            while len(states) < len(targets) and reached >= targets[len(states)]:
                states.append(_land(flow, state, slope, step=step, target=targets[len(states)]))
            if len(states) == len(targets):
                break
    if not states:
        raise ValueError(f"max_steps must reach the first of log_times, got {max_steps}, which end at {reached:.6g}")
    log_losses = [flow.loss_and_slope(state)[0] for state in states]
    log_times_found = [math.log(state[-1]) - log_loss for state, log_loss in zip(states, log_losses, strict=True)]
    record = record_path(
        [state[:-1] for state in states], start=start, log_times=log_times_found, log_losses=log_losses
    )
    drift = float(record.conserved_drift.max())
    if len(states) == len(targets):
        return solved(record, residual=drift, iterations=steps, tolerance=DRIFT_TOLERANCE, solver="layer_peeled_flow")
    reason = f"{max_steps} steps end at log t = {reached:.6g}, before {targets[len(states)]:.6g}"
    warnings.warn(f"layer_peeled_flow did not converge: {reason}", NotConvergedWarning, stacklevel=2)
    return Solution(record, drift, max_steps, False, reason)


def _check_log_times(log_times: Tensor) -> None:
    """Raise unless the times of the records are (T,), at least one, finite and increasing."""
    check_ndim(1, log_times=log_times)
    check_finite(log_times=log_times)
    if not len(log_times) or not bool((log_times.diff() > 0).all()):
        raise ValueError(f"log_times must be increasing and at least one, got {log_times.tolist()}")


def _steps(flow: _Flow, state: Array, *, max_steps: int) -> Iterator[tuple[int, Array, Array, float, float]]:
    """Yield every accepted step: its number, the state and slope before it, its length, and log t after it."""
    slope = flow.slope(state)
    speed = math.sqrt(slope[:-1] @ slope[:-1])
    step = FIRST_STEP * math.sqrt(state[:-1] @ state[:-1]) / speed if speed else 1.0
    for number in range(1, max_steps + 1):
        after, estimate = runge_kutta_step(flow.slope, state, slope, step=step)
        error = flow.error(state, after, estimate)
        if error <= 1:
            after = flow.corrected(after)
            log_loss, slope_after = flow.loss_and_slope(after)
            yield number, state, slope, step, math.log(after[-1]) - log_loss
            state, slope = after, slope_after
        step = next_step(step, error=error)


def _land(flow: _Flow, state: Array, slope: Array, *, step: float, target: float) -> Array:
    """Return the state at log t = target, which lies inside the step: Newton with d log t / d tau = 1 / w.

    Inside the first step w is nearly tau, and Newton's step in log tau is taken where the plain one leaves the bracket.
    """
    low, high, trial = 0.0, step, step
    for _ in range(MAX_LANDING_STEPS):
        found = flow.corrected(runge_kutta_step(flow.slope, state, slope, step=trial)[0])
        excess = math.log(found[-1]) - flow.loss_and_slope(found)[0] - target
        if abs(excess) <= LANDING * max(1.0, abs(target)):
            break
        low, high = (low, trial) if excess > 0 else (trial, high)
        guesses = (trial - excess * found[-1], trial * math.exp(-excess), (low + high) / 2)
        trial = next(guess for guess in guesses if low < guess < high)
    return found
