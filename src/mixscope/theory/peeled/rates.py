"""Rates of collapse along a path: exponents with intervals, beside those that theory predicts."""

import math
from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim, check_positive, check_same_length
from mixscope.base.kinds import checked
from mixscope.theory.peeled.path_record import FlowRecord

NUM_BLOCKS = 5
CONFIDENCE = 0.95

# Exponents of log t on the layer-peeled flow from a generic start with D > K - 1. The conserved W^T W - H H^T leaves
# the centred geometry at 1 / rho^2 ~ 1 / log t and the frozen mean classifier leaves W itself at 1 / rho; the scatter
# within the plane of the class means is of second order. Source: Ji et al. 2022 (-1); the rest derived.
PREDICTED_RATES = {
    "nc1_trace": -1.0,
    "nc1_pinv": -3.0,
    "nc2_equinorm_means": -1.0,
    "nc2_equinorm_weights": -1.0,
    "nc2_equinorm_weights_uncentered": -0.5,
    "nc2_equiangular_means": -1.0,
    "nc2_equiangular_weights": -1.0,
    "nc2_equiangular_weights_uncentered": -0.5,
    "nc3_duality": -1.0,
    "nc3_duality_uncentered": -0.5,
}
# These two are series in 1 / rho; all others in 1 / rho^2 ~ 1 / log t.
HALF_POWER_SERIES = {"nc2_equinorm_weights_uncentered", "nc2_equiangular_weights_uncentered"}


@dataclass(frozen=True)
class RateEstimate:
    """An exponent p of value ~ position^p.

    Attributes:
        exponent: The least-squares slope of log value on log position.
        low: Lower end of the 95 % interval: Student's t with four degrees of freedom, from leaving out one of five
            consecutive blocks at a time. On a smooth curve it says how far the curve is from the law, not how noisy.
        high: Upper end.
    """

    exponent: float
    low: float
    high: float


@checked
def power_law_rate(positions: Tensor, values: Tensor) -> RateEstimate:
    """Fit log value = a + p log position, both (T,) float.

    Raises:
        ValueError: If lengths differ, there are fewer than ten points, positions do not increase, or a number is not
            positive and finite.
    """
    positions, values = _checked(positions, values)
    return _jackknife([positions.log()], values)


@checked
def limiting_rate(positions: Tensor, values: Tensor, *, correction: float = 1.0) -> RateEstimate:
    """Fit log value = a + p log position + b / position^correction: the exponent at infinity.

    The centred metrics of the flow are powers of rho^2 = (log t + c) / gamma, whose slope against log t reaches its
    limit as 1 / log t; lengths and angles of the uncentred classifier are series in 1 / rho and reach it as
    (log t)^(-1/2). This fit takes the first such term off instead of waiting. Source: derived.

    Raises:
        ValueError: As for `power_law_rate`, or if correction is not positive and finite.

    Example:
        >>> positions = torch.linspace(10, 100, 20, dtype=torch.float64)
        >>> [round(fit(positions, 1 / (positions + 1)).exponent, 2) for fit in (power_law_rate, limiting_rate)]
        [-0.97, -1.0]
    """
    check_positive(correction=correction)
    positions, values = _checked(positions, values)
    scale = float(positions[0])  # keeps the columns of one size
    return _jackknife([positions.log(), (scale / positions) ** correction], values)


@checked
def collapse_rates(record: FlowRecord, *, first_log_time: float) -> dict[str, RateEstimate]:
    """Measure the exponent of log t of every metric in `PREDICTED_RATES`, in that order, by `limiting_rate`.

    Only records from `first_log_time` on are used, at least ten of them.

    Raises:
        ValueError: If fewer than ten records are left, their times are not positive, or a metric is not positive there
            (it has reached rounding, or there is only one example per class).
    """
    check_positive(first_log_time=first_log_time)
    is_used = record.log_times >= first_log_time
    times = record.log_times[is_used]
    if len(times) < 2 * NUM_BLOCKS:
        raise ValueError(f"first_log_time must leave at least {2 * NUM_BLOCKS} records, got {len(times)} of them")
    return {
        name: limiting_rate(times, getattr(record, name)[is_used], correction=0.5 if name in HALF_POWER_SERIES else 1.0)
        for name in PREDICTED_RATES
    }


def _checked(positions: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    check_ndim(1, positions=positions, values=values)
    check_same_length(positions=positions, values=values)
    check_finite(positions=positions, values=values)
    if len(positions) < 2 * NUM_BLOCKS:
        raise ValueError(f"positions must be at least {2 * NUM_BLOCKS} points, got {len(positions)}")
    check_positive(positions=float(positions.min()), values=float(values.min()))
    if not bool((positions.diff() > 0).all()):
        raise ValueError("positions must increase, got some that do not")
    return positions.to(torch.float64), values.to(torch.float64)


def _jackknife(terms: list[Tensor], values: Tensor) -> RateEstimate:
    """Fit log values on a constant and the terms; the error of the first term's factor from leaving out blocks."""
    logs = values.log()[:, None]
    columns = torch.stack([torch.ones_like(values), *terms], dim=1)

    def exponent(is_kept: Tensor) -> Tensor:
        return torch.linalg.lstsq(columns[is_kept], logs[is_kept], driver="gelsd").solution[1, 0]

    everything = torch.ones(len(values), dtype=torch.bool)
    fitted = float(exponent(everything))
    blocks = torch.arange(len(values)) * NUM_BLOCKS // len(values)
    left_out = torch.stack([exponent(blocks != block) for block in range(NUM_BLOCKS)])
    error = math.sqrt((NUM_BLOCKS - 1) * float(left_out.var(correction=0)))
    reach = float(student.ppf((1 + CONFIDENCE) / 2, NUM_BLOCKS - 1)) * error
    return RateEstimate(fitted, fitted - reach, fitted + reach)
