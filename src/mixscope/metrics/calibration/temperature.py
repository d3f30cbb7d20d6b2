"""Temperature scaling (Guo et al. 2017): one number that softens or sharpens every prediction, fitted by Newton."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_labels, check_not_empty, naming
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.prediction_meter import calibration_report
from mixscope.metrics.calibration.predictions import BLOCK_ELEMENTS, check_logits, row_blocks
from mixscope.metrics.calibration.top_label import NUM_BINS

REACH = 1e6  # The temperature is sought within this factor of the logits' own scale.
STEP_TOLERANCE = 1e-10  # Of log T. The NLL is flat at its minimum, so it is exact far sooner.
MAX_ITERATIONS = 100  # Halving the range of log T to the tolerance takes 39 steps; Newton needs about 6.


@dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature and how the fit went.

    Attributes:
        temperature: T, positive; above 1 the logits were over-confident, below 1 under-confident.
        nll_before: Mean negative log-likelihood of the fitted examples at T = 1, nats.
        nll_after: The same at T; never larger, unless the best T lies out of reach (`reason` says so).
        iterations: Newton or bisection steps.
        is_converged: Whether T is the minimum, to 1e-10 relative.
        reason: Why not; empty if it is.
    """

    temperature: float
    nll_before: float
    nll_after: float
    iterations: int
    is_converged: bool
    reason: str


@dataclass(frozen=True)
class TemperatureReport:
    """Calibration of one set of examples before and after a temperature fitted on another.

    Accuracy is the same.
    """

    fit: TemperatureFit
    before: CalibrationReport
    after: CalibrationReport


@checked
def fit_temperature(logits: Tensor, labels: Tensor, *, rows: Tensor | None = None) -> TemperatureFit:
    """Find the temperature T > 0 that minimises the mean of -log softmax(logits / T)_y.

    In b = 1/T the loss is convex with slope mean(sum_k p_k z_k - z_y), which rises in b: its root is bracketed and
    found by Newton's method in log T, with bisection where a step leaves the bracket. Float64, in blocks: memory beyond
    the input is constant. Numbers added to a row change nothing, and logits times s give T times s.

    Not every set of examples has a minimum. Where every label has the largest logit the loss falls all the way to
    T = 0; where labels' logits are on average no larger than the mean logit, all the way to T = infinity; where every
    row is constant it does not depend on T. The result is then the end of the range searched (a millionth or a million
    times the mean distance of logits from their row's largest), or 1, with `is_converged` False and the reason.

    Fit on examples that neither trained the network nor are reported on: see `calibration_after_temperature`.
    Source: Guo et al. 2017, temperature scaling. The solver is ours: scipy's bracketed ones find the same T but
    take twice as many passes over the examples (`brentq` 12 for 6), and its Newton leaves the bracket.

    Args:
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).
        rows: (M,) int64, places of the examples to fit on, M at least 1; None: all.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or labels or rows do not fit.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> fit = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
        >>> round(fit.temperature, 6), round(4 / math.log(3), 6), fit.is_converged
        (3.640957, 3.640957, True)
    """
    check_logits(logits, labels)
    check_not_empty(logits=logits)
    if rows is not None:
        check_labels(rows, num_classes=len(logits), name="rows")
        check_not_empty(rows=rows)
    loss = _ScaledLoss(logits.detach(), labels, rows)
    nll_before = loss.at(loss.scale)[0] if loss.scale else math.log(logits.shape[1])

    def result(inverse: float, iterations: int, reason: str = "") -> TemperatureFit:
        return TemperatureFit(loss.scale / inverse, nll_before, loss.at(inverse)[0], iterations, not reason, reason)

    if not loss.scale:
        reason = "every row of logits is constant, so the loss does not depend on the temperature"
        return TemperatureFit(1.0, nll_before, nll_before, 0, False, reason)
    if loss.at(REACH)[1] <= 0:
        return result(REACH, 0, "every label has the largest logit of its row, so the loss falls all the way to T = 0")
    if loss.at(1 / REACH)[1] >= 0:
        reason = "the labels' logits are on average no larger than the mean logit, so the loss falls towards"
        return result(1 / REACH, 0, f"{reason} T = infinity")
    low, high = -math.log(REACH), math.log(REACH)  # of log b: the slope is negative at the one, positive at the other
    place = 0.0
    for iteration in range(1, MAX_ITERATIONS + 1):
        _, slope, curvature = loss.at(math.exp(place))
        low, high = (place, high) if slope < 0 else (low, place)
        # Newton on the slope as a function of log b, whose derivative is b times the curvature.
        rise = math.exp(place) * curvature
        target = place - slope / rise if rise > 0 else math.inf
        if not low <= target <= high:
            target = (low + high) / 2
        step, place = abs(target - place), target
        if step <= STEP_TOLERANCE:
            return result(math.exp(place), iteration)
    return result(math.exp(place), MAX_ITERATIONS, f"log T still moved by {step:.1g} after {MAX_ITERATIONS} steps")


