"""Fit of the theory to a network: the curve or straight line closest to measured channel coordinates (x1, x2).

In nats the coordinates depend on the classifier's scale m and the feature penalty through the gain a of `logit_gain`
alone, so a is all that they can tell.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_ndim, check_positive, check_same_length
from mixscope.base.kinds import checked
from mixscope.theory.channel.mixed_features import same_class_rise
from mixscope.theory.channel.soft_labels import pair_rises, rise_slopes
from mixscope.theory.solution import Solution, solved
from mixscope.theory.weight_law import checked_weights

GAIN_RANGE = (1e-6, 1e15)  # where a gain is looked for
NUM_TRIALS = 64  # gains looked at first, a factor 2.2 apart: the distance to a curve may have several minima
BLOCK_POINTS = 2**18  # of the curves computed at a time in that first look
NUM_CURVE_POINTS = 101
ROOT_OPTIONS = {"xtol": 1e-14, "rtol": 1e-14, "full_output": True}
TOLERANCE = 1e-9  # of the optimality condition, relative to the data
MIN_CHANGE = 1e-6  # of the curve per nat of log(a), relative to the data; rounding decides about smaller ones

Points = tuple[Tensor, Tensor]  # coordinates (2, N) and weights (N,), float64


@dataclass(frozen=True)
class ChannelFit:
    """A curve fitted to measured coordinates of blends of two classes.

    Attributes:
        num_classes: K.
        gain: a of `logit_gain`; infinite for a squared-loss line that is too steep for any penalty.
        same_class: The curve's x1 at w = 1, the unblended example (x1 - x2 with two classes).
        relative_residual: Root-mean-square distance of the points from the curve over their root-mean-square length;
            0 is a perfect fit, 1 what the origin alone achieves.
        curve_weights: (101,) float64 from 0 to 1.
        curve_x1: (101,) float64, the fitted curve there, in the data's unit.
        curve_x2: (101,) float64.
    """

    num_classes: int
    gain: float
    same_class: float
    relative_residual: float
    curve_weights: Tensor
    curve_x1: Tensor
    curve_x2: Tensor

    @checked
    def feature_penalty(self, *, scale: float) -> float:
        """Return the feature penalty that gives the gain to a classifier whose rows have length `scale`.

        Raises:
            ValueError: If scale is not positive and finite.
        """
        check_positive(scale=scale)
        square = scale * scale * self.num_classes / (self.num_classes - 1)
        return square / self.gain if self.gain > 0 else math.inf


@checked
def fit_mixup_channel(x1: Tensor, x2: Tensor, weights: Tensor, *, num_classes: int) -> Solution[ChannelFit]:
    """Fit the gain of the mixup theory to measured coordinates in nats, by least squares.

    The gain is looked for between 1e-6 and 1e15, over the whole range first: noise cannot trap it beside the optimum.
    Source: Fisher et al. 2024, unconstrained model; the fit is defined here.

    Args:
        x1: (N,) float, logit of each blend's first class above the classes outside the blend.
        x2: (N,) float, of its second class. With two classes x1 = -x2.
        weights: (N,) float in [0, 1], the share of the first. Unblended examples may stand at 0 or 1.
        num_classes: K, at least 2.

    Returns:
        The fit. The residual is |sum of deviations times the curve's derivative| over the product of the derivative's
        and the data's lengths, 0 at a minimum; tolerance 1e-9. Where the data do not bound the gain, such as
        coordinates around 0, which ask for a gain at an end of the range, the best comes back, not converged.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a weight is outside [0, 1], there is no point, all
            coordinates are 0, or num_classes is below 2.

    Example:
        >>> from mixscope.theory.channel.mixed_features import mixup_features
        >>> curve = mixup_features(10, torch.tensor([0.1, 0.5, 0.8]), feature_penalty=1e-3, scale=1.0).value
        >>> fit = fit_mixup_channel(curve.x1, curve.x2, curve.weights, num_classes=10).value
        >>> round(fit.feature_penalty(scale=1.0), 9), round(fit.relative_residual, 9)
        (0.001, 0.0)
    """
    measured, weights = points = checked_points(x1, x2, weights, num_classes)
    low_end, high_end = (math.log(end) for end in GAIN_RANGE)
    grid = torch.linspace(low_end, high_end, NUM_TRIALS, dtype=torch.float64, device=weights.device)

    @cache
    def distance_at(log_gain: float) -> _Distance:
        return _Distance(*(float(part) for part in _distances(measured, *mixup_points(weights, log_gain, num_classes))))

    some = grid[:, None].split(max(1, BLOCK_POINTS // len(weights)))
    slopes = torch.cat([_distances(measured, *mixup_points(weights, part, num_classes))[1] for part in some])
    trials = grid.tolist()
    # A slope of exactly 0 is a minimum too: a trial may be the very gain.
    turns = ((slopes[:-1] <= 0) & (slopes[1:] >= 0)).nonzero().flatten().tolist()
    places, steps = [trials[0], trials[-1]], NUM_TRIALS
    for turn in turns:
        low, high = trials[turn : turn + 2]
        places += [low, high]
        if distance_at(low).slope < 0 < distance_at(high).slope:
            root, details = brentq(lambda place: distance_at(place).slope, low, high, **ROOT_OPTIONS)
            places.append(root)
            steps += details.iterations
    log_gain = min(places, key=lambda place: distance_at(place).square)

    fit, gain, size = distance_at(log_gain), math.exp(log_gain), float(torch.linalg.vector_norm(measured))
    rise = same_class_rise(num_classes, gain=gain)
    value = curve_through(
        points, num_classes, lambda shares: mixup_points(shares, log_gain, num_classes)[0], gain=gain, same_class=rise
    )
    is_bounded = trials[0] < log_gain < trials[-1] and fit.change > MIN_CHANGE * size
    ends = "[{:.0e}, {:.0e}]".format(*GAIN_RANGE)
    return solved(
        value,
        residual=abs(fit.slope) / (fit.change * size) if is_bounded else 1.0,
        iterations=steps,
        tolerance=TOLERANCE,
        solver="the fit of a channel",
        reason="" if is_bounded else f"the data do not bound the gain: {gain:.3g} is the best in {ends}",
    )


def checked_points(x1: Tensor, x2: Tensor, weights: Tensor, num_classes: int) -> Points:
    """Return the measured coordinates (2, N) and the weights (N,) in float64."""
    check_at_least(2, num_classes=num_classes)
    check_ndim(1, x1=x1, x2=x2, weights=weights)
    check_same_length(x1=x1, x2=x2, weights=weights)
    check_finite(x1=x1, x2=x2)
    shares = checked_weights(weights, name="weights")
    measured = torch.stack([part.detach().to(shares.device, torch.float64) for part in (x1, x2)])
    if not bool(measured.any()):
        raise ValueError(f"x1 and x2 must hold a value that is not 0, got {len(shares)} points")
    return measured, shares


def curve_through(
    points: Points, num_classes: int, curve: Callable[[Tensor], Tensor], *, gain: float, same_class: float
) -> ChannelFit:
    """Return the fit of a curve, which takes (N,) weights to (2, N) coordinates."""
    measured, weights = points
    grid = torch.linspace(0, 1, NUM_CURVE_POINTS, dtype=torch.float64, device=weights.device)
    first, second = curve(grid)
    distance = torch.linalg.vector_norm(measured - curve(weights)) / torch.linalg.vector_norm(measured)
    return ChannelFit(num_classes, gain, same_class, float(distance), grid, first, second)


def mixup_points(weights: Tensor, log_gain: Tensor | float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return (2, ...), the theory's coordinates, and (2, ...), their derivative in log(a); both arguments broadcast."""
    gain = torch.as_tensor(log_gain, dtype=torch.float64, device=weights.device).exp()
    gain, weights = torch.broadcast_tensors(gain, weights)
    offsets, total, rises, log_scale = pair_rises(weights, gain, num_classes=num_classes)
    # Offsets and base are proportional to a: their derivatives in log(a) are themselves.
    slopes = rise_slopes(rises, log_scale, offset_slopes=offsets, base_slope=total, num_classes=num_classes)
    if num_classes == 2:
        rises, slopes = ((part - part.flip(-1)) / 2 for part in (rises, slopes))
    return rises.movedim(-1, 0), slopes.movedim(-1, 0)


class _Distance(NamedTuple):
    square: float  # sum of squared deviations
    slope: float  # half its derivative in log(a)
    change: float  # length of the curve's derivative in log(a)


def _distances(measured: Tensor, curve: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the fields of `_Distance` for one curve (2, N), or for T of them (2, T, N)."""
    deviation = measured.view(2, *[1] * (curve.ndim - 2), -1) - curve
    sums = ((first * second).sum(dim=(0, -1)) for first, second in ((deviation, deviation), (deviation, slopes)))
    square, product = sums
    return square, -product, slopes.square().sum(dim=(0, -1)).sqrt()


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
