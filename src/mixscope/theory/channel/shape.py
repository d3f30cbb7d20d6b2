"""Shape of the channel in numbers: amplification, lengths, angle, and the density across it.

All of it follows from x1 and x2 of `mixup_features`, so from the number of classes, the gain a of `logit_gain` and the
weight. Across it runs delta = x1 - x2, along it the height (x1 + x2) / 2. Source: as `mixup_features`; derived.
"""

import math

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_positive, check_shape
from mixscope.base.kinds import checked
from mixscope.theory.channel.mixed_features import mixup_features, same_class_rise
from mixscope.theory.channel.soft_labels import logit_gain
from mixscope.theory.roots import increasing_root
from mixscope.theory.weight_law import log_beta_peak


@checked
def amplification(num_classes: int, *, feature_penalty: float, scale: float) -> float:
    """Return how much longer an even blend's feature is than the middle of the two unblended features.

    2 x / Delta, with x = x1 = x2 at w = 1/2: dimensionless, in (1, 2). Tends to 2 as the penalty falls; 1 for squared
    error. Arguments and errors as of `logit_gain`, with at least 3 classes: with two the even blend is 0.
    """
    check_at_least(3, num_classes=num_classes)
    features = mixup_features(num_classes, 0.5, feature_penalty=feature_penalty, scale=scale).value
    return 2 * float(features.x1) / features.same_class


@checked
def norm_ratio(num_classes: int, *, feature_penalty: float, scale: float) -> float:
    """Return |h| of an even blend over |h| of an unblended example, (x / Delta) sqrt(2 (K - 2) / (K - 1)).

    Dimensionless, from 0 (two classes) to below `norm_ratio_limit`; above 1, blends lie further out than examples.
    Arguments and errors as of `logit_gain`.
    """
    features = mixup_features(num_classes, 0.5, feature_penalty=feature_penalty, scale=scale).value
    return float(features.lengths) / features.same_class_length


@checked
def norm_ratio_limit(num_classes: int) -> float:
    """Return what `norm_ratio` tends to as the penalty falls, sqrt(2 (K - 2) / (K - 1)).

    Raises:
        ValueError: If num_classes is below 2.
    """
    check_at_least(2, num_classes=num_classes)
    return math.sqrt(2 * (num_classes - 2) / (num_classes - 1))


@checked
def channel_angle(x1: Tensor, x2: Tensor, *, num_classes: int) -> Tensor:
    """Return the angle between a blend's feature x1 w_i + x2 w_j and the boundary's direction w_i + w_j.

    tan = |x1 - x2| sqrt(K) / ((x1 + x2) sqrt(K - 2)), for (...) float in any unit. With x1 = w and x2 = 1 - w it is the
    angle of a blend on the straight line between the unblended features. K is at least 3: two rows of opposite
    direction have no boundary direction.

    Returns:
        (...) float64 degrees in [0, 180]; 0 is on the boundary.

    Raises:
        ValueError: If num_classes is below 3, or a value is not finite.

    Example:
        >>> features = mixup_features(10, 0.3, feature_penalty=1e-4, scale=1.0).value
        >>> round(float(channel_angle(features.x1, features.x2, num_classes=10)), 1)
        3.4
        >>> round(float(channel_angle(torch.tensor(0.3), torch.tensor(0.7), num_classes=10)), 1)
        24.1
    """
    check_at_least(3, num_classes=num_classes)
    check_shape(tuple(x1.shape), of="x1", x2=x2)
    check_finite(x1=x1, x2=x2)
    x1, x2 = x1.to(torch.float64), x2.to(torch.float64)
    return torch.rad2deg(torch.atan2((x1 - x2).abs() * math.sqrt(num_classes / (num_classes - 2)), x1 + x2))


