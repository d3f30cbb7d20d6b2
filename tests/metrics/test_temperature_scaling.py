"""Temperature scaling judged on the half it was not fitted on, against a twin and against refitted resamples."""

import math

import pytest
import torch
from calibration_cases import expected_calibration_error_from_logits, negative_log_likelihood_from_logits, random_logits

from mixscope.metrics.calibration import predictions
from mixscope.metrics.calibration.scaling_report import ScalingReport
from mixscope.metrics.calibration.temperature import fit_temperature
from mixscope.metrics.calibration.temperature_scaling import scaling_report


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_half_is_judged_by_the_temperature_of_the_other():
    logits, labels = random_logits(300)
    order = torch.randperm(300, generator=stream(3))
    halves = order[:150], order[150:]
    scaled = logits.clone()
    for own, other in (halves, halves[::-1]):
        scaled[own] = logits[own] / fit_temperature(logits[other], labels[other]).temperature
    found = scaling_report(logits, labels, generator=stream(3), num_resamples=200)
    assert found.temperature == fit_temperature(logits, labels).temperature
    assert found.loss == pytest.approx(negative_log_likelihood_from_logits(scaled, labels), rel=1e-9)
    assert found.ece == pytest.approx(expected_calibration_error_from_logits(scaled, labels), rel=1e-6)
    change = found.loss - negative_log_likelihood_from_logits(logits, labels)
    assert found.loss_change_low < change < found.loss_change_high < 0
    assert found.ece_change_high < 0


def test_the_interval_of_the_temperature_is_that_of_refitted_resamples():
    logits, labels = random_logits(400)
    found = scaling_report(logits, labels, generator=stream(), num_resamples=2)
    draws = torch.randint(400, (200, 400), generator=stream(1))
    fits = torch.tensor([math.log(fit_temperature(logits[rows], labels[rows]).temperature) for rows in draws])
    # 200 resamples know their standard deviation to 5 %.
    width = math.log(found.temperature_high / found.temperature_low) / (2 * 1.96)
    assert width == pytest.approx(float(fits.std()), rel=0.2)
    assert found.temperature_low < 2 < found.temperature_high  # the labels follow the softmax of half the logits


def test_rows_are_fitted_as_if_they_were_alone_whatever_the_blocks(monkeypatch):
    logits, labels = random_logits(100)
    rows = torch.tensor([3, 50, 51, 99, 7, 8, 9, 10])
    alone = fit_temperature(logits[rows], labels[rows])
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 12)
    assert fit_temperature(logits, labels, rows=rows).temperature == pytest.approx(alone.temperature, rel=1e-9)
    with pytest.raises(ValueError, match=r"rows must lie in \[0, 100\), got values from 5 to 100"):
        fit_temperature(logits, labels, rows=torch.tensor([5, 100]))
    with pytest.raises(ValueError, match="rows must hold at least one example"):
        fit_temperature(logits, labels, rows=rows[:0])


def test_without_a_best_temperature_there_are_no_numbers():
    labels = torch.arange(20) % 3
    logits = torch.eye(3)[labels] * 5
    one_wrong = labels.clone()
    one_wrong[0] = 1  # one half has it, the other is all right
    for cases in ((logits, labels), (logits, one_wrong), (logits[:1], labels[:1]), (torch.zeros(20, 3), labels)):
        assert scaling_report(*cases, generator=stream()) == ScalingReport()


def test_half_precision_is_as_good_as_what_it_holds():
    logits, labels = random_logits(200)
    half = logits.to(torch.bfloat16)
    exact = scaling_report(half.double(), labels, generator=stream(), num_resamples=20)
    assert scaling_report(half, labels, generator=stream(), num_resamples=20).as_dict() == pytest.approx(
        exact.as_dict(), rel=1e-9
    )
