"""Intervals of calibration and likelihood: resampling of the examples, and of labels that would fit."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty, check_numbers, check_size
from mixscope.base.kinds import checked
from mixscope.metrics.bootstrap import (
    BLOCK_DRAWS,
    NUM_RESAMPLES,
    percentile_interval,
    reflected_interval,
    resampled_means,
)
from mixscope.metrics.calibration.predictions import bin_positions, check_logits, row_blocks
from mixscope.metrics.calibration.scores import example_scores
from mixscope.metrics.calibration.top_label import NUM_BINS
from mixscope.stats.intervals import LEVEL, Interval

MEANS = ("accuracy", "loss", "brier", "signed_gap")


@dataclass(frozen=True)
class CalibrationIntervals:
    """Numbers of one test set with their intervals over its examples.

    The binned ECE is biased upwards: noise in a bin counts as error. Resampling adds the same bias once more, so the
    percentile interval lies too high where the error is small, and that of a calibrated network never reaches down to
    0. In simulation (15 bins, intervals of level 0.95) the percentile interval held the true error in 92 to 98 of 100
    cases at a true ECE of 0.12 (300 to 10,000 examples), at 0.03 in 3 with 300 examples and in 98 with 10,000, and at
    0 in none; the reflected one in 92 to 98, 87 to 92, and 52 to 63. So: read `ece` where the error is large beside
    `ece_if_calibrated`, else `ece_reflected`; and whether there is any error to speak of from `ece_if_calibrated`.

    Attributes:
        ece: Top-label expected calibration error, equal-width bins, percentile bootstrap; low is good.
        ece_reflected: The same value, basic bootstrap, clipped to [0, 1]; `value` can lie at or above its end.
        ece_if_calibrated: What the ECE of these very confidences would be if they were right: its mean, and the range
            of the middle `level` of it. An `ece.value` above `high` is more error than chance gives; inside, this test
            set shows none. Source: consistency resampling, Bröcker and Smith 2007.
        loss: This and the rest as in `CalibrationReport`, percentile bootstrap.
    """

    ece: Interval
    ece_reflected: Interval
    ece_if_calibrated: Interval
    loss: Interval
    brier: Interval
    accuracy: Interval
    signed_gap: Interval


@checked
def calibration_intervals(
    logits: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    num_bins: int = NUM_BINS,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> CalibrationIntervals:
    """Return bootstrap intervals of the calibration of softmax(logits) over the examples.

    All numbers are taken from the same resamples. They say how sure the numbers are of this network; another seed of
    training varies on top of that (see `student_interval`).

    Args:
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).
        generator: A CPU generator; the same one gives the same intervals.
        num_bins: At least 1.
        num_resamples: R, at least 1. Time grows with R N, memory with N only.
        level: In (0, 1).

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or a number or label is out of range.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]]).repeat(100, 1)
        >>> labels = (torch.arange(100) % 10 == 0).long()
        >>> intervals = calibration_intervals(logits, labels, generator=torch.Generator().manual_seed(0))
        >>> round(intervals.accuracy.value, 2), round(intervals.accuracy.low, 2), round(intervals.accuracy.high, 2)
        (0.9, 0.84, 0.95)
    """
    check_logits(logits, labels)
    check_not_empty(logits=logits)
    columns = torch.cat([example_scores(rows, row_labels) for rows, row_labels in row_blocks(logits.detach(), labels)])
    check_size(1, num_bins=num_bins, num_resamples=num_resamples)
    num = len(columns)
    check_numbers(max(num, num_resamples), num_bins, num_bins=num_bins, num_resamples=num_resamples)
    confidence = columns[:, 0]
    position = bin_positions(confidence, num_bins=num_bins)
    table = torch.cat([binned_gaps(columns, position, num_bins=num_bins), columns], dim=1)
    value, resampled = table.mean(dim=0), resampled_means(table, generator=generator, num_resamples=num_resamples)
    ece, eces = float(value[:num_bins].abs().sum()), resampled[:, :num_bins].abs().sum(dim=1)
    fitting = _eces_if_calibrated(confidence, position, num_bins, num_resamples, generator)
    reflected = reflected_interval(ece, eces, level=level, num_samples=num)
    low, high = (min(max(end, 0.0), 1.0) for end in (reflected.low, reflected.high))

    means = {
        name: percentile_interval(float(value[column]), resampled[:, column], level=level, num_samples=num)
        for column, name in enumerate(MEANS, start=num_bins + 1)
    }
    return CalibrationIntervals(
        ece=percentile_interval(ece, eces, level=level, num_samples=num),
        ece_reflected=replace(reflected, low=low, high=high),
        ece_if_calibrated=percentile_interval(float(fitting.mean()), fitting, level=level, num_samples=num),
        **means,
    )


def binned_gaps(columns: Tensor, position: Tensor, *, num_bins: int) -> Tensor:
    """Return (N, num_bins): in the column of an example's bin confidence minus right (`example_scores`), else 0."""
    gaps = torch.zeros(len(columns), num_bins, dtype=torch.float64)
    return gaps.scatter_(1, position[:, None], columns[:, 4:5])


def _eces_if_calibrated(
    confidence: Tensor, position: Tensor, num_bins: int, num_resamples: int, generator: torch.Generator
) -> Tensor:
    """Return (R,) ECEs of these confidences with predictions that are right exactly as often as they say."""
    num = len(confidence)
    order = position.argsort(stable=True)
    confidence, counts = confidence[order], torch.bincount(position, minlength=num_bins)
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    size = max(1, BLOCK_DRAWS // num)
    parts = []
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        is_right = torch.rand(rows, num, generator=generator, dtype=torch.float64) < confidence
        summed = torch.zeros(rows, num + 1, dtype=torch.float64)
        torch.cumsum(confidence - is_right.to(torch.float64), dim=1, out=summed[:, 1:])
        parts.append((summed[:, ends].diff(dim=1).abs().sum(dim=1)) / num)
    return torch.cat(parts)
