"""Calibration of predicted probabilities: binned errors that stream and merge, and proper scores."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope._checks import check_at_least, check_finite, check_labels, check_ndim, check_same_length

NUM_BINS = 15  # Guo et al. 2017; bins are (low, high], so confidence 1.0 is in the last. 0.0 goes to the first.
SUM_TOLERANCE = 1e-4  # How far a row of probabilities may be from summing to 1: float32 rounding with room.


class CalibrationBins:
    """Top-label confidence and accuracy in equal-width bins, fed batch by batch in constant memory.

    The confidence of an example is its largest probability, its prediction the (first) class that has it. Bins are
    (low, high]; edges are rounded to the precision of the probabilities, so 0.2 in float32 lies on the edge 3/15.
    Sums are kept in float64 on the CPU. The results below raise ValueError while no example has been seen.

    Attributes:
        edges: (num_bins + 1,) float64, from 0 to 1.
        counts: (num_bins,) float64, examples in each bin.

    Example:
        >>> bins = CalibrationBins(num_bins=2)
        >>> bins.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> bins.expected_calibration_error, bins.signed_gap
        (0.375, 0.375)
    """

    def __init__(self, num_bins: int = NUM_BINS) -> None:
        """Start with no examples.

        Args:
            num_bins: At least 1.

        Raises:
            ValueError: If num_bins is below 1.
        """
        check_at_least(1, num_bins=num_bins)
        self.edges = torch.arange(num_bins + 1, dtype=torch.float64) / num_bins
        self.counts = torch.zeros(num_bins, dtype=torch.float64)
        self._confidence_sums = torch.zeros(num_bins, dtype=torch.float64)
        self._correct_sums = torch.zeros(num_bins, dtype=torch.float64)

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            probabilities: (B, K) float in [0, 1], rows sum to 1 within 1e-4.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If the inputs are not probabilities (logits, for example), or labels do not fit.
        """
        _check_probabilities(probabilities, labels)
        confidence, prediction = probabilities.detach().max(dim=1)
        inner_edges = self.edges[1:-1].to(confidence.dtype).to(confidence.device, torch.float64)
        confidence = confidence.to(torch.float64)
        # right=False counts the edges below the value: a value on an edge stays in the bin that ends there.
        position = torch.bucketize(confidence, inner_edges, right=False).cpu()
        correct = (prediction == labels.to(prediction.device)).to(torch.float64).cpu()
        self.counts.index_add_(0, position, torch.ones_like(correct))
        self._confidence_sums.index_add_(0, position, confidence.cpu())
        self._correct_sums.index_add_(0, position, correct)

    def merge(self, other: "CalibrationBins") -> None:
        """Add everything another instance has seen. `other` is left as it was.

        Raises:
            ValueError: If the number of bins differs.
        """
        if len(other.counts) != len(self.counts):
            raise ValueError(f"other must have {len(self.counts)} bins, got {len(other.counts)}")
        self.counts += other.counts
        self._confidence_sums += other._confidence_sums
        self._correct_sums += other._correct_sums

    @property
    def num_examples(self) -> int:
        """The examples seen so far."""
        return int(self.counts.sum())

    @property
    def bin_confidence(self) -> Tensor:
        """(num_bins,) float64, mean confidence in each bin; NaN in an empty one."""
        return self._confidence_sums / self.counts

    @property
    def bin_accuracy(self) -> Tensor:
        """(num_bins,) float64, accuracy in each bin; NaN in an empty one."""
        return self._correct_sums / self.counts

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, in [0, 1]."""
        return float(self._correct_sums.sum()) / self._checked_count()

    @property
    def mean_confidence(self) -> float:
        """Mean of the largest probability, in [1/K, 1]."""
        return float(self._confidence_sums.sum()) / self._checked_count()

    @property
    def signed_gap(self) -> float:
        """Mean confidence - accuracy, in [-1, 1]; 0 is best, negative is under-confident, positive over-confident."""
        return self.mean_confidence - self.accuracy

    @property
    def expected_calibration_error(self) -> float:
        """sum_b (n_b / N) |accuracy_b - confidence_b|, in [0, 1]; 0 is best (Guo et al. 2017)."""
        return float((self._confidence_sums - self._correct_sums).abs().sum()) / self._checked_count()

    @property
    def maximum_calibration_error(self) -> float:
        """Largest |accuracy_b - confidence_b| over the bins that hold an example, in [0, 1]; 0 is best."""
        self._checked_count()
        return float((self.bin_accuracy - self.bin_confidence)[self.counts > 0].abs().max())

    def _checked_count(self) -> int:
        if not self.num_examples:
            raise ValueError("CalibrationBins must be updated with at least one example first, got 0")
        return self.num_examples


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> float:
    """Return the top-label expected calibration error with equal-width bins (low, high].

    sum_b (n_b / N) |accuracy_b - mean confidence_b| (Guo et al. 2017). `CalibrationBins` streams it.

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
    return bins.expected_calibration_error


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Return the mean over examples of sum_k (p_k - [k = y])^2 (Brier 1950, all classes summed).

    Args:
        probabilities: (N, K) float in [0, 1], rows sum to 1 within 1e-4; N at least 1.
        labels: (N,) integers in [0, K).

    Returns:
        In [0, 2]; 0 is best.

    Raises:
        ValueError: If there are no examples, the inputs are not probabilities, or labels do not fit.

    Example:
        >>> brier_score(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 1]))
        1.25
    """
    _check_probabilities(probabilities, labels)
    _check_not_empty(probabilities=probabilities)
    errors = probabilities.detach().to(torch.float64, copy=True)
    errors[torch.arange(len(errors), device=errors.device), labels.to(errors.device).long()] -= 1
    return float(errors.square().sum(dim=1).mean())


def negative_log_likelihood_from_logits(logits: Tensor, labels: Tensor) -> float:
    """Return the mean of -log softmax(logits)_y, in float64.

    Args:
        logits: (N, K) float, N at least 1.
        labels: (N,) integers in [0, K).

    Returns:
        In nats, at least 0; 0 is best.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or labels do not fit.

    Example:
        >>> round(negative_log_likelihood_from_logits(torch.zeros(1, 4), torch.tensor([2])), 6)
        1.386294
    """
    check_ndim(2, logits=logits)
    check_same_length(logits=logits, labels=labels)
    _check_floating(logits=logits)
    _check_not_empty(logits=logits)
    check_finite(logits=logits)
    check_labels(labels, num_classes=logits.shape[1])
    return float(F.cross_entropy(logits.detach().to(torch.float64), labels.to(logits.device).long()))


def _check_probabilities(probabilities: Tensor, labels: Tensor) -> None:
    check_ndim(2, probabilities=probabilities)
    check_same_length(probabilities=probabilities, labels=labels)
    _check_floating(probabilities=probabilities)
    check_finite(probabilities=probabilities)
    check_labels(labels, num_classes=probabilities.shape[1])
    if not len(probabilities):
        return
    low, high = (float(bound) for bound in torch.aminmax(probabilities.detach()))
    if low < 0 or high > 1:
        raise ValueError(
            f"probabilities must lie in [0, 1], got values from {low:g} to {high:g} (take softmax of logits)"
        )
    worst = float((probabilities.detach().to(torch.float64).sum(dim=1) - 1).abs().max())
    if worst > SUM_TOLERANCE:
        raise ValueError(
            f"probabilities must have rows that sum to 1 within {SUM_TOLERANCE:g}, got a row that is off by {worst:.2g}"
        )


def _check_floating(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {tensor.dtype}")


def _check_not_empty(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not len(tensor):
            raise ValueError(f"{name} must hold at least one example, got 0")
