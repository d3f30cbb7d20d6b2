"""Calibration of every class's probability, not of the top label alone (Kull et al. 2019); streams and merges."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mixscope.base.checks import check_ndim, check_numbers, check_size
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.predictions import bin_positions, check_probabilities
from mixscope.metrics.calibration.running_sums import RunningSums
from mixscope.metrics.calibration.top_label import NUM_BINS, Reliability

_NAMES = ("counts", "probability_sums", "label_sums")


class ClasswiseCalibration:
    """For every class, its predicted probability against how often it occurs, in equal-width bins (low, high].

    Every example counts once for every class. With B_kb the n_kb examples whose probability of class k lies in bin b,
    the error of class k is sum_b (n_kb / N) |mean of p_k over B_kb - share of label k in B_kb|, and the classwise error
    is its mean over classes (Kull et al. 2019). Most probabilities are near 0 when K is large, so the number falls
    with K: compare it at equal K only.

    Keeps K x num_bins sums. Any split, order or tree of merges gives the same results (relative 1e-12). Devices and
    refused batches are handled as by `CalibrationBins`.

    Example:
        >>> classwise = ClasswiseCalibration(num_classes=2, num_bins=2)
        >>> classwise.update(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> classwise.class_errors.tolist(), classwise.classwise_calibration_error
        ([0.375, 0.375], 0.375)
    """

    @checked
    def __init__(self, num_classes: int, num_bins: int = NUM_BINS) -> None:
        """Start with no examples.

        Args:
            num_classes: K, from 1 to a million.
            num_bins: From 1 to a million.

        Raises:
            ValueError: If num_classes or num_bins is out of range, or K x num_bins sums would not fit a memory.
        """
        check_size(1, num_classes=num_classes, num_bins=num_bins)
        check_numbers(num_classes, num_bins, num_classes=num_classes, num_bins=num_bins)
        self._sums = RunningSums(_NAMES, (num_classes, num_bins))

    @checked
    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            probabilities: (B, K) float in [0, 1], rows sum to 1 within 1e-4 (float16: 1e-3, bfloat16: 8e-3).
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If the inputs are not probabilities (logits, for example), or labels do not fit.
        """
        self._check_classes(probabilities=probabilities)
        self._sums.add_probabilities(probabilities, labels, self._bin)

    @checked
    def update_logits(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch by its logits: the probabilities are their softmax in float64. When it raises, nothing changed.

        Args:
            logits: (B, K) float, finite.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If logits are not finite floats, or labels do not fit.
        """
        self._check_classes(logits=logits)
        self._sums.add_logits(logits, labels, self._bin_softmax)

    @checked
    def merge(self, other: "ClasswiseCalibration") -> None:
        """Add everything another instance has seen. `other` is left as it was.

        Raises:
            ValueError: If the number of classes or bins differs.
        """
        if other._sums.shape != self._sums.shape:
            raise ValueError(
                f"other must have {self.num_classes} classes and {self.num_bins} bins, "
                f"got {other.num_classes} and {other.num_bins}"
            )
        self._sums.merge(other._sums)

    def all_reduce(self) -> None:
        """Add up what all processes of torch.distributed have seen; every process calls it, once.

        Afterwards all hold the total; calling it again would add the totals. Without torch.distributed nothing changes.
        """
        self._sums.all_reduce()

    def state(self) -> dict[str, Tensor]:
        """Return (K, num_bins) float64 sums by name, on the CPU: `counts`, `probability_sums`, `label_sums`."""
        return self._sums.read()

    @classmethod
    @checked
    def from_state(cls, state: Mapping[str, Tensor]) -> "ClasswiseCalibration":
        """Return the instance whose `state` is given.

        Raises:
            ValueError: If it is not the state of such an instance.
        """
        sums = RunningSums.from_state(state, _NAMES, ndim=2)
        classwise = cls(*sums.shape)
        classwise._sums = sums
        return classwise

    @property
    def num_classes(self) -> int:
        """K."""
        return self._sums.shape[0]

    @property
    def num_bins(self) -> int:
        """The number of bins of each class."""
        return self._sums.shape[1]

    @property
    def num_examples(self) -> int:
        """The examples seen so far."""
        return int(self.state()["counts"][0].sum())

    @property
    def class_errors(self) -> Tensor:
        """(K,) float64, the calibration error of each class's probability, in [0, 1]; 0 is best."""
        sums = self.state()
        if not sums["counts"].any():
            raise ValueError("ClasswiseCalibration must be updated with at least one example first, got 0")
        return (sums["probability_sums"] - sums["label_sums"]).abs().sum(dim=1) / sums["counts"][0].sum()

    @property
    def classwise_calibration_error(self) -> float:
        """Mean of `class_errors` over classes, in [0, 1]; 0 is best (Kull et al. 2019)."""
        return float(self.class_errors.mean())

    @checked
    def reliability(self, label: int) -> Reliability:
        """Return one class's reliability diagram: its mean probability as confidence, its frequency as accuracy.

        Args:
            label: The class, in [0, K).

        Raises:
            ValueError: If there is no such class.
        """
        if not 0 <= label < self.num_classes:
            raise ValueError(f"label must lie in [0, {self.num_classes}), got {label}")
        counts, probabilities, labels = (sums[label] for sums in self.state().values())
        edges = torch.arange(self.num_bins + 1, dtype=torch.float64) / self.num_bins
        return Reliability(edges, counts, probabilities / counts, labels / counts)

    def _check_classes(self, **values: Tensor) -> None:
        check_ndim(2, **values)
        for name, rows in values.items():
            if rows.shape[1] != self.num_classes:
                raise ValueError(f"{name} must have {self.num_classes} classes, got {rows.shape[1]}")

    def _bin_softmax(self, rows: Tensor, labels: Tensor) -> Tensor:
        return self._bin(torch.softmax(rows.to(torch.float64), dim=1), labels)

    def _bin(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return a block's (3, K, num_bins) sums: counts, probabilities, labels."""
        sums = torch.zeros(len(_NAMES), *self._sums.shape, dtype=torch.float64, device=rows.device)
        counts, probabilities, label_sums = sums.view(len(_NAMES), -1)
        first_cell = torch.arange(self.num_classes, device=rows.device) * self.num_bins
        cells = bin_positions(rows, num_bins=self.num_bins) + first_cell  # bin b of class k is cell k num_bins + b
        flat = cells.flatten()
        counts.index_add_(0, flat, torch.ones_like(flat, dtype=torch.float64))
        probabilities.index_add_(0, flat, rows.to(torch.float64).flatten())
        # Clamped, because a label that is out of range is found out later (see RunningSums).
        label_cells = cells.gather(1, labels.long().clamp(0, self.num_classes - 1)[:, None])[:, 0]
        label_sums.index_add_(0, label_cells, torch.ones_like(label_cells, dtype=torch.float64))
        return sums


@checked
def classwise_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> float:
    """Return the mean over classes of the calibration error of their probability (Kull et al. 2019).

    mean_k sum_b (n_kb / N) |mean of p_k in bin b - share of label k in bin b|. `ClasswiseCalibration` streams it.

    Args:
        probabilities: (N, K) float in [0, 1], rows sum to 1 within 1e-4; N at least 1.
        labels: (N,) integers in [0, K).
        num_bins: At least 1.

    Returns:
        In [0, 1]; 0 is best.

    Raises:
        ValueError: If there are no examples, the inputs are not probabilities, or labels do not fit.

    Example:
        >>> classwise_calibration_error(torch.tensor([[0.75, 0.25], [1.0, 0.0]]), torch.tensor([0, 0]))
        0.125
    """
    check_probabilities(probabilities, labels)
    classwise = ClasswiseCalibration(probabilities.shape[1], num_bins)
    classwise.update(probabilities, labels)
    return classwise.classwise_calibration_error
