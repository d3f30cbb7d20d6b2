import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics import bootstrap
from mixscope.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    mean_interval,
    paired_difference_interval,
    percentile_interval,
    reflected_interval,
    resampled_means,
    student_interval,
)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=stream(seed))


def test_the_ends_are_quantiles_and_their_reflection() -> None:
    resampled = torch.arange(1001.0)[torch.randperm(1001, generator=stream())]
    direct = percentile_interval(400.0, resampled, level=0.9, num_samples=7)
    assert direct.low == pytest.approx(50)
    assert direct.high == pytest.approx(950)
    assert (direct.value, direct.level, direct.num_samples) == (400.0, 0.9, 7)
    mirrored = reflected_interval(400.0, resampled, level=0.9)
    assert mirrored.low == pytest.approx(800 - 950)
    assert mirrored.high == pytest.approx(800 - 50)


def test_resampled_means_are_means_of_drawn_rows() -> None:
    columns = normal(7, 3)
    draws = torch.randint(7, (50, 7), generator=stream(3))
    expected = torch.stack([columns[rows].mean(dim=0) for rows in draws])
    found = resampled_means(columns, generator=stream(3), num_resamples=50)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("block", [1, 100, 10**6])
def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    values = normal(30, 2)
    means = resampled_means(values, generator=stream(), num_resamples=40)
    interval = mean_interval(values[:, 0], generator=stream(), num_resamples=40)
    monkeypatch.setattr(bootstrap, "BLOCK_DRAWS", block)
    torch.testing.assert_close(
        resampled_means(values, generator=stream(), num_resamples=40), means, rtol=1e-12, atol=1e-15
    )
    other = mean_interval(values[:, 0], generator=stream(), num_resamples=40)
    assert (other.low, other.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_the_generator_alone_decides() -> None:
    values = normal(40)
    first = mean_interval(values, generator=stream(1))
    torch.manual_seed(123)
    assert mean_interval(values, generator=stream(1)) == first
    assert mean_interval(values, generator=stream(2)) != first
    generator = stream(1)
    assert mean_interval(values, generator=generator) == first
    assert mean_interval(values, generator=generator) != first  # it goes on


def test_shifting_and_scaling_the_values_shifts_and_scales_the_interval() -> None:
    values = normal(25)
    plain, moved = mean_interval(values, generator=stream()), mean_interval(3 * values + 5, generator=stream())
    student, student_moved = student_interval(values), student_interval(3 * values + 5)
    for before, after in ((plain, moved), (student, student_moved)):
        for name in ("value", "low", "high"):
            assert getattr(after, name) == pytest.approx(3 * getattr(before, name) + 5, rel=1e-10)


def test_whole_curves_are_resampled_together() -> None:
    # Rows that move together: end minus start is 1 for every seed, however they are drawn.
    starts = normal(6, 1)
    curves = torch.cat([starts, starts + 1], dim=1)
    interval = bootstrap_interval(
        curves, lambda sets: sets.mean(dim=1)[:, 1] - sets.mean(dim=1)[:, 0], generator=stream(), num_resamples=50
    )
    assert (interval.value, interval.low, interval.high) == pytest.approx((1, 1, 1))
    assert interval.num_samples == 6


def test_one_sample_has_an_interval_without_width() -> None:
    assert mean_interval(torch.tensor([2.5]), generator=stream()) == Interval(2.5, 2.5, 2.5, 0.95, 1)


def test_the_bootstrap_of_a_mean_knows_its_spread() -> None:
    values = normal(400)
    interval = mean_interval(values, generator=stream(1), num_resamples=4000)
    half = 1.96 * float(values.std(correction=0)) / 20
    # 4,000 resamples know an end of the interval to about 3 % of its distance from the mean.
    assert interval.high - interval.value == pytest.approx(half, rel=0.1)
    assert interval.value - interval.low == pytest.approx(half, rel=0.1)


def test_the_bootstrap_covers_the_mean_of_skewed_values() -> None:
    held = 0
    for seed in range(300):
        values = -torch.rand(150, dtype=torch.float64, generator=stream(seed)).log()  # mean 1
        interval = mean_interval(values, generator=stream(1000 + seed), num_resamples=300)
        held += interval.low <= 1 <= interval.high
    # 0.95 less the bootstrap's shortfall on skewed values, about 0.015; 300 trials scatter by 0.014.
    assert 0.88 <= held / 300 <= 0.985


def test_student_interval_by_hand_and_by_scipy() -> None:
    from scipy import stats

    # Mean 2, s = 1, t = 4.302653 for 2 degrees of freedom.
    interval = student_interval(torch.tensor([1.0, 2.0, 3.0]))
    assert interval.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert (interval.value, interval.level, interval.num_samples) == (2.0, 0.95, 3)
    values = normal(9)
    expected = stats.t.interval(0.9, 8, loc=values.mean().item(), scale=stats.sem(values.numpy()))
    found = student_interval(values, level=0.9)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-10)
    assert student_interval(torch.ones(4)) == Interval(1.0, 1.0, 1.0, 0.95, 4)


