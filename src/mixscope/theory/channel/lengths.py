"""Scale and feature penalty of the mixup theory, from measured channel coordinates and lengths of features."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim, check_same_length
from mixscope.base.kinds import checked
from mixscope.theory.channel.curve_families import mixup_curve
from mixscope.theory.channel.curve_fit import ChannelFit, fit_mixup_channel
from mixscope.theory.channel.mixed_features import checked_weights
from mixscope.theory.solution import Solution


@dataclass(frozen=True)
class ScaleAndPenalty:
    """Both parameters of the model, read off coordinates and lengths.

    Attributes:
        channel: The fit of the coordinates.
        scale: Length m of the classifier's rows.
        feature_penalty: Factor of |h|^2 / 2.
        length_residual: Root-mean-square distance of the lengths from the fitted ones over their root-mean-square.
    """

    channel: ChannelFit
    scale: float
    feature_penalty: float
    length_residual: float


@checked
def fit_scale_and_penalty(
    x1: Tensor, x2: Tensor, lengths: Tensor, weights: Tensor, *, num_classes: int
) -> Solution[ScaleAndPenalty]:
    """Fit both parameters of the mixup theory: the gain to the coordinates, then the scale to the features' lengths.

    The coordinates do not depend on the scale at a given gain, and |h| = (K - 1) / (m K) times a length in nats that
    the gain decides; so m is a least-squares factor, and the penalty m^2 K / ((K - 1) a).

    Args:
        x1: (N,) float, in nats.
        x2: (N,) float.
        lengths: (N,) float, |h| of each blend, centred and projected on the span of the centred classifier.
        weights: (N,) float in [0, 1], the share of the first.
        num_classes: K, at least 2.

    Returns:
        Both, with the residual of `fit_mixup_channel`.

    Raises:
        ValueError: As for `fit_mixup_channel`, or if a length is negative or all are 0, or all blends of
            two classes are even.
    """
    check_same_length(x1=x1, lengths=lengths)
    check_ndim(1, lengths=lengths)
    check_finite(lengths=lengths)
    fit = fit_mixup_channel(x1, x2, weights, num_classes=num_classes)
    measured = lengths.detach().to(weights.device, torch.float64)
    if bool((measured < 0).any()) or not bool((measured > 0).any()):
        raise ValueError(f"lengths must be at least 0 and not all 0, got from {measured.min()} to {measured.max()}")
    first, second = mixup_curve(num_classes)(checked_weights(weights, name="weights"), math.log(fit.value.gain))
    product = 2 * first * second * (num_classes - 2) / (num_classes - 1)
    in_nats = ((first - second).square() + product).sqrt() * (num_classes - 1) / num_classes
    if not bool(in_nats.any()):
        raise ValueError("weights must not all be 1/2 with two classes: theory puts every such blend at the origin")
    inverse = float((measured @ in_nats) / (in_nats @ in_nats))
    distance = torch.linalg.vector_norm(measured - inverse * in_nats) / torch.linalg.vector_norm(measured)
    penalty = fit.value.feature_penalty(scale=1 / inverse)
    value = ScaleAndPenalty(fit.value, scale=1 / inverse, feature_penalty=penalty, length_residual=float(distance))
    return Solution(value, fit.residual, fit.iterations, fit.is_converged, fit.reason)
