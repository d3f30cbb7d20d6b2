import math

import pytest
import torch

from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.point import gaussian_start
from mixscope.theory.peeled.rates import PREDICTED_RATES, collapse_rates, limiting_rate, power_law_rate

POSITIONS = torch.linspace(10, 1000, 40, dtype=torch.float64)


def test_an_exact_power_is_measured_exactly_in_any_unit():
    for scale in (1e-12, 1.0, 1e12):
        for fit in (power_law_rate, limiting_rate):
            rate = fit(POSITIONS, scale * POSITIONS**-2.5)
            assert rate.exponent == pytest.approx(-2.5, abs=1e-10)
            assert rate.high - rate.low < 1e-9


def test_the_slope_is_the_textbook_one():
    values = POSITIONS**-1.0 * (1 + 0.1 * torch.sin(POSITIONS))
    x, y = POSITIONS.log(), values.log()
    naive = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    assert power_law_rate(POSITIONS, values).exponent == pytest.approx(naive, rel=1e-12)


def test_the_interval_covers_the_truth_under_noise():
    covered = 0
    for seed in range(200):
        noise = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        rate = power_law_rate(POSITIONS, POSITIONS**-1.0 * (0.1 * noise).exp())
        covered += rate.low <= -1 <= rate.high
    assert 0.88 < covered / 200 <= 1.0  # a 95 % interval, by five blocks of unequal weight; seen 0.97


@pytest.mark.parametrize("correction", [0.5, 1.0])
def test_the_first_correction_is_taken_off(correction):
    values = POSITIONS**-1.0 * (1 + 3 / POSITIONS**correction)
    plain = power_law_rate(POSITIONS, values).exponent
    limit = limiting_rate(POSITIONS, values, correction=correction).exponent
    assert abs(limit + 1) < abs(plain + 1) / 3


def test_every_predicted_metric_is_measured_from_the_given_time_on():
    start = gaussian_start([2, 2, 2], dim=4, generator=torch.Generator().manual_seed(0))
    record = layer_peeled_flow(start, log_times=torch.linspace(10, 300, 40, dtype=torch.float64)).value
    rates = collapse_rates(record, first_log_time=100.0)
    assert list(rates) == list(PREDICTED_RATES)
    used = record.log_times >= 100
    assert rates["nc1_trace"] == limiting_rate(record.log_times[used], record.nc1_trace[used])
    with pytest.raises(ValueError, match="first_log_time must leave at least 10 records, got 0 of them"):
        collapse_rates(record, first_log_time=1000.0)


@pytest.mark.parametrize(
    ("positions", "values", "message"),
    [
        (POSITIONS[:9], POSITIONS[:9], "positions must be at least 10 points, got 9"),
        (POSITIONS, POSITIONS[1:], "positions and values must have the same length, got 40 and 39"),
        (POSITIONS - 10, POSITIONS, "positions must be positive and finite, got 0.0"),
        (POSITIONS, 0 * POSITIONS, "values must be positive and finite, got 0.0"),
        (POSITIONS, POSITIONS * math.nan, "values must be finite, got 40 NaN or infinite values"),
        (POSITIONS.flip(0), POSITIONS, "positions must increase, got some that do not"),
        (POSITIONS[:, None], POSITIONS, r"positions must have 1 dimensions, got shape \(40, 1\)"),
    ],
)
def test_curves_that_make_no_sense_are_refused(positions, values, message):
    with pytest.raises(ValueError, match=message):
        power_law_rate(positions, values)


def test_a_correction_that_is_none_is_refused():
    with pytest.raises(ValueError, match="correction must be positive and finite, got 0"):
        limiting_rate(POSITIONS, POSITIONS, correction=0.0)
