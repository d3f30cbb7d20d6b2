"""Top-label calibration in equal-width bins (Guo et al. 2017), fed batch by batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_size
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
        """Start with no examples.

        Args:
            num_bins: From 1 to a million.

        Raises:
            ValueError: If num_bins is out of range.
        """
        check_size(1, num_bins=num_bins)
        super().__init__(num_bins)

    @property
    def num_bins(self) -> int:
        """The number of bins."""
        return self.shape[0]

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
        """Return what rows of probabilities add."""
        return self._bin(*rows.max(dim=1), labels)

    def _sum_logits(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return what rows of logits add, without all their probabilities."""
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

    sum_b (n_b / N) |accuracy_b - mean confidence_b| (Guo et al. 2017). `CalibrationBins` streams it; either way the
    memory beyond the input is constant. `calibration_report` gives it, and all the rest, from logits.

    Args:
        probabilities: (N, K) float in [0, 1], rows sum to 1 within 1e-4; N at least 1.
        labels: (N,) integers in [0, K).
        num_bins: At least 1.

    Returns:
        In [0, 1]; 0 is best.

    Raises:
        ValueError: If there are no examples, the inputs are not probabilities, or labels do not fit.

    Example:
        >>> expected_calibration_error(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 0]))
        0.125
    """
    bins = CalibrationBins(num_bins)
    bins.update(probabilities, labels)
    if bins.num_refused_batches:
        check_probabilities(probabilities, labels)
    return bins.expected_calibration_error
