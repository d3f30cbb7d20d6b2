"""Turning times of each eigenvector's error, when learning blends starts to hurt, and a bound on the risk.

With labels y on blends that should have been y*, training heads for theta* + theta_noise, theta* = Phi^+ y* and
theta_noise = Phi^+ (y - y*). Along v_k the error is

    v_k (theta_t - theta*) = delta_k u + n_k (1 - u),   u = exp(-eta mu_k t),

with delta_k = v_k (theta_0 - theta*) and n_k = v_k theta_noise. Source: after Liu et al. 2023, Lemma 5.1 and
Theorem 5.2; derived here, in the mean over starts of any mean and one variance.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_at_most, check_not_negative, check_positive, naming
from mixscope.base.kinds import checked
from mixscope.theory.random_features.feature_flow import FeatureFlow

LARGEST_SPREAD = 1e100  # its square must stay far below the largest number


@dataclass(frozen=True)
class TurningTimes:
    """When the squared error along each of the R eigenvectors is smallest.

    Attributes:
        curvatures: (R,) float64, mu_k, falling.
        offsets: (R,) float64, delta_k: what training has to learn, negated.
        noises: (R,) float64, n_k: what the wrong labels add in the end.
        is_turning: (R,) bool: the squared error falls to 0 and rises again; so where delta_k and n_k have opposite
            signs, and nowhere else.
        exact: (R,) float64, ln(1 + |delta_k| / |n_k|) / (eta mu_k) where turning. Elsewhere the error is monotone:
            0 where it only grows, infinity where it only falls.
        bound: (R,) float64, ln(1 + mu_k E delta_k^2 / C_2) / (eta mu_k), when the mode of the bound is smallest. Each
            mode of the bound turns, also where the true one does not.
        bound_smallest: (R,) float64, the bound's mode at that time, a b / (a + b) with a = E delta_k^2, b = C_2 / mu_k.
    """

    curvatures: Tensor
    offsets: Tensor
    noises: Tensor
    is_turning: Tensor
    exact: Tensor
    bound: Tensor
    bound_smallest: Tensor


@dataclass(frozen=True)
class RiskBound:
    """How far the risk may be above the risk of theta*, R_t - R*.

    Attributes:
        times: (T,) float64.
        total: (T,) float64, the bound: modes + cross.
        modes: (T,) float64, C_1 sum_k (a_k u^2 + (C_2 / mu_k) (1 - u)^2).
        cross: 2 sqrt(C_1 R* zeta), zeta = sum_k max(a_k, C_2 / mu_k); 0 where theta* is right everywhere.
        known_noise: (T,) float64, the modes with n_k^2 in place of C_2 / mu_k: what the bound loses by not knowing how
            the noise lies.
    """

    times: Tensor
    total: Tensor
    modes: Tensor
    cross: float
    known_noise: Tensor


@checked
def turning_times(flow: FeatureFlow, clean_targets: Tensor, *, start_spread: float = 0.0) -> TurningTimes:
    """Return when the error of each mode of a flow on wrong labels is smallest, exactly and by the bound.

    C_2 is the largest squared difference of the labels. The learning rate divides all times and changes no error.

    Args:
        flow: The path on the labels y that training sees; its start is the mean of theta_0.
        clean_targets: (M,) float, y*: what the same rows should have been labelled.
        start_spread: Standard deviation of every entry of theta_0, at least 0. Only the bound knows of it; the exact
            times are those of theta_0 = the flow's start.

    Raises:
        ValueError: If the length is not M, a value is not finite, or the spread is negative or not finite.

    Example:
        >>> from mixscope.theory.random_features.feature_flow import random_feature_flow
        >>> flow = random_feature_flow(torch.eye(2), torch.tensor([1.5, 0.5])).value
        >>> times = turning_times(flow, torch.tensor([1.0, 1.0]))
        >>> sorted(times.exact.round(decimals=4).tolist())  # one overshoots: 2 ln 3; one never gets there
        [2.1972, inf]
    """
    check_at_least(0, start_spread=start_spread)
    check_at_most(LARGEST_SPREAD, start_spread=start_spread)
    with naming("clean_targets"):
        star = flow.with_targets(clean_targets)
    offsets = flow.modes @ flow.start - star.limit
    noises = flow.limit - star.limit
    is_turning = offsets * noises < 0
    pace = flow.learning_rate * flow.curvatures
    monotone = torch.where(noises.abs() < offsets.abs(), math.inf, 0.0)
    exact = torch.where(is_turning, torch.log1p(offsets.abs() / noises.abs()) / pace, monotone)
    start_square = offsets.square() + float(start_spread) ** 2
    noise_square = float((flow.targets - star.targets).square().max()) / flow.curvatures
    return TurningTimes(
        curvatures=flow.curvatures,
        offsets=offsets,
        noises=noises,
        is_turning=is_turning,
        exact=exact,
        bound=torch.log1p(start_square / noise_square) / pace,
        # a b / (a + b), also for b = 0.
        bound_smallest=torch.where(noise_square > 0, start_square / (1 + start_square / noise_square), 0.0),
    )


@checked
def risk_bound(
    flow: FeatureFlow,
    clean_targets: Tensor,
    *,
    times: Tensor,
    feature_bound: float,
    clean_risk: float,
    start_spread: float = 0.0,
) -> RiskBound:
    """Bound how far the risk is above that of theta*, at all times, in the mean over starts.

    R_t - R* <= C_1 sum_k (a_k u^2 + (C_2 / mu_k) (1 - u)^2) + 2 sqrt(C_1 R* zeta), with C_1 / 2 the largest
    |phi(x)|^2, a_k = E delta_k^2 and C_2 the largest (y - y*)^2. Directions that no row of Phi sees keep their
    a_k u^2 with u = 1. It shows a U for every mode, but it is far too large to read a time to stop off: C_2 / mu_k is
    immense where mu_k is small. Deviation from Liu et al. 2023: starts of any mean, and dependent rows.

    Args:
        flow: As of `turning_times`, and so are the clean targets and the spread.
        clean_targets: y*.
        times: (T,) float, at least 0.
        feature_bound: Largest |phi(x)|^2 of the population, positive; 1 for `TanhFeatures`.
        clean_risk: R*, the population's mean squared error of theta*, at least 0.
        start_spread: Of theta_0 around its mean.

    Returns:
        The bound, in the labels' squared unit; R_t - R* itself may be negative.

    Raises:
        ValueError: If shapes or ranges do not fit or a value is not finite.

    Example:
        >>> from mixscope.theory.random_features.feature_flow import random_feature_flow
        >>> flow = random_feature_flow(torch.eye(2), torch.tensor([1.5, 0.5])).value
        >>> bound = risk_bound(
        ...     flow, torch.tensor([1.0, 1.0]), times=torch.tensor([0.0, torch.inf]), feature_bound=1.0, clean_risk=0.0
        ... )
        >>> [round(value, 6) for value in bound.total.tolist()]
        [4.0, 2.0]
    """
    check_positive(feature_bound=feature_bound)
    check_not_negative(clean_risk=clean_risk)
    modes = turning_times(flow, clean_targets, start_spread=start_spread)
    start_square = modes.offsets.square() + float(start_spread) ** 2
    worst = (flow.targets - clean_targets.to(flow.targets)).square().max()
    noise_square = worst / flow.curvatures
    progress = flow.progress(times)
    # theta* has no part where no row of Phi is, so there the offset is the start itself.
    unseen = flow.start - flow.modes.T @ (flow.modes @ flow.start)
    still = float(unseen.square().sum()) + float(start_spread) ** 2 * (len(flow.start) - len(flow.curvatures))
    falling = (1 - progress).square() @ start_square + still
    rising = progress.square()
    factor = 2 * feature_bound
    zeta = float(torch.maximum(start_square, noise_square).sum()) + still
    cross = 2 * math.sqrt(factor * clean_risk * zeta)
    total = factor * (falling + rising @ noise_square)
    return RiskBound(
        times=torch.as_tensor(times, dtype=torch.float64),
        total=total + cross,
        modes=total,
        cross=cross,
        known_noise=factor * (falling + rising @ modes.noises.square()),
    )
