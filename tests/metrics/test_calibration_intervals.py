from dataclasses import fields

import pytest
import torch
from calibration_cases import (
    BAD_LOGITS,
    brier_score_from_logits,
    expected_calibration_error_from_logits,
    negative_log_likelihood_from_logits,
    random_logits,
)
from torch import Tensor

from mixscope.metrics import bootstrap
from mixscope.metrics.calibration import calibration_intervals, predictions
from mixscope.metrics.calibration.calibration_intervals import CalibrationIntervals
from mixscope.metrics.calibration.calibration_intervals import calibration_intervals as intervals_of
from mixscope.metrics.calibration.top_label import CalibrationBins


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(intervals: CalibrationIntervals) -> list[float]:
    every = [getattr(intervals, field.name) for field in fields(intervals)]
    return [number for one in every for number in (one.value, one.low, one.high)]


def test_the_values_are_those_of_the_data() -> None:
    logits, labels = random_logits()
    found = intervals_of(logits, labels, generator=stream(), num_resamples=20)
    bins = CalibrationBins()
    bins.update_logits(logits, labels)
    assert found.ece.value == found.ece_reflected.value
    assert found.ece.value == pytest.approx(bins.expected_calibration_error, rel=1e-12)
    assert found.accuracy.value == pytest.approx(bins.accuracy, rel=1e-12)
    assert found.signed_gap.value == pytest.approx(bins.signed_gap, rel=1e-12)
    assert found.loss.value == pytest.approx(negative_log_likelihood_from_logits(logits, labels), rel=1e-12)
    assert found.brier.value == pytest.approx(brier_score_from_logits(logits, labels), rel=1e-12)
    assert found.loss.num_samples == 500


def test_the_intervals_are_those_of_naive_resampling() -> None:
    logits, labels = random_logits(60)
    draws = torch.randint(60, (80, 60), generator=stream(4))
    eces = [expected_calibration_error_from_logits(logits[rows], labels[rows], num_bins=5) for rows in draws]
    nlls = [negative_log_likelihood_from_logits(logits[rows], labels[rows]) for rows in draws]
    ends = torch.tensor([0.05, 0.95], dtype=torch.float64)
    found = intervals_of(logits, labels, generator=stream(4), num_bins=5, num_resamples=80, level=0.9)
    for interval, values in ((found.ece, eces), (found.loss, nlls)):
        expected = torch.quantile(torch.tensor(values, dtype=torch.float64), ends).tolist()
        assert [interval.low, interval.high] == pytest.approx(expected, rel=1e-10)
    low, high = torch.quantile(torch.tensor(eces, dtype=torch.float64), ends).tolist()
    value = found.ece.value
    assert found.ece_reflected.low == pytest.approx(max(0, 2 * value - high), rel=1e-10)
    assert found.ece_reflected.high == pytest.approx(2 * value - low, rel=1e-10)


def test_the_generator_alone_decides_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = random_logits(100)
    first = numbers(intervals_of(logits, labels, generator=stream(1), num_resamples=30))
    assert numbers(intervals_of(logits, labels, generator=stream(1), num_resamples=30)) == first
    assert numbers(intervals_of(logits, labels, generator=stream(2), num_resamples=30)) != first
    for module in (bootstrap, calibration_intervals):
        monkeypatch.setattr(module, "BLOCK_DRAWS", 250)
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 50)
    again = numbers(intervals_of(logits, labels, generator=stream(1), num_resamples=30))
    assert again == pytest.approx(first, rel=1e-10, abs=1e-12)


def test_more_examples_than_are_searched_one_by_one_have_intervals() -> None:
    logits, labels = random_logits(predictions.FEW_VALUES + 1)
    found = intervals_of(logits, labels, generator=stream(), num_resamples=3)
    assert found.ece.value == pytest.approx(expected_calibration_error_from_logits(logits, labels), rel=1e-12)


def drawn(num: int, *, shift: float, seed: int) -> tuple[Tensor, Tensor]:
    """Two-class logits with confidences in (0.5, 1) that are `shift` above the share of right ones."""
    generator = stream(seed)
    confidence = 0.6 + 0.35 * torch.rand(num, dtype=torch.float64, generator=generator)
    is_right = torch.rand(num, dtype=torch.float64, generator=generator) < confidence - shift
    return torch.stack([confidence.log(), (1 - confidence).log()], dim=1), (~is_right).long()


def test_intervals_cover_a_large_error() -> None:
    # True binned error 0.2 in every bin: far from 0, where the bias is small.
    held = dict.fromkeys(("ece", "ece_reflected", "signed_gap"), 0)
    for seed in range(150):
        logits, labels = drawn(400, shift=0.2, seed=seed)
        found = intervals_of(logits, labels, generator=stream(seed), num_resamples=200)
        for name in held:
            interval = getattr(found, name)
            held[name] += interval.low <= 0.2 <= interval.high
        assert found.ece.value > found.ece_if_calibrated.high
    # 0.95; 150 trials scatter by 0.018, 200 resamples and the bias take a little.
    assert all(count / 150 >= 0.87 for count in held.values()), held


def test_chance_alone_explains_the_error_of_a_calibrated_network() -> None:
    inside = 0
    for seed in range(150):
        found = intervals_of(*drawn(400, shift=0.0, seed=seed), generator=stream(seed), num_resamples=200)
        assert found.ece.low > 0  # the documented failure: resampling never reaches down to the true 0
        assert found.ece_reflected.low < found.ece.low
        inside += found.ece_if_calibrated.low <= found.ece.value <= found.ece_if_calibrated.high
    assert 0.88 <= inside / 150 <= 0.99  # 0.95; 150 trials scatter by 0.018


def test_reflected_ends_stay_in_the_unit_interval() -> None:
    logits = torch.tensor([[50.0, 0.0]]).repeat(20, 1)
    wrong = intervals_of(logits, torch.ones(20, dtype=torch.int64), generator=stream(), num_resamples=10)
    assert (wrong.ece_reflected.low, wrong.ece_reflected.high) == pytest.approx((1, 1))
    assert wrong.ece_if_calibrated.high == pytest.approx(0, abs=1e-12)
    one = intervals_of(logits[:1], torch.tensor([0]), generator=stream(), num_resamples=10)
    assert (one.ece.low, one.ece.high) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize(("logits", "labels", "message"), BAD_LOGITS)
def test_bad_logits_are_refused(logits: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intervals_of(torch.tensor(logits), torch.tensor(labels), generator=stream())


def test_mistakes_are_named() -> None:
    logits, labels = random_logits(10)
    with pytest.raises(ValueError, match="logits must hold at least one example, got 0"):
        intervals_of(logits[:0], labels[:0], generator=stream())
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        intervals_of(logits, labels, generator=stream(), num_bins=0)
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        intervals_of(logits, labels, generator=stream(), num_resamples=0)
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\), got 95"):
        intervals_of(logits, labels, generator=stream(), level=95)