def test_student_intervals_cover_the_mean_of_few_normal_values() -> None:
    intervals = [student_interval(values) for values in normal(2000, 4)]
    held = sum(interval.low <= 0 <= interval.high for interval in intervals) / 2000
    assert held == pytest.approx(0.95, abs=0.02)  # 2,000 trials scatter by 0.005


def test_pairing_removes_what_seeds_share() -> None:
    shared, noise = 10 * normal(12), 0.01 * normal(12, seed=1)
    interval = paired_difference_interval(shared + 1 + noise, shared)
    assert 0.98 < interval.low < interval.value < interval.high < 1.02
    swapped = paired_difference_interval(shared, shared + 1 + noise)
    assert (swapped.low, swapped.high) == pytest.approx((-interval.high, -interval.low))
    order = torch.randperm(12, generator=stream())
    together = paired_difference_interval((shared + 1 + noise)[order], shared[order])
    assert together.low == pytest.approx(interval.low)


def test_mistakes_are_named() -> None:
    values, generator = normal(5), stream()
    for level in (0.0, 1.0, math.nan):
        for call in (
            lambda level=level: student_interval(values, level=level),
            lambda level=level: mean_interval(values, generator=generator, level=level),
            lambda level=level: percentile_interval(0.0, values, level=level),
        ):
            with pytest.raises(ValueError, match=r"level must lie in \(0, 1\), got"):
                call()
    with pytest.raises(ValueError, match="values must hold at least 2 samples for an interval, got 1"):
        student_interval(values[:1])
    with pytest.raises(ValueError, match="values must be finite, got 1 NaN or infinite values"):
        student_interval(torch.tensor([1.0, math.nan]))
    with pytest.raises(ValueError, match="values must be finite"):
        mean_interval(torch.tensor([1.0, math.inf]), generator=generator)
    with pytest.raises(ValueError, match="values must have 1 dimensions, got shape"):
        mean_interval(normal(3, 2), generator=generator)
    with pytest.raises(ValueError, match="values must hold at least one example, got 0"):
        mean_interval(torch.zeros(0), generator=generator)
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        mean_interval(values, generator=generator, num_resamples=0)
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        resampled_means(normal(3, 2), generator=generator, num_resamples=0)
    with pytest.raises(ValueError, match="columns must hold at least one example, got 0"):
        resampled_means(torch.zeros(0, 2), generator=generator)
    with pytest.raises(ValueError, match="resampled must not hold NaN, got 1"):
        percentile_interval(0.0, torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="first and second must have the same length, got 5 and 4"):
        paired_difference_interval(values, values[:4])
    with pytest.raises(
        ValueError, match=r"statistic must return one number per resample of values, a tensor of shape \(1,\)"
    ):
        bootstrap_interval(values, lambda sets: sets.mean(), generator=generator)
