"""Straight lines fitted to measured channel coordinates: training without mixing, and squared error under mixup."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.theory.channel.curve_fit import ChannelFit, checked_points, curve_through
from mixscope.theory.solution import Solution


@checked
def fit_unmixed_line(x1: Tensor, x2: Tensor, weights: Tensor, *, num_classes: int) -> Solution[ChannelFit]:
    """Fit the line between unblended features to a network trained without mixing (erm), with cross-entropy.

    Theory fixes only the ends there, x1 = Delta at w = 1; between them the line is what an affine network would show.
    The gain is the one that puts the ends where the line ends: a = (Delta exp(Delta) + (K - 1) Delta) / K.
    Arguments and errors as of `fit_mixup_channel`.

    Returns:
        The least-squares line, exactly; gain 0 where it falls instead of rising.
    """

    def gain(slope: float) -> float:
        rise = max(slope, 0.0)
        return rise * (math.exp(min(rise, 700.0)) + num_classes - 1) / num_classes

    return _fit_line(x1, x2, weights, num_classes, gain)


@checked
def fit_squared_loss_line(x1: Tensor, x2: Tensor, weights: Tensor, *, num_classes: int) -> Solution[ChannelFit]:
    """Fit the line of the squared-loss theory, x1 = w a / (1 + a), to measured differences of outputs.

    Arguments and errors as of `fit_mixup_channel`, outputs in place of logits.

    Returns:
        The least-squares line, exactly; the gain is infinite where its slope is 1 or more, 0 where it falls.

    Example:
        >>> weights = torch.tensor([0.25, 0.5])
        >>> fit = fit_squared_loss_line(0.75 * weights, 0.75 * (1 - weights), weights, num_classes=3).value
        >>> round(fit.gain, 9), fit.same_class
        (3.0, 0.75)
    """
    return _fit_line(
        x1, x2, weights, num_classes, lambda slope: math.inf if slope >= 1 else max(slope, 0.0) / (1 - slope)
    )


def _fit_line(
    x1: Tensor, x2: Tensor, weights: Tensor, num_classes: int, gain_of: Callable[[float], float]
) -> Solution[ChannelFit]:
    measured, shares = points = checked_points(x1, x2, weights, num_classes)

    def unit_line(weights: Tensor) -> Tensor:
        line = torch.stack([weights, 1 - weights])
        return line if num_classes > 2 else line - 0.5

    line = unit_line(shares)
    power = float(line.square().sum())
    # With two classes even blends alone say nothing about the slope.
    slope = float((measured * line).sum()) / power if power > 0 else 0.0
    value = curve_through(
        points, num_classes, lambda shares: slope * unit_line(shares), gain=gain_of(slope), same_class=slope
    )
    return Solution(value, residual=0.0, iterations=0, is_converged=True)
