"""Logits of a free feature under a simplex classifier, optimal for a soft label: one scalar equation per label.

The classifier is a simplex equiangular tight frame of K rows of length m. The feature that minimises
cross-entropy + (feature penalty / 2) |h|^2 has logits z = a (y - p) with p = softmax(z) and the logit gain
a = m^2 K / ((K - 1) * feature penalty); h = W^T (y - p) / feature penalty.
Source: the unconstrained model of Fisher et al. 2024, section 3; solved here.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_positive
from mixscope.base.kinds import checked
from mixscope.theory.roots import SMALL_STEP, increasing_root
from mixscope.theory.solution import Solution, solved

TOLERANCE = 1e-12  # relative; rounding alone leaves about 1e-14
SUM_TOLERANCE = 1e-4  # of a label; float16 rounds to 1e-3 of a share, float32 to 1e-7
MAX_INNER_STEPS = 60


@dataclass(frozen=True)
class SoftLabelLogits:
    """The optimal logits for soft labels. Over the K classes of a label they sum to zero.

    The feature is h = (K - 1) / (m^2 K) times the sum over all classes of logit times classifier row.

    Attributes:
        logits: (..., R) float64, of the classes whose label values were given, in nats.
        base_logit: (...) float64, of the classes with the smallest value (0 where classes are left over).
        rises: (..., R) float64, logits minus base_logit, at least 0 and accurate also where tiny.
    """

    logits: Tensor
    base_logit: Tensor
    rises: Tensor


@checked
def logit_gain(num_classes: int, *, feature_penalty: float, scale: float) -> float:
    """Return a = m^2 K / ((K - 1) * feature penalty), by which the optimal logits exceed the errors: z = a (y - p).

    In nats. The geometry depends on scale and penalty through it alone: the length m of the classifier's rows and the
    factor of |h|^2 / 2, both positive. K is at least 2.

    Raises:
        ValueError: If num_classes is below 2, or a value is not positive and finite.

    Example:
        >>> round(logit_gain(3, feature_penalty=0.1, scale=1.0), 12)
        15.0
    """
    check_at_least(2, num_classes=num_classes)
    check_positive(feature_penalty=feature_penalty, scale=scale)
    gain = scale * scale / feature_penalty * num_classes / (num_classes - 1)
    if not 0 < gain < math.inf:
        raise ValueError(f"feature_penalty and scale must give a logit gain that is positive and finite, got {gain}")
    return gain


@checked
def soft_label_logits(label_values: Tensor, *, num_classes: int, gain: float) -> Solution[SoftLabelLogits]:
    """Solve z = a (y - softmax(z)) for soft labels, given by their values on some classes or all.

    With t = a p_base the rise x of a class over the smallest label value solves x + t expm1(x) = a (y - y_base), and
    K t = a K y_base + sum of all rises: one increasing equation in log(t). No difference of nearly equal numbers is
    ever taken, so the answer keeps its digits for any gain.

    Source: Fisher et al. 2024, unconstrained model; derived.

    Args:
        label_values: (..., R) float, at least 0: a dense label has R = K; the label of P blended classes R = P, and the
            classes that are left over have the label 0.
        num_classes: K, at least 2.
        gain: a of `logit_gain`, positive.

    Returns:
        The logits. The residual is the largest over classes of |z - a y + a p| / (|z| + a y + a p), the equation's
        error relative to its own terms, with p computed afresh from z; tolerance 1e-12. Labels are normalised.

    Raises:
        ValueError: If a value is negative or not finite, labels do not sum to 1 or have more than K values, num_classes
            is below 2, or the gain is not positive and finite.

    Example:
        >>> solution = soft_label_logits(torch.tensor([[0.5, 0.3, 0.2]]), num_classes=1000, gain=50.0)
        >>> [round(float(logit), 4) for logit in solution.value.logits[0]], solution.is_converged
        ([6.8665, 6.1493, 5.4778], True)
    """
    values = _checked_labels(label_values, num_classes=num_classes)
    check_positive(gain=gain)
    base = values.amin(dim=-1) if values.shape[-1] == num_classes else torch.zeros_like(values[..., 0])
    rises, _, steps = solve_rises(gain * (values - base[..., None]), gain * num_classes * base, num_classes=num_classes)
    base_logit = -rises.sum(dim=-1) / num_classes
    value = SoftLabelLogits(logits=rises + base_logit[..., None], base_logit=base_logit, rises=rises)
    residual = _stationarity_residual(values, value, num_classes=num_classes, gain=gain)
    return solved(value, residual=residual, iterations=steps, tolerance=TOLERANCE, solver="soft_label_logits")


def solve_rises(offsets: Tensor, base: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor, int]:
    """Solve K t = base + sum_r x_r with x_r + t expm1(x_r) = offsets_r: rises x (..., R), log(t) (...), and the steps.

    The offsets a (y - y_base) are (..., R), the base a K y_base is (...), both at least 0 and never both 0.
    """
    log_classes = math.log(num_classes)
    rises = torch.full_like(offsets, math.inf)

    def excess(point: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal rises
        scale = point.exp()[..., None]
        rises = _rise(offsets, scale, rises)
        total = base + rises.sum(dim=-1)
        # t expm1(x) = offset - x, without the digits that the difference would lose.
        grown = scale * rises.expm1()
        slope = 1 + (grown / (1 + scale + grown)).sum(dim=-1) / total
        return point + log_classes - total.log(), slope

    # Every rise is at most its offset, so t is at most gain / K; and the larger t, the smaller the rises.
    high = (base + offsets.sum(dim=-1)).log() - log_classes
    low = high - excess(high)[0]
    point, steps = increasing_root(excess, low=low, high=high, start=low)
    return _rise(offsets, point.exp()[..., None], rises), point, steps


def pair_rises(weights: Tensor, gain: Tensor | float, *, num_classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return offsets (..., 2) and base (...) of `solve_rises` for blends of two classes, the rises, and log(t)."""
    values, gains = torch.stack([weights, 1 - weights], dim=-1), torch.as_tensor(gain, dtype=torch.float64)
    base = values.amin(dim=-1) if num_classes == 2 else torch.zeros_like(weights)
    offsets, total = gains[..., None] * (values - base[..., None]), gains * num_classes * base
    rises, log_scale, _ = solve_rises(offsets, total, num_classes=num_classes)
    return offsets, total, rises, log_scale


