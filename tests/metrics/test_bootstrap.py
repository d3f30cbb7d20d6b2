import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics import bootstrap
from mixscope.metrics.bootstrap import (
    NUM_RESAMPLES,
    percentile_interval,
    reflected_interval,
    resampled_means,
)
from mixscope.stats.intervals import Interval


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=stream(seed))


def mean_interval(values: Tensor, *, generator: torch.Generator, num_resamples: int = NUM_RESAMPLES) -> Interval:
    means = resampled_means(values[:, None], generator=generator, num_resamples=num_resamples)
    return percentile_interval(float(values.mean()), means[:, 0])


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
    for name in ("value", "low", "high"):
        assert getattr(moved, name) == pytest.approx(3 * getattr(plain, name) + 5, rel=1e-10)


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


def test_mistakes_are_named() -> None:
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"level must lie in \(0, 1\), got"):
            percentile_interval(0.0, normal(5), level=level)
    with pytest.raises(ValueError, match="columns must be finite"):
        resampled_means(torch.tensor([[1.0], [math.inf]]), generator=stream())
    with pytest.raises(ValueError, match="columns must have 2 dimensions, got shape"):
        resampled_means(normal(3), generator=stream())
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        resampled_means(normal(3, 2), generator=stream(), num_resamples=0)
    with pytest.raises(ValueError, match="columns must hold at least one example, got 0"):
        resampled_means(torch.zeros(0, 2), generator=stream())
    with pytest.raises(ValueError, match="resampled must not hold NaN, got 1"):
        percentile_interval(0.0, torch.tensor([0.0, math.nan]))
