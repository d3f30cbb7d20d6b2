"""Predictions of a classifier: accuracy, loss and calibration from its logits, batch by batch or in one call."""

from collections.abc import Callable

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.predictions import check_logits, check_shapes, row_blocks, top_label
from mixscope.metrics.calibration.scores import ClasswiseCalibration, ProperScores
from mixscope.metrics.calibration.top_label import NUM_BINS, CalibrationBins, Reliability, equal_mass_reliability


class PredictionMeter:
    """The numbers of a `CalibrationReport`, fed with logits batch by batch.

    Softmax is taken in float64. Keeps the confidence of every example, 9 bytes each, for the bins of equal counts.
    """

    @checked
    def __init__(
        self, num_bins: int = NUM_BINS, *, keep_logits: bool | Callable[[Tensor, Tensor], object] = False
    ) -> None:
        """Start with no examples.

        Args:
            num_bins: From 1 to a million, of every binned number.
            keep_logits: Whether to keep all logits and labels in memory, or what is given those of each batch instead.
        """
        self.logits: list[Tensor] = []  # (B, K) of each batch, if they are kept
        self.labels: list[Tensor] = []  # (B,), as well
        self._keep_logits = keep_logits
        self._bins, self._scores = CalibrationBins(num_bins), ProperScores()
        self._classwise: ClasswiseCalibration | None = None
        self._top_labels: list[tuple[Tensor, Tensor]] = []  # of each block, its confidences and whether they are right

    @checked
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            logits: (B, K) float, finite; K the same in every batch.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If logits are not finite floats, or labels do not fit. On a GPU it is raised by `report`.
        """
        check_shapes(labels, logits=logits)
        classwise = self._classwise or ClasswiseCalibration(logits.shape[1], self._bins.num_bins)
        classwise.update_logits(logits, labels)  # first: it alone also refuses another K
        self._classwise = classwise
        self._bins.update_logits(logits, labels)
        self._scores.update_logits(logits, labels)
        for rows, row_labels in row_blocks(logits.detach(), labels):
            confidence, prediction = top_label(rows)
            self._top_labels.append((confidence, prediction == row_labels))
        if callable(self._keep_logits):
            self._keep_logits(logits.detach(), labels)
        elif self._keep_logits:
            self.logits.append(logits.detach())
            self.labels.append(labels)

    @property
    def reliability(self) -> Reliability:
        """What a reliability diagram is drawn from, in equal-width bins."""
        return self._bins.reliability

    def report(self) -> CalibrationReport:
        """Return the numbers over all examples; a ValueError where there are none, or a batch was refused."""
        bins, scores = self._bins, self._scores
        accuracy = bins.accuracy  # raises where nothing was seen
        assert self._classwise is not None
        confidence, is_correct = (torch.cat(parts) for parts in zip(*self._top_labels, strict=True))
        equal_mass = equal_mass_reliability(confidence, is_correct, num_bins=bins.num_bins)
        return CalibrationReport(
            accuracy=accuracy,
            error=1 - accuracy,
            loss=scores.negative_log_likelihood,
            brier=scores.brier_score,
            ece=bins.expected_calibration_error,
            ece_equal_mass=equal_mass.error,
            mce=bins.maximum_calibration_error,
            classwise_ece=self._classwise.classwise_calibration_error,
            signed_gap=bins.signed_gap,
            mean_confidence=bins.mean_confidence,
            signed_gap_error=_gap_error(confidence, is_correct),
        )


def _gap_error(confidence: Tensor, is_correct: Tensor) -> float:
    """Return the standard error of mean(confidence - is_correct), two right and two wrong answers added."""
    middle = confidence.mean().expand(4)
    extra = middle - torch.tensor([1, 1, 0, 0], dtype=confidence.dtype, device=confidence.device)
    gaps = torch.cat([confidence - is_correct.to(confidence.dtype), extra])
    return float(gaps.std() / len(gaps) ** 0.5)


@checked
@torch.no_grad()
def calibration_report(logits: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> CalibrationReport:
    """Measure every scalar of the calibration of softmax(logits), taken in float64.

    Probabilities p alone do as well: their logarithm is as good as logits.

    Args:
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).
        num_bins: At least 1, of every binned number.

    Raises:
        ValueError: If there are no examples, logits are not finite floats, or labels do not fit.

    Example:
        >>> report = calibration_report(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
        >>> report.accuracy, report.mean_confidence, report.ece, report.signed_gap, report.brier
        (0.75, 0.5, 0.25, -0.25, 0.5)
    """
    check_logits(logits, labels)
    check_not_empty(logits=logits)
    meter = PredictionMeter(num_bins)
    meter.update(logits, labels)
    return meter.report()
