"""Meters of all predicted probabilities, not of the top label alone: proper scores and classwise calibration."""

import torch
from torch import Tensor

from mixscope.base.checks import check_numbers, check_size
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.prediction_sums import PredictionSums
from mixscope.metrics.calibration.predictions import bin_positions, equal_edges, top_label
from mixscope.metrics.calibration.top_label import NUM_BINS, Reliability

NUM_SCORES = 5  # of an example, as `example_scores` has them


class ProperScores(PredictionSums):
    """Mean negative log-likelihood and Brier score: three numbers.

    Devices and refused batches: see `PredictionSums`. The results raise ValueError while no example has been seen.
    Where a label's probability is exactly 0 the negative log-likelihood becomes infinite: `update_logits` avoids it.

    Example:
        >>> scores = ProperScores()
        >>> scores.update(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 0]))
        >>> scores.brier_score, round(scores.negative_log_likelihood, 6)
        (0.25, 0.346574)
    """

    names = ("counts", "nll_sums", "brier_sums")
    num_dimensions = 0

    @property
    def negative_log_likelihood(self) -> float:
        """Mean of -log p_y, in nats, at least 0; 0 is best, infinite where a label had probability 0."""
        counts, nll, _ = self.seen()
        return float(nll / counts)

    @property
    def brier_score(self) -> float:
        """Mean of sum_k (p_k - [k = y])^2, in [0, 2]; 0 is best (Brier 1950, all classes summed)."""
        counts, _, brier = self.seen()
        return float(brier / counts)

    def _sum_probabilities(self, rows: Tensor, labels: Tensor) -> Tensor:
        picked, errors = split_label(rows.to(torch.float64), labels)
        return _summed(-picked.log(), errors)

    def _sum_logits(self, rows: Tensor, labels: Tensor) -> Tensor:
        # Logarithms keep what probabilities round to 0.
        logs = torch.log_softmax(rows.to(torch.float64), dim=1)
        return _summed(-split_label(logs, labels)[0], split_label(logs.exp(), labels)[1])


def split_label(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's entry at its label, (B,), and the rows minus the one-hot labels, (B, K)."""
    # Clamped, because a label that is out of range is found out later (see PredictionSums).
    chosen = labels.long().clamp(0, rows.shape[1] - 1)[:, None]
    return rows.gather(1, chosen)[:, 0], rows.scatter_add(1, chosen, -torch.ones_like(rows[:, :1]))


def example_scores(rows: Tensor, labels: Tensor) -> Tensor:
    """Return (B, 5) float64 on the CPU of (B, K) logits: confidence, right or not, loss, Brier, confidence - right."""
    confidence, prediction = top_label(rows)
    logs = torch.log_softmax(rows.to(torch.float64), dim=1)
    is_right = (prediction == labels).to(torch.float64)
    brier = split_label(logs.exp(), labels)[1].square().sum(dim=1)
    return torch.stack([confidence, is_right, -split_label(logs, labels)[0], brier, confidence - is_right], dim=1).cpu()


def _summed(nlls: Tensor, errors: Tensor) -> Tensor:
    """Return the (3,) sums of a block: examples, negative log-likelihoods, squared errors."""
    return torch.stack([torch.full_like(nlls[0], len(nlls)), nlls.sum(), errors.square().sum()])


class ClasswiseCalibration(PredictionSums):
    """For every class, its predicted probability against how often it occurs, in equal-width bins (low, high].

    Every example counts once for every class. With B_kb the n_kb examples whose probability of class k lies in bin b,
    the error of class k is sum_b (n_kb / N) |mean of p_k over B_kb - share of label k in B_kb|, and the classwise error
    is its mean over classes (Kull et al. 2019). Most probabilities are near 0 when K is large, so the number falls
    with K: compare it at equal K only. Keeps K x num_bins sums; devices and refused batches: see `PredictionSums`.

    Example:
        >>> classwise = ClasswiseCalibration(num_classes=2, num_bins=2)
        >>> classwise.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> classwise.class_errors.tolist(), classwise.classwise_calibration_error
        ([0.375, 0.375], 0.375)
    """

    names = ("counts", "probability_sums", "label_sums")
    num_dimensions = 2

    @checked
    def __init__(self, num_classes: int, num_bins: int = NUM_BINS) -> None:
        """Start with no examples of K = `num_classes` classes.

        Raises:
            ValueError: If num_classes or num_bins is not from 1 to a million, or the sums would not fit a memory.
        """
        check_size(1, num_classes=num_classes, num_bins=num_bins)
        check_numbers(num_classes, num_bins, num_classes=num_classes, num_bins=num_bins)
        super().__init__(num_classes, num_bins)

    @property
    def class_errors(self) -> Tensor:
        """(K,) float64, the calibration error of each class's probability, in [0, 1]; 0 is best."""
        counts, probabilities, labels = self.seen()
        return (probabilities - labels).abs().sum(dim=1) / counts[0].sum()

    @property
    def classwise_calibration_error(self) -> float:
        """Mean of `class_errors` over classes, in [0, 1]; 0 is best (Kull et al. 2019)."""
        return float(self.class_errors.mean())

    @checked
    def reliability(self, label: int) -> Reliability:
        """Return one class's reliability diagram: its mean probability as confidence, its frequency as accuracy."""
        num_classes, num_bins = self.shape
        if not 0 <= label < num_classes:
            raise ValueError(f"label must lie in [0, {num_classes}), got {label}")
        counts, probabilities, labels = (sums[label] for sums in self.state().values())
        return Reliability(equal_edges(num_bins), counts, probabilities / counts, labels / counts)

    def _sum_probabilities(self, rows: Tensor, labels: Tensor) -> Tensor:
        num_classes, num_bins = self.shape
        sums = torch.zeros(len(self.names), num_classes, num_bins, dtype=torch.float64, device=rows.device)
        counts, probabilities, label_sums = sums.view(len(self.names), -1)
        first_cell = torch.arange(num_classes, device=rows.device) * num_bins
        cells = bin_positions(rows, num_bins=num_bins) + first_cell  # bin b of class k is cell k num_bins + b
        flat = cells.flatten()
        counts.index_add_(0, flat, torch.ones_like(flat, dtype=torch.float64))
        probabilities.index_add_(0, flat, rows.to(torch.float64).flatten())
        # Clamped, because a label that is out of range is found out later (see PredictionSums).
        label_cells = cells.gather(1, labels.long().clamp(0, num_classes - 1)[:, None])[:, 0]
        label_sums.index_add_(0, label_cells, torch.ones_like(label_cells, dtype=torch.float64))
        return sums

    def _check_shapes(self, labels: Tensor, **values: Tensor) -> None:
        super()._check_shapes(labels, **values)
        for name, rows in values.items():
            if rows.shape[1] != self.shape[0]:
                raise ValueError(f"{name} must have {self.shape[0]} classes, got {rows.shape[1]}")
