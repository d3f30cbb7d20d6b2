"""Theory fitted to a network: measured channel coordinates (x1, x2) against the weight, and the curve closest to them.

In nats the coordinates depend on the classifier's scale m and the feature penalty through the gain a of `logit_gain`
alone, so a is all that they can tell. Lengths of features are in units of feature space and add m; the penalty follows.
"""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor

from mixscope._checks import check_at_least, check_finite, check_ndim, check_positive, check_same_length
from mixscope._kinds import checked
from mixscope.theory.channel_curves import LOG_GAIN_RANGE, curve_grid, mixup_points
from mixscope.theory.mixed_features import checked_weights, same_class_rise
from mixscope.theory.solution import NotConvergedWarning, Solution, solved

NUM_TRIALS = 64  # gains looked at first, a factor 2.2 apart: the distance to a curve may have several minima
NUM_GROUPS = 512  # points of neighbouring weights stand together in that first look
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
        >>> from mixscope.theory.channel_curves import mixup_curve
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

    def distance_at(log_gain: float) -> _Distance:
        fits = _distances(measured, weights, torch.ones_like(weights), log_gain, num_classes, has_free_unit)
        return _Distance(*(float(part) for part in fits))

    def slope_at(log_gain: float) -> float:
        return distance_at(log_gain).slope

    trials = _distances(*_grouped(measured, weights), grid[:, None], num_classes, has_free_unit)
    best, trial_gains = int(trials[0].argmin()), grid.tolist()
    low, high = max(best - 1, 0), min(best + 1, NUM_TRIALS - 1)
    while low > 0 and slope_at(trial_gains[low]) > 0:
        low -= 1
    while high < NUM_TRIALS - 1 and slope_at(trial_gains[high]) < 0:
        high += 1
    log_gain, steps = trial_gains[best], NUM_TRIALS
    if slope_at(trial_gains[low]) < 0 < slope_at(trial_gains[high]):
        bracket = trial_gains[low], trial_gains[high]
        log_gain, details = brentq(slope_at, *bracket, xtol=1e-14, rtol=1e-14, full_output=True)
        steps += details.iterations

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
    if trial_gains[1] < log_gain < trial_gains[-2] and fit.unit * fit.change > MIN_CHANGE * math.sqrt(power):
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


def _distances(
    measured: Tensor, weights: Tensor, counts: Tensor, log_gain: Tensor | float, num_classes: int, has_free_unit: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the fields of `_Distance` for one gain, or for gains of shape (T, 1), each point standing for many."""

    def inner(first: Tensor, second: Tensor) -> Tensor:
        return (counts * first * second).sum(dim=(0, -1))

    curve, slopes = mixup_points(weights, log_gain, num_classes)
    data = measured.view(2, *[1] * (curve.ndim - 2), -1)
    unit = torch.ones(curve.shape[1:-1], dtype=torch.float64, device=weights.device)
    if has_free_unit:
        # A curve at the origin has no unit: 0 / 0 becomes 0.
        unit = (inner(data, curve) / inner(curve, curve)).nan_to_num(0.0).clamp(min=0.0)
        # What the gain changes and the unit could not.
        slopes = slopes - (inner(slopes, curve) / inner(curve, curve)).nan_to_num(0.0)[..., None] * curve
    deviation = data - unit[..., None] * curve
    return inner(deviation, deviation), -inner(deviation, slopes), inner(slopes, slopes).sqrt(), unit


def _grouped(measured: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the means of neighbouring points, (2, G) and (G,), and how many each stands for."""
    order = weights.argsort()
    size = math.ceil(len(weights) / NUM_GROUPS)
    index = torch.arange(len(weights), device=weights.device) // size
    groups = int(index[-1]) + 1
    counts = torch.bincount(index, minlength=groups).to(torch.float64)
    stacked = torch.cat([measured, weights[None]])[:, order]
    means = stacked.new_zeros(3, groups).index_add_(1, index, stacked) / counts
    return means[:2], means[2].clamp(0, 1), counts