@checked
def calibration_after_temperature(
    fit_logits: Tensor, fit_labels: Tensor, logits: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS
) -> TemperatureReport:
    """Fit the temperature on one set of examples and measure calibration on another, before and after.

    The two sets must not share examples, or the numbers after come out too good; with one set only, cut it at random. A
    fit without a minimum is used all the same, at the end of its range: look at `fit.is_converged`. Arguments are those
    of `fit_temperature`, (M, K) and (M,), and of `calibration_report`, (N, K) and (N,).

    Raises:
        ValueError: As of these two, or if the number of classes differs.

    Example:
        >>> logits, labels = torch.tensor([[4.0, 0.0]]).repeat(4, 1), torch.tensor([0, 0, 0, 1])
        >>> report = calibration_after_temperature(logits[:4], labels[:4], logits, labels)
        >>> round(report.before.ece, 3), round(report.after.ece, 3), round(report.fit.temperature, 3)
        (0.232, 0.0, 3.641)
    """
    with naming("fit_logits and fit_labels"):
        fit = fit_temperature(fit_logits, fit_labels)
    before = calibration_report(logits, labels, num_bins=num_bins)
    if logits.shape[1] != fit_logits.shape[1]:
        raise ValueError(f"logits must have the {fit_logits.shape[1]} classes of fit_logits, got {logits.shape[1]}")
    # In float64, as everything here: float16 logits over a small temperature would overflow.
    scaled = logits.detach().to(torch.float64) / fit.temperature
    return TemperatureReport(fit, before, calibration_report(scaled, labels, num_bins=num_bins))


class _ScaledLoss:
    """The loss as a function of the inverse temperature, in units in which the logits' scale is 1."""

    def __init__(self, logits: Tensor, labels: Tensor, rows: Tensor | None = None) -> None:
        self._logits, self._labels, self._rows = logits, labels, rows
        self._num = len(logits if rows is None else rows)
        self.scale = 1.0
        self.scale = -sum(float(below.mean(dim=1).sum()) / self._num for below, _ in self._blocks())
        if not math.isfinite(self.scale):
            raise ValueError("logits must have differences within a row that float64 can hold, got larger ones")

    def at(self, inverse: float) -> tuple[float, float, float]:
        """Return the mean loss and its first two derivatives at inverse temperature `inverse / scale`."""
        sums = torch.zeros(3, dtype=torch.float64, device=self._logits.device)
        for below, chosen in self._blocks():
            weights = torch.exp(below * inverse)
            total = weights.sum(dim=1)
            first = weights.mul_(below).sum(dim=1) / total  # sum_k p_k z_k; weights are 0 before z^2 could overflow
            second = weights.mul_(below).sum(dim=1) / total
            loss = total.log() - inverse * chosen
            sums += torch.stack([loss.sum(), (first - chosen).sum(), (second - first.square()).sum()])
        nll, slope, curvature = (sums / self._num).tolist()
        return nll, slope, curvature

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each block's logits below its row's largest, over the scale, and those of its labels."""
        for rows, labels in self._chosen():
            exact = rows.to(torch.float64)
            below = (exact - exact.amax(dim=1, keepdim=True)) / self.scale
            yield below, below.gather(1, labels.long()[:, None])[:, 0]

    def _chosen(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield blocks of the chosen rows, gathered block by block, so that no copy of them all is made."""
        if self._rows is None:
            yield from row_blocks(self._logits, self._labels)
            return
        places, device = self._rows.to(self._logits.device), self._logits.device
        for chosen in places.split(max(1, BLOCK_ELEMENTS // self._logits.shape[1])):
            yield self._logits[chosen], self._labels.to(device)[chosen]
