"""Proper scores of predicted probabilities: negative log-likelihood and Brier score, whole or batch by batch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.predictions import check_logits, check_probabilities
from mixscope.metrics.calibration.running_sums import RunningSums

_NAMES = ("counts", "nll_sums", "brier_sums")


class ProperScores:
    """Mean negative log-likelihood and Brier score, fed batch by batch: three numbers.

    Any split, order or tree of merges gives the same results (relative 1e-12). Devices and refused batches are handled
    as by `CalibrationBins`. The results raise ValueError while no example has been seen.

    Example:
        >>> scores = ProperScores()
        >>> scores.update(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 0]))
        >>> scores.brier_score, round(scores.negative_log_likelihood, 6)
        (0.25, 0.346574)
    """

    def __init__(self) -> None:
        """Start with no examples."""
        self._sums = RunningSums(_NAMES, ())

    @checked
    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            probabilities: (B, K) float in [0, 1], rows sum to 1 within 1e-4 (float16: 1e-3, bfloat16: 8e-3). Where the
                label's is exactly 0 the negative log-likelihood becomes infinite: `update_logits` avoids it.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If the inputs are not probabilities (logits, for example), or labels do not fit.
        """
        self._sums.add_probabilities(probabilities, labels, _sum_probabilities)

    @checked
    def update_logits(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch by its logits, in float64. When it raises, nothing has changed.

        Args:
            logits: (B, K) float, finite.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If logits are not finite floats, or labels do not fit.
        """
        self._sums.add_logits(logits, labels, _sum_logits)

    @checked
    def merge(self, other: "ProperScores") -> None:
        """Add everything another instance has seen. `other` is left as it was."""
        self._sums.merge(other._sums)

    def all_reduce(self) -> None:
        """Add up what all processes of torch.distributed have seen; every process calls it, once.

        Afterwards all hold the total; calling it again would add the totals. Without torch.distributed nothing changes.
        """
        self._sums.all_reduce()

    def state(self) -> dict[str, Tensor]:
        """Return scalar float64 sums by name, on the CPU: `counts`, `nll_sums`, `brier_sums`."""
        return self._sums.read()

    @classmethod
    @checked
    def from_state(cls, state: Mapping[str, Tensor]) -> "ProperScores":
        """Return the instance whose `state` is given.

        Raises:
            ValueError: If it is not the state of such an instance.
        """
        scores = cls()
        scores._sums = RunningSums.from_state(state, _NAMES, ndim=0)
        return scores

    @property
    def num_examples(self) -> int:
        """The examples seen so far."""
        return int(self.state()["counts"])

    @property
    def negative_log_likelihood(self) -> float:
        """Mean of -log p_y, in nats, at least 0; 0 is best, infinite where a label had probability 0."""
        return self._mean("nll_sums")

    @property
    def brier_score(self) -> float:
        """Mean of sum_k (p_k - [k = y])^2, in [0, 2]; 0 is best (Brier 1950, all classes summed)."""
        return self._mean("brier_sums")

    def _mean(self, name: str) -> float:
        sums = self.state()
        if not sums["counts"]:
            raise ValueError("ProperScores must be updated with at least one example first, got 0")
        return float(sums[name] / sums["counts"])


@checked
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
    return _scores_of_probabilities(probabilities, labels).brier_score


@checked
def brier_score_from_logits(logits: Tensor, labels: Tensor) -> float:
    """Return the `brier_score` of softmax(logits), taken in float64.

    Args:
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).

    Returns:
        In [0, 2]; 0 is best.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or labels do not fit.

    Example:
        >>> brier_score_from_logits(torch.zeros(1, 2), torch.tensor([1]))
        0.5
    """
    return _scores_of_logits(logits, labels).brier_score


@checked
def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Return the mean of -log p_y, in float64.

    Args:
        probabilities: (N, K) float in [0, 1], rows sum to 1 within 1e-4; N at least 1. Probabilities in low precision
            round to 0 what logits still tell apart: prefer `negative_log_likelihood_from_logits`.
        labels: (N,) integers in [0, K).

    Returns:
        In nats, at least 0; 0 is best; infinite if a label has probability 0.

    Raises:
        ValueError: If there are no examples, the inputs are not probabilities, or labels do not fit.

    Example:
        >>> round(negative_log_likelihood(torch.full((1, 4), 0.25), torch.tensor([2])), 6)
        1.386294
    """
    return _scores_of_probabilities(probabilities, labels).negative_log_likelihood


@checked
def negative_log_likelihood_from_logits(logits: Tensor, labels: Tensor) -> float:
    """Return the mean of -log softmax(logits)_y, in float64.

    Args:
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).

    Returns:
        In nats, at least 0; 0 is best.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or labels do not fit.

    Example:
        >>> round(negative_log_likelihood_from_logits(torch.zeros(1, 4), torch.tensor([2])), 6)
        1.386294
    """
    return _scores_of_logits(logits, labels).negative_log_likelihood


def _scores_of_probabilities(probabilities: Tensor, labels: Tensor) -> ProperScores:
    check_probabilities(probabilities, labels)
    check_not_empty(probabilities=probabilities)
    scores = ProperScores()
    scores.update(probabilities, labels)
    return scores


def _scores_of_logits(logits: Tensor, labels: Tensor) -> ProperScores:
    check_logits(logits, labels)
    check_not_empty(logits=logits)
    scores = ProperScores()
    scores.update_logits(logits, labels)
    return scores


def _sum_probabilities(rows: Tensor, labels: Tensor) -> Tensor:
    picked, errors = _split_label(rows.to(torch.float64), labels)
    return _summed(-picked.log(), errors)


def _sum_logits(rows: Tensor, labels: Tensor) -> Tensor:
    logs = torch.log_softmax(rows.to(torch.float64), dim=1)
    picked, _ = _split_label(logs, labels)
    _, errors = _split_label(logs.exp(), labels)
    return _summed(-picked, errors)


def _split_label(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's entry at its label, (B,), and the rows minus the one-hot labels, (B, K)."""
    # Clamped, because a label that is out of range is found out later (see RunningSums).
    chosen = labels.long().clamp(0, rows.shape[1] - 1)[:, None]
    return rows.gather(1, chosen)[:, 0], rows.scatter_add(1, chosen, -torch.ones_like(rows[:, :1]))


def _summed(nlls: Tensor, errors: Tensor) -> Tensor:
    """Return the (3,) sums of a block: examples, negative log-likelihoods, squared errors."""
    return torch.stack([torch.full_like(nlls[0], len(nlls)), nlls.sum(), errors.square().sum()])
