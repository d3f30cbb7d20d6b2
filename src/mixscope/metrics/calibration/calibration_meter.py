"""Every scalar of a classifier's calibration in one call, and again after temperature scaling."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_not_empty, naming
from mixscope.base.kinds import checked
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.classwise import ClasswiseCalibration
from mixscope.metrics.calibration.equal_mass import equal_mass_reliability, error_of_reliability
from mixscope.metrics.calibration.predictions import check_logits, row_blocks
from mixscope.metrics.calibration.scores import ProperScores
from mixscope.metrics.calibration.temperature import TemperatureFit, fit_temperature, temperature_scaled
from mixscope.metrics.calibration.top_label import NUM_BINS, CalibrationBins


@dataclass(frozen=True)
class TemperatureReport:
    """Calibration of one set of examples before and after a temperature fitted on another.

    Attributes:
        fit: The temperature, and whether it was found.
        before: Of the logits as they are.
        after: Of the logits over the temperature. Accuracy is the same.
    """

    fit: TemperatureFit
    before: CalibrationReport
    after: CalibrationReport


@checked
@torch.no_grad()
def calibration_report(logits: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> CalibrationReport:
    """Measure every scalar of the calibration of softmax(logits), taken in float64.

    One pass over the logits in blocks; equal-mass bins need the confidences, so memory is of order N beyond the input.

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
    bins, scores = CalibrationBins(num_bins), ProperScores()
    classwise = ClasswiseCalibration(logits.shape[1], num_bins)
    confidences, correct = [], []
    for rows, row_labels in row_blocks(logits, labels):
        probabilities = torch.softmax(rows.to(torch.float64), dim=1)
        confidence, prediction = probabilities.max(dim=1)
        confidences.append(confidence)
        correct.append(prediction == row_labels)
        bins.update(probabilities, row_labels)
        classwise.update(probabilities, row_labels)
        scores.update_logits(rows, row_labels)
    equal_mass = equal_mass_reliability(torch.cat(confidences), torch.cat(correct), num_bins=num_bins)
    return CalibrationReport(
        accuracy=bins.accuracy,
        error=1 - bins.accuracy,
        loss=scores.negative_log_likelihood,
        brier=scores.brier_score,
        ece=bins.expected_calibration_error,
        ece_equal_mass=error_of_reliability(equal_mass),
        mce=bins.maximum_calibration_error,
        classwise_ece=classwise.classwise_calibration_error,
        signed_gap=bins.signed_gap,
        mean_confidence=bins.mean_confidence,
    )


@checked
def calibration_after_temperature(
    fit_logits: Tensor, fit_labels: Tensor, logits: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS
) -> TemperatureReport:
    """Fit the temperature on one set of examples and measure calibration on another, before and after.

    The two sets must not share examples, or the numbers after come out too good; with one set only, cut it by
    `split_rows`. A fit without a minimum is used all the same, at the end of its range: look at `fit.is_converged`.

    Args:
        fit_logits: (M, K) float, finite; M at least 1.
        fit_labels: (M,) integers in [0, K).
        logits: (N, K) float, finite; N at least 1.
        labels: (N,) integers in [0, K).
        num_bins: At least 1.

    Raises:
        ValueError: If a set has no examples, the number of classes differs, logits are not finite floats, or labels do
            not fit.

    Example:
        >>> logits, labels = torch.tensor([[4.0, 0.0]]).repeat(4, 1), torch.tensor([0, 0, 0, 1])
        >>> report = calibration_after_temperature(logits[:4], labels[:4], logits, labels)
        >>> round(report.before.ece, 3), round(report.after.ece, 3), round(report.fit.temperature, 3)
        (0.232, 0.0, 3.641)
    """
    with naming("fit_logits and fit_labels"):
        fit = fit_temperature(fit_logits, fit_labels)
    before = calibration_report(logits, labels, num_bins=num_bins)
    if logits.shape[1] != fit_logits.shape[1]:
        raise ValueError(f"logits must have the {fit_logits.shape[1]} classes of fit_logits, got {logits.shape[1]}")
    # In float64, as everything here: float16 logits over a small temperature would overflow.
    scaled = temperature_scaled(logits.detach().to(torch.float64), fit.temperature)
    return TemperatureReport(fit, before, calibration_report(scaled, labels, num_bins=num_bins))
