"""Temperature scaling judged on one test set: fitted on one half of it and judged on the other, both ways."""

import math

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty
from mixscope.base.kinds import checked
from mixscope.metrics.bootstrap import NUM_RESAMPLES
from mixscope.metrics.calibration.predictions import bin_positions, check_logits, row_blocks
from mixscope.metrics.calibration.scaling_report import ScalingReport
from mixscope.metrics.calibration.scores import NUM_SCORES, example_scores, split_label
from mixscope.metrics.calibration.temperature import fit_temperature
from mixscope.metrics.calibration.top_label import NUM_BINS
from mixscope.metrics.paired_comparison import paired_intervals

NORMAL = 1.959963984540054  # the standard normal law's quantile at 0.975


@checked
def scaling_report(
    logits: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    num_bins: int = NUM_BINS,
    num_resamples: int = NUM_RESAMPLES,
) -> ScalingReport:
    """Say which temperature mends a classifier's confidence, and what loss and ECE become, with 95% intervals.

    The temperature is fitted on all examples. What it changes is judged by cross-fitting: the examples are cut into
    random halves, and each half is scaled by the temperature of the other, so no example is judged by a temperature
    that has seen it. Changes have paired bootstrap intervals (`paired_intervals`), the temperature that of its
    estimating equation. Source: Guo et al. 2017; the cross-fitting is ours.

    Args:
        logits: (N, K) float, finite; N at least 1. Gone through in blocks.
        labels: (N,) integers in [0, K).
        generator: A CPU generator; the same one gives the same report.
        num_bins: Of the calibration error, at least 1.
        num_resamples: R, at least 1. Time grows with R N.

    Returns:
        Without numbers where the examples, or one half of them, have no best temperature (see `fit_temperature`), as
        where all are right.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or a number or label is out of range.

    Example:
        >>> logits, labels = torch.tensor([[4.0, 0.0]]).repeat(800, 1), (torch.arange(800) % 4 == 0).long()
        >>> report = scaling_report(logits, labels, generator=torch.Generator().manual_seed(0))
        >>> round(report.temperature, 3), report.loss_change_high < 0, report.ece < 0.1
        (3.641, True, True)
    """
    check_logits(logits, labels)
    check_not_empty(logits=logits)
    logits, labels = logits.detach(), labels.to(logits.device)
    order = torch.randperm(len(logits), generator=generator)
    halves = order[: len(order) // 2].sort().values, order[len(order) // 2 :].sort().values
    if not len(halves[0]):
        return ScalingReport()
    fit, *halved = (fit_temperature(logits, labels, rows=rows) for rows in (None, *halves))
    if not all(each.is_converged for each in (fit, *halved)):
        return ScalingReport()
    judged_at = torch.empty(len(logits), 1, dtype=torch.float64)
    for rows, other in zip(halves, reversed(halved), strict=True):
        judged_at[rows] = other.temperature
    first, second = torch.empty(2, len(logits), NUM_SCORES, dtype=torch.float64)
    start = 0
    for rows, own in row_blocks(logits, labels):
        here = slice(start, start + len(rows))
        first[here] = example_scores(rows, own)
        second[here] = example_scores(rows.to(torch.float64) / judged_at[here].to(rows.device), own)
        start += len(rows)
    loss, ece = paired_intervals(first, second, generator=generator, num_bins=num_bins, num_resamples=num_resamples)
    spread = math.exp(NORMAL * _log_error(logits, labels, fit.temperature))
    gaps = torch.zeros(num_bins, dtype=torch.float64)
    gaps.index_add_(0, bin_positions(second[:, 0], num_bins=num_bins), second[:, 4])
    return ScalingReport(
        temperature=fit.temperature,
        temperature_low=fit.temperature / spread,
        temperature_high=fit.temperature * spread,
        loss=float(second[:, 2].mean()),
        loss_change_low=loss.low,
        loss_change_high=loss.high,
        ece=float(gaps.abs().sum() / len(second)),
        ece_change_low=ece.low,
        ece_change_high=ece.high,
    )


def _log_error(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Return the standard error of log T: that of the root of the mean gradient in 1/T, over 1/T (Huber 1967)."""
    sums = torch.zeros(2, dtype=torch.float64, device=logits.device)
    for rows, own in row_blocks(logits, labels):
        scaled = rows.to(torch.float64) / temperature  # gradient and curvature in log T, so that no unit is left
        shares = torch.softmax(scaled, dim=1)
        mean = (shares * scaled).sum(dim=1)
        gradient = mean - (split_label(scaled, own)[0])
        curvature = (shares * (scaled - mean[:, None]).square()).sum(dim=1)
        sums += torch.stack([gradient.square().sum(), curvature.sum()])
    squares, curvatures = sums.tolist()
    return math.sqrt(squares) / curvatures
