"""The layer-peeled model with weight decay: its gradient flow in ordinary time, and the collapsed minimum it ends at.

Source: derived; Zhu et al. 2021 have the same objective.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_at_most, check_finite, check_ndim, check_positive
from mixscope.base.kinds import checked
from mixscope.theory.peeled.loss import Array, StackedLoss, stack, stacked_loss
from mixscope.theory.peeled.path_record import FlowRecord, record_path
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory.peeled.runge_kutta import next_step, runge_kutta_step
from mixscope.theory.solution import NotConvergedWarning, Solution, solved

TOLERANCE = 1e-9  # error of one step relative to |(W, H)|
LAW_TOLERANCE = 1e-6  # of the law that the mean classifier follows; seen 1e-12
LARGEST_DECAY = 1e100  # beyond, everything is zero after the first step
TINY = 1e-300  # in place of a length of 0


@dataclass(frozen=True)
class RegularizedOptimum:
    """The minimum of the summed loss plus weight_decay |W|^2 / 2 + feature_decay |H|^2 / 2, up to rotation.

    Attributes:
        margin: Of every example, 0 where the decay is so strong that everything collapses to zero.
        weight_squared_norm: |W|_F^2.
        feature_squared_norm: |H|_F^2.
        log_loss: log L there, without the penalties.
    """

    margin: float
    weight_squared_norm: float
    feature_squared_norm: float
    log_loss: float


@checked
def regularized_flow(
    start: PeeledPoint, *, times: Tensor, weight_decay: float, feature_decay: float, max_steps: int = 100_000
) -> Solution[FlowRecord]:
    """Follow the gradient flow of the summed loss plus weight_decay |W|^2 / 2 + feature_decay |H|^2 / 2.

    In ordinary time, as the flow ends at a finite point: see `regularized_optimum`. The mean classifier decays as
    exp(-weight_decay t), so that uncentred geometry collapses too; with equal decays so does W^T W - H H^T, with twice
    the rate. Source: derived; Zhu et al. 2021 have the same objective.

    Args:
        start: Where the flow is at t = 0, not zero.
        times: (T,) float, positive, finite and increasing.
        weight_decay: From 0 to 1e100.
        feature_decay: From 0 to 1e100.
        max_steps: At which to stop all the same, rejected steps included; at least 1.

    Returns:
        The records; `loss_law`, `norm_law` and `conserved_drift` belong to the flow without decay. The residual is the
        largest deviation of the mean classifier from its law, relative to |W(0)|_F; tolerance 1e-6. If the steps run
        out the records stop early and `is_converged` is False.

    Raises:
        ValueError: If an argument is out of its range, start is zero, or the steps run out before the first record.

    Example:
        >>> from mixscope.theory.peeled.point import gaussian_start
        >>> start = gaussian_start([2, 2, 2], dim=4, generator=torch.Generator().manual_seed(0))
        >>> solution = regularized_flow(start, times=torch.tensor([3000.0]), weight_decay=0.01, feature_decay=0.01)
        >>> bool(solution.value.nc3_duality_uncentered < 1e-6)
        True
    """
    check_ndim(1, times=times)
    check_finite(times=times)
    if not len(times) or not bool((times.diff() > 0).all()) or not float(times[0]) > 0:
        raise ValueError(f"times must be positive, increasing and at least one, got {times.tolist()}")
    check_at_least(0, weight_decay=weight_decay, feature_decay=feature_decay)
    check_at_most(LARGEST_DECAY, weight_decay=weight_decay, feature_decay=feature_decay)
    check_at_least(1, max_steps=max_steps)
    if start.squared_norm == 0:
        raise ValueError("start must not be zero: the flow would stay there")
    stacked = stack(start)
    decay = np.full(stacked.shape, feature_decay)
    decay[: start.num_classes] = weight_decay
    flow = _Decaying(stacked_loss(start), stacked.shape, decay.ravel())
    targets = times.detach().to("cpu", torch.float64).tolist()
    with np.errstate(over="ignore", invalid="ignore"):  # a trial step that is too long; it is rejected
        states, steps, now = flow.states_at(stacked.ravel(), targets, max_steps=max_steps)
    if not states:
        stiff = " (a large weight_decay or feature_decay takes short steps)"
        raise ValueError(f"max_steps must reach the first of times, got {max_steps}, which end at {now:.6g}{stiff}")
    reached = targets[: len(states)]
    path = [state.reshape(stacked.shape) for state in states]
    losses = [flow.loss.relative_slope(state)[0] for state in path]
    record = record_path(path, start=start, log_times=[math.log(time) for time in reached], log_losses=losses)
    law = torch.tensor(reached, dtype=torch.float64).mul(-weight_decay).exp()[:, None] * start.head_weight.mean(dim=0)
    size = max(float(start.head_weight.norm()), TINY)
    residual = float((record.head_weights.mean(dim=1) - law).norm(dim=1).max()) / size
    if len(states) == len(targets):
        return solved(record, residual=residual, iterations=steps, tolerance=LAW_TOLERANCE, solver="regularized_flow")
    reason = f"{steps} steps end at t = {now:.6g}, before {targets[len(states)]:.6g}"
    warnings.warn(f"regularized_flow did not converge: {reason}", NotConvergedWarning, stacklevel=2)
    return Solution(record, residual, steps, False, reason)


@checked
def regularized_optimum(
    num_classes: int, num_per_class: int, *, weight_decay: float, feature_decay: float
) -> Solution[RegularizedOptimum]:
    """Return the global minimum of the loss with weight decay: neural collapse of a finite norm, or zero.

    With c = sqrt(weight_decay * feature_decay) and r = c (K - 1) / (K sqrt(n)), an example misses by r in probability
    and the margin is log((K - 1) (1 - r) / r); everything is zero from c = sqrt(n) on. Needs D of at least K - 1.
    Source: derived; the objective of Zhu et al. 2021.

    Args:
        num_classes: K, at least 2.
        num_per_class: n, at least 1.
        weight_decay: Positive.
        feature_decay: Positive.

    Returns:
        The optimum. The residual is that of the margin's stationarity condition, relative; tolerance 1e-10.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> optimum = regularized_optimum(2, 1, weight_decay=0.25, feature_decay=0.25).value
        >>> round(optimum.margin, 6), round(optimum.weight_squared_norm, 6)  # log 7 each: sqrt(n) (K - 1) = 1
        (1.94591, 1.94591)
    """
    check_at_least(2, num_classes=num_classes)
    check_at_least(1, num_per_class=num_per_class)
    check_positive(weight_decay=weight_decay, feature_decay=feature_decay)
    strength, root = math.sqrt(weight_decay) * math.sqrt(feature_decay), math.sqrt(num_per_class)
    miss = strength * (num_classes - 1) / (num_classes * root)
    is_zero = strength >= root
    margin = 0.0 if is_zero else math.log(num_classes - 1) + math.log1p(-miss) - math.log(miss)
    log_odds = math.log(num_classes - 1) - margin
    nuclear = margin * root * (num_classes - 1)
    found = math.exp(log_odds - np.logaddexp(0.0, log_odds))
    optimum = RegularizedOptimum(
        margin=margin,
        weight_squared_norm=nuclear * math.sqrt(feature_decay / weight_decay),
        feature_squared_norm=nuclear * math.sqrt(weight_decay / feature_decay),
        log_loss=math.log(num_classes * num_per_class) + math.log(np.logaddexp(0.0, log_odds)),
    )
    residual = 0.0 if is_zero else abs(found - miss) / miss
    return solved(optimum, residual=residual, iterations=0, tolerance=1e-10, solver="regularized_optimum")


@dataclass(frozen=True)
class _Decaying:
    """The flow with decay on flat states of (K + N) D entries."""

    loss: StackedLoss
    shape: tuple[int, int]
    decay: Array

    def slope(self, state: Array) -> Array:
        log_loss, descent = self.loss.descent(state.reshape(self.shape))
        return np.exp(log_loss) * descent.ravel() - self.decay * state

    def states_at(self, state: Array, targets: list[float], *, max_steps: int) -> tuple[list[Array], int, float]:
        """Return the states at the targets that max_steps reach, the steps, and the time they end at."""
        states: list[Array] = []
        now, steps, slope = 0.0, 0, self.slope(state)
        step = 1e-3 * float(np.linalg.norm(state)) / max(float(np.linalg.norm(slope)), TINY)
        while len(states) < len(targets) and steps < max_steps:
            remaining = targets[len(states)] - now
            is_last = step >= remaining
            taken = remaining if is_last else step
            after, estimate = runge_kutta_step(self.slope, state, slope, step=taken)
            error = float(np.linalg.norm(estimate)) / (TOLERANCE * max(float(np.linalg.norm(state)), TINY))
            steps += 1
            if error <= 1:
                now = targets[len(states)] if is_last else now + taken
                state, slope = after, self.slope(after)
                if is_last:
                    states.append(after)
            # A step cut short by a record says nothing against the longer one.
            following = next_step(taken, error=error)
            step = max(step, following) if is_last and error <= 1 else following
        return states, steps, now
