"""Weight decay in the layer-peeled model: its gradient flow in ordinary time, and the collapsed minimum it ends at.

Source: derived; Zhu et al. 2021 have the same objective.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_at_most, check_positive
from mixscope.base.kinds import checked
from mixscope.theory.peeled.integration import checked_times, follow
from mixscope.theory.peeled.loss import Array, stack, stacked_loss
from mixscope.theory.peeled.path_record import FlowRecord, record_path
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory.solution import Solution, solved

TOLERANCE = 3e-11  # error of one step relative to an entry, or for small ones to the root mean square of the start
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
    start: PeeledPoint, *, times: Tensor, weight_decay: float, feature_decay: float, max_steps: int = 50_000
) -> Solution[FlowRecord]:
    """Follow the gradient flow of the summed loss plus weight_decay |W|^2 / 2 + feature_decay |H|^2 / 2.

    In ordinary time, as the flow ends at a finite point: see `regularized_optimum`. The mean classifier decays as
    exp(-weight_decay t), so that uncentred geometry collapses too; with equal decays so does W^T W - H H^T, with twice
    the rate. The start, at t = 0, is not zero; times are (T,) float, positive, finite and increasing; decays are from 0
    to 1e100; max_steps, at which it stops all the same, is at least 1.

    Returns:
        The records; `loss_law`, `norm_law` and `conserved_drift` belong to the flow without decay. The residual is the
        largest deviation of the mean classifier from its law, relative to |W(0)|_F; tolerance 1e-6. If the steps run
        out the records stop early and `is_converged` is False.

    Raises:
        ValueError: If an argument is out of its range, or the steps run out before the first record.

    Example:
        >>> from mixscope.theory.peeled.point import gaussian_start
        >>> start = gaussian_start([2, 2, 2], dim=4, generator=torch.Generator().manual_seed(0))
        >>> solution = regularized_flow(start, times=torch.tensor([3000.0]), weight_decay=0.01, feature_decay=0.01)
        >>> bool(solution.value.nc3_duality_uncentered < 1e-6)
        True
    """
    targets = checked_times(times=times)
    if not targets[0] > 0:
        raise ValueError(f"times must be positive, got {targets}")
    check_at_least(0, weight_decay=weight_decay, feature_decay=feature_decay)
    check_at_most(LARGEST_DECAY, weight_decay=weight_decay, feature_decay=feature_decay)
    check_at_least(1, max_steps=max_steps)
    stacked, loss = stack(start), stacked_loss(start)
    decay = np.full(stacked.shape, feature_decay)
    decay[: start.num_classes] = weight_decay

    def slope(state: Array) -> Array:
        point = state.reshape(stacked.shape)
        log_loss, descent = loss.descent(point)
        return (np.exp(log_loss) * descent - decay * point).ravel()

    with np.errstate(over="ignore", invalid="ignore"):  # a trial step that is too long; it is rejected
        states, steps, log_end = follow(
            slope,
            stacked.ravel(),
            log_time=lambda now, _: math.log(now) if now else -math.inf,
            log_times=[math.log(time) for time in targets],
            tolerance=TOLERANCE,
            floor=np.full(stacked.size, (start.squared_norm / stacked.size) ** 0.5),
            max_steps=max_steps,
        )
    end = math.exp(log_end)
    if not states:
        stiff = " (a large weight_decay or feature_decay takes short steps)"
        raise ValueError(f"max_steps must reach the first of times, got {max_steps}, which end at {end:.6g}{stiff}")
    reached, missed = targets[: len(states)], targets[len(states) :]
    path = [state.reshape(stacked.shape) for state in states]
    log_losses = [loss.relative_slope(state)[0] for state in path]
    record = record_path(path, start=start, log_times=[math.log(time) for time in reached], log_losses=log_losses)
    law = torch.tensor(reached, dtype=torch.float64).mul(-weight_decay).exp()[:, None] * start.head_weight.mean(dim=0)
    size = max(float(start.head_weight.norm()), TINY)
    return solved(
        record,
        residual=float((record.head_weights.mean(dim=1) - law).norm(dim=1).max()) / size,
        iterations=steps,
        tolerance=LAW_TOLERANCE,
        solver="regularized_flow",
        reason=f"{steps} steps end at t = {end:.6g}, before {missed[0]:.6g}" if missed else "",
    )


@checked
def regularized_optimum(
    num_classes: int, num_per_class: int, *, weight_decay: float, feature_decay: float
) -> Solution[RegularizedOptimum]:
    """Return the global minimum of the loss with weight decay: neural collapse of a finite norm, or zero.

    With c = sqrt(weight_decay * feature_decay) and r = c (K - 1) / (K sqrt(n)), an example misses by r in probability
    and the margin is log((K - 1) (1 - r) / r); everything is zero from c = sqrt(n) on. Needs D of at least K - 1.
    The residual is that of the margin's stationarity condition, relative; tolerance 1e-10.

    Raises:
        ValueError: If num_classes is below 2, num_per_class below 1, or a decay not positive and finite.
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