def rise_slopes(
    rises: Tensor, log_scale: Tensor, *, offset_slopes: Tensor, base_slope: Tensor, num_classes: int
) -> Tensor:
    """Return (..., R), how the rises of `solve_rises` change when its offsets and base change at the given rates."""
    scale, grown = log_scale.exp()[..., None], rises.expm1()
    stiffness = 1 + scale * (1 + grown)
    total_slope = base_slope + (offset_slopes / stiffness).sum(dim=-1)
    rate = total_slope / (num_classes + (grown / stiffness).sum(dim=-1))
    return (offset_slopes - rate[..., None] * grown) / stiffness


def _stationarity_residual(values: Tensor, found: SoftLabelLogits, *, num_classes: int, gain: float) -> float:
    """Return the largest |z - a y + a p| / (|z| + a y + a p) over all classes, p = softmax(z) computed from z."""
    left_over = num_classes - values.shape[-1]
    powers = found.rises.exp()
    share = gain / (left_over + powers.sum(dim=-1))  # a p of the classes with the smallest label
    logits, labels, probabilities = found.logits, gain * values, powers * share[..., None]
    worst = ((logits - labels + probabilities).abs() / (logits.abs() + labels + probabilities)).amax(dim=-1)
    if left_over:
        worst = torch.maximum(worst, (found.base_logit + share).abs() / (found.base_logit.abs() + share))
    return float(worst.max()) if worst.numel() else 0.0


def _rise(offsets: Tensor, scale: Tensor, guess: Tensor) -> Tensor:
    """Solve x + t expm1(x) = b by Halley's steps from a guess, held below the two bounds that the terms give."""
    upper = torch.minimum(offsets / (1 + scale), (offsets / scale).log1p())
    rises = torch.minimum(guess, upper)
    for _ in range(MAX_INNER_STEPS):
        grown = scale * rises.expm1()
        curvature = grown + scale
        slope = 1 + curvature
        newton = (rises + grown - offsets) / slope
        step = newton / (1 - 0.5 * newton * (curvature / slope))
        following = torch.minimum((rises - step).clamp(min=0.0), upper)
        is_settled = bool(((following - rises).abs() <= SMALL_STEP * following).all())
        rises = following
        if is_settled:
            break
    return rises


def _checked_labels(label_values: Tensor, *, num_classes: int) -> Tensor:
    """Return the normalised labels in float64."""
    check_at_least(2, num_classes=num_classes)
    check_finite(label_values=label_values)
    if label_values.ndim < 1 or not 1 <= label_values.shape[-1] <= num_classes:
        shape = f"got shape {tuple(label_values.shape)}"
        raise ValueError(f"label_values must have a last dimension of 1 to num_classes = {num_classes} values, {shape}")
    values = label_values.detach().to(torch.float64)
    if bool((values < 0).any()):
        raise ValueError(f"label_values must be at least 0, got {float(values.min())}")
    total = values.sum(dim=-1, keepdim=True)
    if bool(((total - 1).abs() > SUM_TOLERANCE).any()):
        worst = float((total - 1).abs().max())
        raise ValueError(f"label_values must sum to 1, got labels that are off by {worst:.2g}")
    return values / total
