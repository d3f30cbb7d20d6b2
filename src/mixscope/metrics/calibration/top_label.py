"""Top-label calibration in equal-width bins: sums that stream, merge and add up across processes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_size
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.predictions import bin_positions, check_logits, check_probabilities, top_label
from mixscope.metrics.calibration.running_sums import RunningSums

NUM_BINS = 15  # Guo et al. 2017; bins are (low, high], so confidence 1.0 is in the last. 0.0 goes to the first.
_NAMES = ("counts", "confidence_sums", "correct_sums")


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


class CalibrationBins:
    """Top-label confidence and accuracy in equal-width bins, fed batch by batch in constant memory.

    The confidence of an example is its largest probability, its prediction the (first) class that has it. Bins are
    (low, high]; edges are rounded to the precision of the probabilities, so 0.2 in float32 lies on the edge 3/15.
    Any split, order or tree of merges gives the same results (relative 1e-12).

    Sums are float64, live on the device of the newest batch, and move to the CPU when they are read. Away from the CPU
    an update does not wait for the device: a batch that is refused is left out, and the next reading raises. All
    results below raise ValueError while no example has been seen; `counts` and the tensors by bin do not.

    Example:
        >>> bins = CalibrationBins(num_bins=2)
        >>> bins.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> bins.expected_calibration_error, bins.signed_gap
        (0.375, 0.375)
    """

    @checked
    def __init__(self, num_bins: int = NUM_BINS) -> None:
        """Start with no examples.

        Args:
            num_bins: From 1 to a million.

        Raises:
            ValueError: If num_bins is out of range.
        """
        check_size(1, num_bins=num_bins)
        self._sums = RunningSums(_NAMES, (num_bins,))

    @checked
    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            probabilities: (B, K) float in [0, 1], rows sum to 1 within 1e-4 (float16: 1e-3, bfloat16: 8e-3).
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If the inputs are not probabilities (logits, for example), or labels do not fit.
        """
        self._sums.add_probabilities(probabilities, labels, self._sum_probabilities)

    @checked
    def update_logits(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch by its logits: the probabilities are their softmax in float64. When it raises, nothing changed.

        Args:
            logits: (B, K) float, finite.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If logits are not finite floats, or labels do not fit.
        """
        self._sums.add_logits(logits, labels, self._sum_logits)

    @checked
    def merge(self, other: "CalibrationBins") -> None:
        """Add everything another instance has seen. `other` is left as it was.

        Raises:
            ValueError: If the number of bins differs.
        """
        if other.num_bins != self.num_bins:
            raise ValueError(f"other must have {self.num_bins} bins, got {other.num_bins}")
        self._sums.merge(other._sums)

    def all_reduce(self) -> None:
        """Add up what all processes of torch.distributed have seen; every process calls it, once, with equal bins.

        Afterwards all hold the total; calling it again would add the totals. Without torch.distributed nothing changes.
        """
        self._sums.all_reduce()

    def state(self) -> dict[str, Tensor]:
        """Return (num_bins,) float64 sums by name, on the CPU: `counts`, `confidence_sums`, `correct_sums`."""
        return self._sums.read()

    @classmethod
    @checked
    def from_state(cls, state: Mapping[str, Tensor]) -> "CalibrationBins":
        """Return the bins whose `state` is given.

        Raises:
            ValueError: If it is not the state of such bins.
        """
        sums = RunningSums.from_state(state, _NAMES, ndim=1)
        bins = cls(sums.shape[0])
        bins._sums = sums
        return bins

    @property
    def num_refused_batches(self) -> int:
        """Batches left out because they failed their check away from the CPU; reading anything else then raises."""
        return self._sums.num_refused

    @property
    def num_bins(self) -> int:
        """The number of bins."""
        return self._sums.shape[0]

    @property
    def edges(self) -> Tensor:
        """(num_bins + 1,) float64, from 0 to 1."""
        return torch.arange(self.num_bins + 1, dtype=torch.float64) / self.num_bins

    @property
    def counts(self) -> Tensor:
        """(num_bins,) float64, examples in each bin."""
        return self.state()["counts"]

    @property
    def num_examples(self) -> int:
        """The examples seen so far."""
        return int(self.counts.sum())

    @property
    def reliability(self) -> Reliability:
        """What a reliability diagram is drawn from."""
        sums = self.state()
        counts = sums["counts"]
        return Reliability(self.edges, counts, sums["confidence_sums"] / counts, sums["correct_sums"] / counts)

    @property
    def bin_confidence(self) -> Tensor:
        """(num_bins,) float64, mean confidence in each bin; NaN in an empty one."""
        return self.reliability.confidence

    @property
    def bin_accuracy(self) -> Tensor:
        """(num_bins,) float64, accuracy in each bin; NaN in an empty one."""
        return self.reliability.accuracy

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, in [0, 1]."""
        counts, _, correct = self._seen()
        return float(correct.sum() / counts.sum())

    @property
    def mean_confidence(self) -> float:
        """Mean of the largest probability, in [1/K, 1]."""
        counts, confidence, _ = self._seen()
        return float(confidence.sum() / counts.sum())

    @property
    def signed_gap(self) -> float:
        """Mean confidence - accuracy, in [-1, 1]; 0 is best, negative is under-confident, positive over-confident."""
        return self.mean_confidence - self.accuracy

    @property
    def expected_calibration_error(self) -> float:
        """sum_b (n_b / N) |accuracy_b - confidence_b|, in [0, 1]; 0 is best (Guo et al. 2017)."""
        counts, confidence, correct = self._seen()
        return float((confidence - correct).abs().sum() / counts.sum())

    @property
    def maximum_calibration_error(self) -> float:
        """Largest |accuracy_b - confidence_b| over the bins that hold an example, in [0, 1]; 0 is best."""
        counts, confidence, correct = self._seen()
        return float(((confidence - correct) / counts)[counts > 0].abs().max())

    def _sum_probabilities(self, rows: Tensor, labels: Tensor) -> Tensor:
        confidence, prediction = rows.max(dim=1)
        return self._bin(confidence, prediction == labels)

    def _sum_logits(self, rows: Tensor, labels: Tensor) -> Tensor:
        confidence, prediction = top_label(rows)
        return self._bin(confidence, prediction == labels)

    def _bin(self, confidence: Tensor, is_correct: Tensor) -> Tensor:
        """Return the (3, num_bins) sums of a block: counts, confidences, correct predictions."""
        position = bin_positions(confidence, num_bins=self.num_bins)
        sums = torch.zeros(len(_NAMES), self.num_bins, dtype=torch.float64, device=confidence.device)
        for total, values in zip(sums, (torch.ones_like(confidence), confidence, is_correct), strict=True):
            total.index_add_(0, position, values.to(torch.float64))
        return sums

    def _seen(self) -> tuple[Tensor, Tensor, Tensor]:
        sums = self.state()
        if not sums["counts"].any():
            raise ValueError("CalibrationBins must be updated with at least one example first, got 0")
        return sums["counts"], sums["confidence_sums"], sums["correct_sums"]


@checked
def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> float:
    """Return the top-label expected calibration error with equal-width bins (low, high].

    sum_b (n_b / N) |accuracy_b - mean confidence_b| (Guo et al. 2017). `CalibrationBins` streams it; either way the
    memory beyond the input is constant.

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


@checked
def expected_calibration_error_from_logits(logits: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> float:
    """Return the `expected_calibration_error` of softmax(logits), taken in float64.

    Args:
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).
        num_bins: At least 1.

    Returns:
        In [0, 1]; 0 is best.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or labels do not fit.

    Example:
        >>> logits = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
        >>> round(expected_calibration_error_from_logits(logits, torch.tensor([0, 0])), 6)
        0.375
    """
    bins = CalibrationBins(num_bins)
    bins.update_logits(logits, labels)
    if bins.num_refused_batches:
        check_logits(logits, labels)
    return bins.expected_calibration_error