@checked
def transverse_density(
    offset: Tensor | float, *, num_classes: int, feature_penalty: float, scale: float, alpha: float
) -> Tensor:
    """Return the density of delta = x1 - x2 over blends of two classes whose weight is Beta(alpha, alpha).

    The law of the weight carried over from weight to offset. For alpha = 1 and a small penalty it is close to the
    standard logistic density: highest in the middle of the channel, although all weights are equally likely. The offset
    delta is a number or (...) float, in nats; alpha is positive; the other arguments are as of `logit_gain`.

    Returns:
        (...) float64 per nat, at least 0; 0 beyond +-Delta; for alpha below 1 infinite at the two ends.

    Raises:
        ValueError: If num_classes is below 2, an offset is not finite, or a value not positive and finite.
    """
    check_positive(alpha=alpha)
    gain = logit_gain(num_classes, feature_penalty=feature_penalty, scale=scale)
    offset = torch.as_tensor(offset, dtype=torch.float64).detach()
    check_finite(offset=offset)
    weight, slope = weight_at_offset(offset, num_classes=num_classes, gain=gain)
    inside = weight.clamp(0, 1)
    # log(4 w (1 - w)), which a large alpha multiplies: in the middle, where it is small, with its last digits.
    tilt = 1 - 2 * inside
    log_product = torch.where(tilt.abs() < 0.5, (-tilt.square()).log1p(), (4 * inside * (1 - inside)).log())
    log_density = (alpha - 1) * log_product if alpha != 1 else torch.zeros_like(inside)
    log_density = log_density + 2 * math.log(2) - log_beta_peak(alpha)
    is_inside = offset.abs() <= same_class_rise(num_classes, gain=gain)
    return torch.where(is_inside, log_density.exp() * slope, 0.0)


def weight_at_offset(offset: Tensor, *, num_classes: int, gain: float) -> tuple[Tensor, Tensor]:
    """Return the weights w whose blends have x1 - x2 = delta, and dw / d delta; outside [0, 1] beyond +-Delta."""
    # `mixup_features` inverted but for one scalar: s = x1 + x2 solves s D = a K with
    # D = K - 2 + 2 exp(s / 2) cosh(delta / 2), then w = 1/2 + delta / (2 a) + exp(s / 2) sinh(delta / 2) / D.
    half = offset / 2
    # log(2 cosh) without overflow; log(K - 2) is -inf with two classes, which adds nothing below.
    log_cosh = half.abs() + torch.log1p((-2 * half.abs()).exp())
    log_rest = torch.full_like(half, math.log(num_classes - 2) if num_classes > 2 else -math.inf)
    log_target = math.log(gain * num_classes)

    def excess(log_sum: Tensor) -> tuple[Tensor, Tensor]:
        log_pair = log_sum.exp() / 2 + log_cosh
        log_partition = torch.logaddexp(log_pair, log_rest)
        slope = 1 + log_sum.exp() / 2 * (log_pair - log_partition).exp()
        return log_sum + log_partition - log_target, slope

    # Dropping either part of D makes s larger; (s / 2) exp(s / 2) = X gives s / 2 below log(1 + X).
    log_pair_target = log_target - log_cosh - math.log(2.0)
    from_pair = 2 * torch.logaddexp(torch.zeros_like(half), log_pair_target)
    high = torch.minimum(from_pair.log(), log_target - torch.logaddexp(log_cosh, log_rest))
    low = high - excess(high)[0]
    log_sum, _ = increasing_root(excess, low=low, high=high, start=high)

    total = log_sum.exp()
    log_pair = total / 2 + log_cosh
    share = (log_pair - torch.logaddexp(log_pair, log_rest)).exp()  # of the two classes in D
    slant = half.tanh()
    weight = 0.5 + offset / (2 * gain) + share * slant / 2
    # d s / d delta from s D = a K; then share * tanh by the product rule.
    sum_slope = -total * share * slant / 2 / (1 + total * share / 2)
    share_slope = share * (1 - share) * (sum_slope + slant) / 2
    slope = 1 / (2 * gain) + (share_slope * slant + share * (1 - slant * slant) / 2) / 2
    return weight, slope
