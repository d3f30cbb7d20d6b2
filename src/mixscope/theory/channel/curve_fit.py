"""Theory fitted to a network: measured channel coordinates (x1, x2) against the weight, and the curve closest to them.

In nats the coordinates depend on the classifier's scale m and the feature penalty through the gain a of `logit_gain`
alone, so a is all that they can tell. Lengths of features are in units of feature space and add m; the penalty follows.
"""

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_ndim, check_positive, check_same_length
from mixscope.base.kinds import checked
from mixscope.theory.channel.curve_families import LOG_GAIN_RANGE, curve_grid, mixup_points
from mixscope.theory.channel.mixed_features import checked_weights, same_class_rise
from mixscope.theory.solution import NotConvergedWarning, Solution, solved

NUM_TRIALS = 64  # gains looked at first, a factor 2.2 apart: the distance to a curve may have several minima
BLOCK_POINTS = 2**18  # of the curves computed at a time in that first look
ROOT_OPTIONS = {"xtol": 1e-14, "rtol": 1e-14, "full_output": True}
TOLERANCE = 1e-9  # of the optimality condition, relative to the data
MIN_CHANGE = 1e-6  # of the curve per nat of log(a), relative to the data; rounding decides about smaller ones


@dataclass(frozen=True)
class ChannelFit:
    """A curve fitted to measured coordinates of blends of two classes.

    Attributes:
        num_classes: K.
        gain: a of `logit_gain`; infinite for a squared-loss line that is too steep for any penalty.
        unit: Factor between the measured coordinates and the theory's; 1 unless it was fitted.
        same_class: The curve's x1 at w = 1, the unblended example (x1 - x2 with two classes), in the data's unit.
        relative_residual: Root-mean-square distance of the points from the curve over their root-mean-square length;
            0 is a perfect fit, 1 what the origin alone achieves.
        curve_weights: (101,) float64 from 0 to 1.
        curve_x1: (101,) float64, the fitted curve there, in the data's unit.
        curve_x2: (101,) float64.
    """

    num_classes: int
    gain: float
    unit: float
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
        >>> from mixscope.theory.channel.curve_families import mixup_curve
        >>> weights = torch.tensor([0.1, 0.5, 0.8])
        >>> fit = fit_mixup_channel(*mixup_curve(10)(weights, math.log(500.0)), weights, num_classes=10).value
        >>> round(fit.gain, 6), round(fit.relative_residual, 9)
        (500.0, 0.0)
    """
    return _fit_gain(checked_points(x1, x2, weights, num_classes), num_classes, has_free_unit=False)


@checked
def fit_mixup_shape(x1: Tensor, x2: Tensor, weights: Tensor, *, num_classes: int) -> Solution[ChannelFit]:
    """Fit gain and unit of the mixup theory: only the shape of the curve counts, not how large the logits are.

    For coordinates that are not nats, or of a network whose logits are sharpened or softened as a whole. At small
    gains the curve is a straight line and its unit arbitrary: then the fit comes back not converged.

    Args:
        x1: (N,) float, in any unit.
        x2: (N,) float, in the same.
        weights: (N,) float in [0, 1], the share of the first.
        num_classes: K, at least 2.

    Returns:
        As for `fit_mixup_channel`.

    Raises:
        ValueError: As for `fit_mixup_channel`.
    """
    return _fit_gain(checked_points(x1, x2, weights, num_classes), num_classes, has_free_unit=True)


def checked_points(x1: Tensor, x2: Tensor, weights: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
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


def _fit_gain(points: tuple[Tensor, Tensor], num_classes: int, *, has_free_unit: bool) -> Solution[ChannelFit]:
    measured, weights = points
    power = float(measured.square().sum())
    grid = torch.linspace(*LOG_GAIN_RANGE, NUM_TRIALS, dtype=torch.float64, device=weights.device)

    @cache
    def distance_at(log_gain: float) -> _Distance:
        curve, slopes = mixup_points(weights, log_gain, num_classes)
        return _Distance(*(float(part) for part in _distances(measured, curve, slopes, has_free_unit)))

    some = grid[:, None].split(max(1, BLOCK_POINTS // len(weights)))
    trials = [_distances(measured, *mixup_points(weights, part, num_classes), has_free_unit)[1] for part in some]
    trial_gains, slopes = grid.tolist(), torch.cat(trials)
    # A slope of exactly 0 is a minimum too: a trial may be the very gain.
    turns = ((slopes[:-1] <= 0) & (slopes[1:] >= 0)).nonzero().flatten().tolist()
    places, steps = [trial_gains[0], trial_gains[-1]], NUM_TRIALS
    for turn in turns:
        low, high = trial_gains[turn : turn + 2]
        places += [low, high]
        if distance_at(low).slope < 0 < distance_at(high).slope:
            root, details = brentq(lambda place: distance_at(place).slope, low, high, **ROOT_OPTIONS)
            places.append(root)
            steps += details.iterations
    log_gain = min(places, key=lambda place: distance_at(place).square)

    fit = distance_at(log_gain)
    curve_weights = curve_grid(weights)
    curve = fit.unit * mixup_points(curve_weights, log_gain, num_classes)[0]
    value = ChannelFit(
        num_classes=num_classes,
        gain=math.exp(log_gain),
        unit=fit.unit,
        same_class=fit.unit * same_class_rise(num_classes, gain=math.exp(log_gain)),
        relative_residual=math.sqrt(fit.square / power),
        curve_weights=curve_weights,
        curve_x1=curve[0],
        curve_x2=curve[1],
    )
    if trial_gains[0] < log_gain < trial_gains[-1] and fit.unit * fit.change > MIN_CHANGE * math.sqrt(power):
        residual = abs(fit.slope) / (fit.change * math.sqrt(power))
        return solved(value, residual=residual, iterations=steps, tolerance=TOLERANCE, solver="the fit of a channel")
    low_end, high_end = (math.exp(end) for end in LOG_GAIN_RANGE)
    reason = f"the data do not bound the gain: {value.gain:.3g} is the best in [{low_end:.0e}, {high_end:.0e}]"
    warnings.warn(f"the fit of a channel did not converge: {reason}", NotConvergedWarning, stacklevel=3)
    return Solution(value, 1.0, steps, False, reason)


class _Distance(NamedTuple):
    square: float  # sum of squared deviations
    slope: float  # sum of deviations times the derivative: half the derivative of the above in log(a), over the unit
    change: float  # length of the derivative
    unit: float


def _distances(measured: Tensor, curve: Tensor, slopes: Tensor, has_free_unit: bool) -> tuple[Tensor, ...]:
    """Return the fields of `_Distance` for one curve (2, N), or for T of them (2, T, N)."""

    def inner(first: Tensor, second: Tensor) -> Tensor:
        return (first * second).sum(dim=(0, -1))

    data = measured.view(2, *[1] * (curve.ndim - 2), -1)
    unit = torch.ones(curve.shape[1:-1], dtype=torch.float64, device=curve.device)
    if has_free_unit:
        # A curve at the origin has no unit: 0 / 0 becomes 0.
        unit = (inner(data, curve) / inner(curve, curve)).nan_to_num(0.0).clamp(min=0.0)
        # What the gain changes and the unit could not.
        slopes = slopes - (inner(slopes, curve) / inner(curve, curve)).nan_to_num(0.0)[..., None] * curve
    deviation = data - unit[..., None] * curve
    return inner(deviation, deviation), -inner(deviation, slopes), inner(slopes, slopes).sqrt(), unit
