"""Straight lines fitted to measured channel coordinates: training without mixing, and squared error under mixup."""

import math

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.theory.channel.curve_families import curve_grid, unit_line
from mixscope.theory.channel.curve_fit import ChannelFit, checked_points
from mixscope.theory.solution import Solution


@checked
def fit_unmixed_line(x1: Tensor, x2: Tensor, weights: Tensor, *, num_classes: int) -> Solution[ChannelFit]:
    """Fit the line between unblended features to a network trained without mixing (erm), with cross-entropy.

    Theory fixes only the ends there, x1 = Delta at w = 1; between them the line is what an affine network would show.
    The gain is the one that puts the ends where the line ends: a = (Delta exp(Delta) + (K - 1) Delta) / K.

    Args:
        x1: (N,) float, in nats.
        x2: (N,) float.
        weights: (N,) float in [0, 1], the share of the first.
        num_classes: K, at least 2.

    Returns:
        The least-squares line, exactly; gain 0 where it falls instead of rising.

    Raises:
        ValueError: As for `fit_mixup_channel`.
    """
    points = checked_points(x1, x2, weights, num_classes)
    slope = _line_slope(points, num_classes)
    rise = max(slope, 0.0)
    gain = rise * (math.exp(min(rise, 700.0)) + num_classes - 1) / num_classes
    return _line_fit(points, num_classes, slope=slope, gain=gain)


@checked
def fit_squared_loss_line(x1: Tensor, x2: Tensor, weights: Tensor, *, num_classes: int) -> Solution[ChannelFit]:
    """Fit the line of the squared-loss theory, x1 = w a / (1 + a), to measured differences of outputs.

    Args:
        x1: (N,) float, output of the first class above the classes outside the blend.
        x2: (N,) float, of the second.
        weights: (N,) float in [0, 1], the share of the first.
        num_classes: K, at least 2.

    Returns:
        The least-squares line, exactly; the gain is infinite where its slope is 1 or more, 0 where it falls.

    Raises:
        ValueError: As for `fit_mixup_channel`.

    Example:
        >>> weights = torch.tensor([0.25, 0.5])
        >>> fit = fit_squared_loss_line(0.75 * weights, 0.75 * (1 - weights), weights, num_classes=3).value
        >>> round(fit.gain, 9), fit.same_class
        (3.0, 0.75)
    """
    points = checked_points(x1, x2, weights, num_classes)
    slope = _line_slope(points, num_classes)
    gain = math.inf if slope >= 1 else max(slope, 0.0) / (1 - slope)
    return _line_fit(points, num_classes, slope=slope, gain=gain)


def _line_slope(points: tuple[Tensor, Tensor], num_classes: int) -> float:
    measured, weights = points
    line = unit_line(weights, num_classes)
    power = float(line.square().sum())
    # With two classes even blends alone say nothing about the slope.
    return float((measured * line).sum()) / power if power > 0 else 0.0


def _line_fit(points: tuple[Tensor, Tensor], num_classes: int, *, slope: float, gain: float) -> Solution[ChannelFit]:
    measured, weights = points
    deviation = measured - slope * unit_line(weights, num_classes)
    curve_weights = curve_grid(weights)
    first, second = slope * unit_line(curve_weights, num_classes)
    value = ChannelFit(
        num_classes=num_classes,
        gain=gain,
        unit=1.0,
        same_class=slope,
        relative_residual=float(torch.linalg.vector_norm(deviation) / torch.linalg.vector_norm(measured)),
        curve_weights=curve_weights,
        curve_x1=first,
        curve_x2=second,
    )
    return Solution(value, residual=0.0, iterations=0, is_converged=True)
