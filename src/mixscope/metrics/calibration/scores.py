"""Proper scores of predicted probabilities: negative log-likelihood and Brier score, fed batch by batch."""

import torch
from torch import Tensor

from mixscope.metrics.calibration.prediction_sums import PredictionSums


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
        """Return what rows of probabilities add."""
        picked, errors = split_label(rows.to(torch.float64), labels)
        return _summed(-picked.log(), errors)

    def _sum_logits(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return what rows of logits add: their logarithms keep what probabilities round to 0."""
        logs = torch.log_softmax(rows.to(torch.float64), dim=1)
        return _summed(-split_label(logs, labels)[0], split_label(logs.exp(), labels)[1])


def split_label(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's entry at its label, (B,), and the rows minus the one-hot labels, (B, K)."""
    # Clamped, because a label that is out of range is found out later (see PredictionSums).
    chosen = labels.long().clamp(0, rows.shape[1] - 1)[:, None]
    return rows.gather(1, chosen)[:, 0], rows.scatter_add(1, chosen, -torch.ones_like(rows[:, :1]))


def _summed(nlls: Tensor, errors: Tensor) -> Tensor:
    """Return the (3,) sums of a block: examples, negative log-likelihoods, squared errors."""
    return torch.stack([torch.full_like(nlls[0], len(nlls)), nlls.sum(), errors.square().sum()])
