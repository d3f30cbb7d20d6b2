"""Top-label calibration: in equal-width bins (Guo et al. 2017), fed batch by batch, and in bins of equal counts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty, check_size, check_within
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.prediction_sums import PredictionSums
from mixscope.metrics.calibration.predictions import bin_positions, check_probabilities, equal_edges, top_label

NUM_BINS = 15  # Guo et al. 2017; bins are (low, high], so confidence 1.0 is in the last. 0.0 goes to the first.


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram is drawn from; float64 on the CPU, NaN in a bin without examples.

    Attributes:
        edges: (num_bins + 1,) limits of the bins, each (low, high].
        counts: (num_bins,) examples in each bin.
        confidence: (num_bins,) mean confidence in each bin.
        accuracy: (num_bins,) accuracy in each bin.
    """

    edges: Tensor
    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def signed_gaps(self) -> Tensor:
        """(num_bins,) confidence - accuracy of each bin; negative is under-confident."""
        return self.confidence - self.accuracy

    @property
    def error(self) -> float:
        """sum_b (n_b / N) |accuracy_b - confidence_b| over at least one example, in [0, 1]."""
        held = self.counts > 0
        return float((self.counts[held] * self.signed_gaps[held].abs()).sum() / self.counts.sum())


class CalibrationBins(PredictionSums):
    """Top-label confidence and accuracy in equal-width bins, fed batch by batch in constant memory.

    The confidence of an example is its largest probability, its prediction the (first) class that has it. Bins are
    (low, high]; edges are rounded to the precision of the probabilities, so 0.2 in float32 lies on the edge 3/15.
    Devices and refused batches: see `PredictionSums`. All results raise ValueError while no example has been seen.

    Example:
        >>> bins = CalibrationBins(num_bins=2)
        >>> bins.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> bins.expected_calibration_error, bins.signed_gap
        (0.375, 0.375)
    """

    names = ("counts", "confidence_sums", "correct_sums")
    num_dimensions = 1

    @checked
    def __init__(self, num_bins: int = NUM_BINS) -> None:
        """Start with no examples; `num_bins` from 1 to a million."""
        check_size(1, num_bins=num_bins)
        super().__init__(num_bins)
        self.num_bins = num_bins

    @property
    def num_examples(self) -> int:
        """The examples seen so far."""
        return int(self.state()["counts"].sum())

    @property
    def reliability(self) -> Reliability:
        """What a reliability diagram is drawn from; also of no example."""
        counts, confidence, correct = self.state().values()
        return Reliability(equal_edges(self.num_bins), counts, confidence / counts, correct / counts)

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, in [0, 1]."""
        counts, _, correct = self.seen()
        return float(correct.sum() / counts.sum())

    @property
    def mean_confidence(self) -> float:
        """Mean of the largest probability, in [1/K, 1]."""
        counts, confidence, _ = self.seen()
        return float(confidence.sum() / counts.sum())

    @property
    def signed_gap(self) -> float:
        """Mean confidence - accuracy, in [-1, 1]; 0 is best, negative is under-confident, positive over-confident."""
        return self.mean_confidence - self.accuracy

    @property
    def expected_calibration_error(self) -> float:
        """sum_b (n_b / N) |accuracy_b - confidence_b|, in [0, 1]; 0 is best (Guo et al. 2017)."""
        counts, confidence, correct = self.seen()
        return float((confidence - correct).abs().sum() / counts.sum())

    @property
    def maximum_calibration_error(self) -> float:
        """Largest |accuracy_b - confidence_b| over the bins that hold an example, in [0, 1]; 0 is best."""
        counts, confidence, correct = self.seen()
        return float(((confidence - correct) / counts)[counts > 0].abs().max())

    def _sum_probabilities(self, rows: Tensor, labels: Tensor) -> Tensor:
        return self._bin(*rows.max(dim=1), labels)

    def _sum_logits(self, rows: Tensor, labels: Tensor) -> Tensor:
        # without all their probabilities
        return self._bin(*top_label(rows), labels)

    def _bin(self, confidence: Tensor, prediction: Tensor, labels: Tensor) -> Tensor:
        position = bin_positions(confidence, num_bins=self.num_bins)
        sums = torch.zeros(len(self.names), self.num_bins, dtype=torch.float64, device=confidence.device)
        for total, values in zip(sums, (torch.ones_like(confidence), confidence, prediction == labels), strict=True):
            total.index_add_(0, position, values.to(torch.float64))
        return sums


@checked
def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> float:
    """Return the top-label expected calibration error with equal-width bins (low, high].

    sum_b (n_b / N) |accuracy_b - mean confidence_b| (Guo et al. 2017), in [0, 1]; 0 is best. `CalibrationBins` streams
    it; `calibration_report` gives it, and all the rest, from logits.

    Raises:
        ValueError: If there are no examples, or as `CalibrationBins.update`.

    Example:
        >>> expected_calibration_error(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 0]))
        0.125
    """
    bins = CalibrationBins(num_bins)
    bins.update(probabilities, labels)
    if bins.num_refused_batches:
        check_probabilities(probabilities, labels)
    return bins.expected_calibration_error


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
        num_bins: At least 1.

    Returns:
        Inner edges lie halfway between the confidences on either side of a cut, the outer ones on the smallest and the
        largest confidence.

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
        shapes = f"{tuple(confidence.shape)} and {tuple(is_correct.shape)}"
        raise ValueError(f"confidence and is_correct must have one shape (N,), got {shapes}")
    check_not_empty(confidence=confidence)
    check_within(0, 1, confidence=confidence, is_correct=is_correct)
    # Sorted and summed on the CPU, where float64 always is.
    values, order = confidence.detach().to("cpu", torch.float64).sort()
    right = is_correct.detach().to("cpu", torch.float64)[order]
    _, group, sizes = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
    correct = (torch.zeros(len(sizes), dtype=torch.float64).index_add_(0, group, right) / sizes)[group]
    num = len(values)
    num_bins = min(num_bins, num)
    cuts = torch.arange(num_bins + 1) * num // num_bins
    counts = cuts.diff().to(torch.float64)
    position = torch.repeat_interleave(torch.arange(num_bins), cuts.diff())
    means = [torch.zeros(num_bins, dtype=torch.float64).index_add_(0, position, x) / counts for x in (values, correct)]
    inner = (values[cuts[1:-1] - 1] + values[cuts[1:-1]]) / 2
    return Reliability(torch.cat([values[:1], inner, values[-1:]]), counts, *means)
