"""Predictions of a classifier: accuracy, loss and calibration from its logits, batch by batch."""

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.classwise import ClasswiseCalibration
from mixscope.metrics.calibration.equal_mass import equal_mass_reliability, error_of_reliability
from mixscope.metrics.calibration.predictions import check_shapes, top_label
from mixscope.metrics.calibration.scores import ProperScores
from mixscope.metrics.calibration.top_label import CalibrationBins, Reliability


class PredictionMeter:
    """The numbers of a `CalibrationReport`, fed with logits batch by batch.

    Softmax is taken in float64. Keeps the confidence of every example, 9 bytes each, for the bins of equal counts; the
    logits and labels, (B, K) and (B,) of each batch, only where `keep_logits` says so.
    """

    def __init__(self, *, keep_logits: bool = False) -> None:
        """Start with no examples."""
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []
        self._keep_logits = keep_logits
        self._bins, self._scores = CalibrationBins(), ProperScores()
        self._classwise: ClasswiseCalibration | None = None
        self._confidences: list[Tensor] = []
        self._correct: list[Tensor] = []

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
        classwise = ClasswiseCalibration(logits.shape[1]) if self._classwise is None else self._classwise
        classwise.update_logits(logits, labels)  # first: it alone also refuses another K
        self._classwise = classwise
        self._bins.update_logits(logits, labels)
        self._scores.update_logits(logits, labels)
        confidence, prediction = top_label(logits.detach())
        self._confidences.append(confidence)
        self._correct.append(prediction == labels.to(prediction.device))
        if self._keep_logits:
            self.logits.append(logits.detach())
            self.labels.append(labels)

    @property
    def reliability(self) -> Reliability:
        """What a reliability diagram is drawn from, in equal-width bins."""
        return self._bins.reliability

    def report(self) -> CalibrationReport:
        """Return the numbers over all examples seen so far.

        Raises:
            ValueError: If there are none, or a batch was refused.
        """
        bins, scores = self._bins, self._scores
        accuracy = bins.accuracy  # raises where nothing was seen
        assert self._classwise is not None
        equal_mass = equal_mass_reliability(torch.cat(self._confidences), torch.cat(self._correct))
        return CalibrationReport(
            accuracy=accuracy,
            error=1 - accuracy,
            loss=scores.negative_log_likelihood,
            brier=scores.brier_score,
            ece=bins.expected_calibration_error,
            ece_equal_mass=error_of_reliability(equal_mass),
            mce=bins.maximum_calibration_error,
            classwise_ece=self._classwise.classwise_calibration_error,
            signed_gap=bins.signed_gap,
            mean_confidence=bins.mean_confidence,
        )
