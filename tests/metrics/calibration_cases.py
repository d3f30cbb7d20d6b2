"""Predictions that the calibration tests share."""

import torch
from torch import Tensor

from mixscope.metrics.calibration.scores import ClasswiseCalibration, ProperScores
from mixscope.metrics.calibration.top_label import CalibrationBins, equal_mass_reliability


def random_logits(num: int = 500, num_classes: int = 6, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Over-confident logits: the labels follow the softmax of half of them."""
    stream = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num, num_classes, dtype=torch.float64, generator=stream)
    return logits, torch.multinomial(torch.softmax(0.5 * logits, dim=1), 1, generator=stream)[:, 0]


def of_probabilities(meter, probabilities: Tensor, labels: Tensor):
    """A meter that has seen some probabilities."""
    meter.update(probabilities, labels)
    return meter


def of_logits(meter, logits: Tensor, labels: Tensor):
    """A meter that has seen some logits."""
    meter.update_logits(logits, labels)
    return meter


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    return of_probabilities(ProperScores(), probabilities, labels).brier_score


def brier_score_from_logits(logits: Tensor, labels: Tensor) -> float:
    return of_logits(ProperScores(), logits, labels).brier_score


def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    return of_probabilities(ProperScores(), probabilities, labels).negative_log_likelihood


def negative_log_likelihood_from_logits(logits: Tensor, labels: Tensor) -> float:
    return of_logits(ProperScores(), logits, labels).negative_log_likelihood


def expected_calibration_error_from_logits(logits: Tensor, labels: Tensor, *, num_bins: int = 15) -> float:
    return of_logits(CalibrationBins(num_bins), logits, labels).expected_calibration_error


def classwise_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> float:
    meter = ClasswiseCalibration(probabilities.shape[1], num_bins)
    return of_probabilities(meter, probabilities, labels).classwise_calibration_error


def equal_mass_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> float:
    confidence, prediction = probabilities.max(dim=1)
    return equal_mass_reliability(confidence, prediction == labels, num_bins=num_bins).error


def random_case(num: int = 500, num_classes: int = 6, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    logits, labels = random_logits(num, num_classes)
    return torch.softmax(logits, dim=1).to(dtype), labels


def two_class(confidences: list[float], *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows (c, 1 - c)."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1).to(dtype)


# What no metric of probabilities takes: probabilities, labels, the message.
BAD_PROBABILITIES = [
    ([[3.0, -2.0]], [0], r"probabilities must lie in \[0, 1\], got values from -2 to 3 \(take softmax of logits\)"),
    ([[0.5, 0.4]], [0], "probabilities must have rows that sum to 1 within 0.0001, got a row that is off by 0.1"),
    ([[0.5, 0.4998]], [0], "rows that sum to 1"),
    ([[0.5, float("nan")]], [0], "probabilities must be finite, got 1 NaN"),
    ([0.5, 0.5], [0], "probabilities must have 2 dimensions"),
    ([[0.5, 0.5]], [2], r"labels must lie in \[0, 2\), got values from 2 to 2"),
    ([[0.5, 0.5]], [-1], r"labels must lie in \[0, 2\), got values from -1 to -1"),
    ([[0.5, 0.5]], [0.0], "labels must be integers, got torch.float32"),
    ([[0.5, 0.5]], [[0]], r"labels must be one integer per example, shape \(N,\), got shape \(1, 1\)"),
    ([[0.5, 0.5]], [0, 1], "probabilities and labels must have the same length, got 1 and 2"),
    ([[0, 1]], [0], "probabilities must be floating point, got torch.int64"),
    ([[]], [0], r"probabilities must have at least one class, got shape \(1, 0\)"),
]

BAD_LOGITS = [
    ([[float("inf"), 0.0]], [0], "logits must be finite, got 1 NaN or infinite values"),
    ([[float("nan"), 0.0]], [0], "logits must be finite"),
    ([[1, 0]], [0], "logits must be floating point, got torch.int64"),
    ([[1.0, 0.0]], [2], r"labels must lie in \[0, 2\), got values from 2 to 2"),
    ([[1.0, 0.0]], [0, 1], "logits and labels must have the same length, got 1 and 2"),
    ([1.0, 0.0], [0], "logits must have 2 dimensions"),
]
