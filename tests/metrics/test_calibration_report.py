import math
import statistics

import pytest
import torch
from calibration_cases import (
    BAD_LOGITS,
    brier_score_from_logits,
    classwise_calibration_error,
    equal_mass_calibration_error,
    negative_log_likelihood_from_logits,
    random_logits,
)

from mixscope.metrics.calibration import predictions
from mixscope.metrics.calibration.prediction_meter import calibration_report
from mixscope.metrics.calibration.temperature import calibration_after_temperature, fit_temperature
from mixscope.metrics.calibration.top_label import CalibrationBins


def error_of_gap(confidence: torch.Tensor, is_right: torch.Tensor) -> float:
    """Standard error of the mean difference, by the textbook, after two right and two wrong answers."""
    mean = statistics.fmean(confidence.tolist())
    gaps = [c - r for c, r in zip(confidence.tolist(), is_right.tolist(), strict=True)]
    gaps += [mean - 1, mean - 1, mean, mean]
    return statistics.stdev(gaps) / math.sqrt(len(gaps))


@pytest.mark.parametrize("block", [6, 100, 10**6])
def test_the_report_is_every_number_measured_alone(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    logits, labels = random_logits()
    probabilities = torch.softmax(logits, dim=1)
    bins = CalibrationBins(10)
    bins.update(probabilities, labels)
    expected = {
        "accuracy": bins.accuracy,
        "error": 1 - bins.accuracy,
        "loss": negative_log_likelihood_from_logits(logits, labels),
        "brier": brier_score_from_logits(logits, labels),
        "ece": bins.expected_calibration_error,
        "ece_equal_mass": equal_mass_calibration_error(probabilities, labels, num_bins=10),
        "mce": bins.maximum_calibration_error,
        "classwise_ece": classwise_calibration_error(probabilities, labels, num_bins=10),
        "signed_gap": bins.signed_gap,
        "mean_confidence": bins.mean_confidence,
        "signed_gap_error": error_of_gap(probabilities.max(dim=1).values, probabilities.argmax(dim=1) == labels),
    }
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", block)
    report = calibration_report(logits.clone().requires_grad_(), labels, num_bins=10)
    assert list(report.as_dict()) == list(expected)
    assert report.as_dict() == pytest.approx(expected, rel=1e-12)


def test_order_names_and_shifts_do_not_matter() -> None:
    logits, labels = random_logits()
    expected = calibration_report(logits, labels).as_dict()
    stream = torch.Generator().manual_seed(0)
    order, names = torch.randperm(500, generator=stream), torch.randperm(6, generator=stream)
    renamed = torch.empty_like(logits)
    renamed[:, names] = logits
    shifted = renamed + torch.linspace(-5, 5, 500, dtype=torch.float64)[:, None]
    assert calibration_report(shifted[order], names[labels][order]).as_dict() == pytest.approx(expected, rel=1e-9)


def test_a_temperature_of_one_split_is_reported_on_another() -> None:
    logits, labels = random_logits(2000)
    fit_rows, rows = torch.randperm(2000, generator=torch.Generator().manual_seed(0)).split(1000)
    report = calibration_after_temperature(logits[fit_rows], labels[fit_rows], logits[rows], labels[rows])
    fit = fit_temperature(logits[fit_rows], labels[fit_rows])
    assert report.fit == fit
    assert fit.temperature == pytest.approx(2, rel=0.2)  # the labels follow the softmax of half the logits
    assert report.before == calibration_report(logits[rows], labels[rows])
    assert report.after == calibration_report(logits[rows] / fit.temperature, labels[rows])
    assert report.after.accuracy == report.before.accuracy
    assert report.after.loss < report.before.loss
    assert report.after.brier < report.before.brier
    assert report.after.ece < 0.5 * report.before.ece
    # Not the loss that was minimised: that belongs to the other split.
    assert report.after.loss != pytest.approx(fit.nll_after, rel=1e-6)


def test_a_fit_without_a_minimum_is_used_and_says_so() -> None:
    sure = torch.tensor([[3.0, 1.0], [0.0, 0.5]], dtype=torch.float16)
    logits, labels = torch.tensor([[2.0, 1.0], [3.0, 1.0]], dtype=torch.float16), torch.tensor([0, 1])
    report = calibration_after_temperature(sure, torch.tensor([0, 1]), logits, labels)
    assert not report.fit.is_converged
    assert "T = 0" in report.fit.reason
    assert report.after.mean_confidence == 1
    assert report.after.ece == 0.5


@pytest.mark.parametrize(("logits", "labels", "message"), BAD_LOGITS)
def test_bad_logits_are_refused(logits: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration_report(torch.tensor(logits), torch.tensor(labels))


def test_mistakes_are_named() -> None:
    logits, labels = random_logits(10)
    with pytest.raises(ValueError, match="logits must hold at least one example, got 0"):
        calibration_report(logits[:0], labels[:0])
    with pytest.raises(ValueError, match="logits must hold at least one example, got 0"):
        calibration_after_temperature(logits[:0], labels[:0], logits, labels)
    with pytest.raises(ValueError, match="logits must have the 6 classes of fit_logits, got 5"):
        calibration_after_temperature(logits, labels, logits[:, :5], labels.clamp(max=4))
