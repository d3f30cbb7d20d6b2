"""Calibration in bins of equal counts: robust where nearly all confidences lie in one equal-width bin."""

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty, check_size, check_within
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.top_label import NUM_BINS, Reliability


@checked
def equal_mass_reliability(confidence: Tensor, is_correct: Tensor, *, num_bins: int = NUM_BINS) -> Reliability:
    """Return the top-label reliability diagram with bins that hold equally many examples.

    The examples, sorted by confidence, are cut into min(num_bins, N) bins whose counts differ by at most 1 (Nguyen and
    O'Connor 2015). Needs all confidences sorted: memory of order N beyond the input, and it cannot be merged.

    Deviation: examples of equal confidence share their mean accuracy, because otherwise their order would decide which
    of them falls on which side of a cut. With N < num_bins every bin is one example, and the number says little.

    Args:
        confidence: (N,) float in [0, 1], N at least 1.
        is_correct: (N,) bool or 0/1, whether each prediction is right.
        num_bins: At least 1; min(num_bins, N) are made.

    Returns:
        Counts differ by at most 1. Inner edges lie halfway between the confidences on either side of a cut, the outer
        ones on the smallest and the largest confidence.

    Raises:
        ValueError: If there are no examples, the shapes differ, a value is outside [0, 1], or num_bins is out of range.

    Example:
        >>> is_correct = torch.tensor([True, True, False])
        >>> diagram = equal_mass_reliability(torch.tensor([0.5, 1.0, 0.75]), is_correct, num_bins=3)
        >>> diagram.accuracy.tolist(), diagram.edges.tolist()
        ([1.0, 0.0, 1.0], [0.5, 0.625, 0.875, 1.0])
    """
    check_size(1, num_bins=num_bins)
    if confidence.ndim != 1 or confidence.shape != is_correct.shape:
        raise ValueError(
            f"confidence and is_correct must have one shape (N,), "
            f"got {tuple(confidence.shape)} and {tuple(is_correct.shape)}"
        )
    check_not_empty(confidence=confidence)
    check_within(0, 1, confidence=confidence, is_correct=is_correct)
    # Sorted and summed on the CPU, where float64 always is.
    values, order = confidence.detach().to("cpu", torch.float64).sort()
    correct = _shared_by_ties(values, is_correct.detach().to("cpu", torch.float64)[order])
    num = len(values)
    num_bins = min(num_bins, num)
    cuts = torch.arange(num_bins + 1) * num // num_bins
    counts = cuts.diff().to(torch.float64)
    position = torch.repeat_interleave(torch.arange(num_bins), cuts.diff())
    means = [torch.zeros(num_bins, dtype=torch.float64).index_add_(0, position, x) / counts for x in (values, correct)]
    inner = (values[cuts[1:-1] - 1] + values[cuts[1:-1]]) / 2
    return Reliability(torch.cat([values[:1], inner, values[-1:]]), counts, *means)


def error_of_reliability(reliability: Reliability) -> float:
    """Return sum_b (n_b / N) |accuracy_b - confidence_b| of a diagram with at least one example, in [0, 1]."""
    held = reliability.counts > 0
    gaps = reliability.signed_gaps[held].abs()
    return float((reliability.counts[held] * gaps).sum() / reliability.counts.sum())


def _shared_by_ties(values: Tensor, correct: Tensor) -> Tensor:
    """Give every one of equal sorted values the mean of what they bear."""
    _, group, counts = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, group, correct)
    return (sums / counts)[group]
