"""Intervals: percentile bootstrap for any statistic, and Student's for a few seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_least,
    check_finite,
    check_ndim,
    check_not_empty,
    check_same_length,
    check_size,
)
from mixscope.base.kinds import checked, describe

NUM_RESAMPLES = 2000  # Efron and Tibshirani 1993 ask for 1000 or more for the ends of a 95 % interval.
LEVEL = 0.95
BLOCK_DRAWS = 2**20  # Numbers drawn at a time: 8 MiB of row numbers, and as much again for what is made of them.


@dataclass(frozen=True)
class Interval:
    """A number with the range it is likely to lie in.

    Attributes:
        value: The estimate; not always inside (see `percentile_interval`).
        low: Lower end.
        high: Upper end.
        level: Share of repetitions in which such an interval should hold the truth, in (0, 1).
        num_samples: Examples or seeds it rests on; None where that is not one number.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL
    num_samples: int | None = None


@checked
def percentile_interval(
    value: float, resampled: Tensor, *, level: float = LEVEL, num_samples: int | None = None
) -> Interval:
    """Return the interval between two quantiles of a statistic's resampled values (Efron and Tibshirani 1993).

    It has its level where the statistic is close to unbiased. A statistic that noise pushes up, such as a calibration
    error or the height above a minimum, is pushed up once more by resampling: the whole interval then lies too high.

    Args:
        value: The statistic of the data themselves.
        resampled: (R,) float, the statistic of resampled data, R at least 1.
        level: In (0, 1).
        num_samples: What the result is to say.

    Raises:
        ValueError: If resampled is not (R,) and free of NaN, or level is out of range.

    Example:
        >>> percentile_interval(2.0, torch.arange(101.0), level=0.5)
        Interval(value=2.0, low=25.0, high=75.0, level=0.5, num_samples=None)
    """
    _check_number(value, num_samples)
    low, high = _ends(resampled, level)
    return Interval(value, low, high, level, num_samples)


@checked
def reflected_interval(
    value: float, resampled: Tensor, *, level: float = LEVEL, num_samples: int | None = None
) -> Interval:
    """Return 2 value - quantiles of the resampled values: the "basic" bootstrap (Davison and Hinkley 1997).

    Takes the resampled values' distance from `value` for that of `value` from the truth, so a bias that resampling
    repeats is taken out. It may leave the statistic's range: clip it where the range is known.

    Args:
        value: The statistic of the data themselves.
        resampled: (R,) float, the statistic of resampled data, R at least 1.
        level: In (0, 1).
        num_samples: What the result is to say.

    Raises:
        ValueError: If resampled is not (R,) and free of NaN, or level is out of range.

    Example:
        >>> reflected_interval(40.0, torch.arange(101.0), level=0.5)
        Interval(value=40.0, low=5.0, high=55.0, level=0.5, num_samples=None)
    """
    _check_number(value, num_samples)
    low, high = _ends(resampled, level)
    return Interval(value, 2 * value - high, 2 * value - low, level, num_samples)


@checked
def bootstrap_interval(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor],
    *,
    generator: torch.Generator,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the percentile bootstrap interval of any statistic of samples drawn independently.

    Args:
        values: (S, ...) float, one row per sample (a seed's number, or its whole curve), S at least 1.
        statistic: Takes (R, S, ...) float64, R resampled sets, and returns (R,).
        generator: A CPU generator; the same one gives the same interval.
        num_resamples: From 1 to a million. Resamples are made in blocks of bounded memory.
        level: In (0, 1).

    Returns:
        The statistic of `values` with its interval (see `percentile_interval` for what it assumes). Of one sample the
        interval has no width.

    Raises:
        ValueError: If there are no values, they are not finite, the statistic's result does not fit, or a number is out
            of range.

    Example:
        >>> values = torch.tensor([1.0, 2.0, 3.0, 6.0])
        >>> interval = bootstrap_interval(
        ...     values, lambda sets: sets.median(dim=1).values, generator=torch.Generator().manual_seed(0)
        ... )
        >>> interval.value, interval.low, interval.high
        (2.0, 1.0, 6.0)
    """
    check_level(level)
    check_size(1, num_resamples=num_resamples)
    check_finite(values=values)
    check_not_empty(values=values)
    data = values.detach().to("cpu", torch.float64)
    num = len(data)
    value = _checked(statistic(data[None]), 1)
    size = max(1, BLOCK_DRAWS // max(1, data.numel()))
    parts = []
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        parts.append(_checked(statistic(data[torch.randint(num, (rows, num), generator=generator)]), rows))
    return percentile_interval(float(value), torch.cat(parts), level=level, num_samples=num)


@checked
def mean_interval(
    values: Tensor, *, generator: torch.Generator, num_resamples: int = NUM_RESAMPLES, level: float = LEVEL
) -> Interval:
    """Return the mean of samples with its percentile bootstrap interval.

    For many samples, of any law. For few it is too narrow (of normal values it holds the mean 84 % of the time at S = 5
    and 90 % at S = 10 instead of 95 %): prefer `student_interval` for seeds.

    Args:
        values: (S,) float, S at least 1.
        generator: A CPU generator.
        num_resamples: At least 1.
        level: In (0, 1).

    Raises:
        ValueError: If values are not (S,) and finite, or a number is out of range.

    Example:
        >>> interval = mean_interval(torch.tensor([1.0, 2.0, 3.0]), generator=torch.Generator().manual_seed(0))
        >>> interval.value, interval.low, interval.high
        (2.0, 1.0, 3.0)
    """
    check_ndim(1, values=values)
    return bootstrap_interval(
        values, lambda sets: sets.mean(dim=1), generator=generator, num_resamples=num_resamples, level=level
    )


@checked
def student_interval(values: Tensor, *, level: float = LEVEL) -> Interval:
    """Return the mean of a few samples with Student's interval: mean -+ t s / sqrt(S).

    s is the unbiased standard deviation, t the quantile at (1 + level) / 2 of Student's law with S - 1 degrees of
    freedom (Student 1908). Exact for normal values; for the seeds of one setting the usual choice.

    Args:
        values: (S,) float, S at least 2: one number per seed.
        level: In (0, 1).

    Raises:
        ValueError: If values are not (S,) and finite with S at least 2, or level is out of range.

    Example:
        >>> interval = student_interval(torch.tensor([1.0, 2.0, 3.0]))
        >>> interval.value, round(interval.low, 4), round(interval.high, 4)
        (2.0, -0.4841, 4.4841)
    """
    from scipy.special import stdtrit  # the quantile behind scipy.stats.t, without the second scipy.stats takes to load

    check_level(level)
    check_ndim(1, values=values)
    check_finite(values=values)
    num = len(values)
    if num < 2:
        raise ValueError(f"values must hold at least 2 samples for an interval, got {num}")
    data = values.detach().to("cpu", torch.float64)
    mean = float(data.mean())
    reach = float(stdtrit(num - 1, (1 + level) / 2)) * float(data.std(correction=1)) / math.sqrt(num)
    return Interval(mean, mean - reach, mean + reach, level, num)


@checked
def paired_difference_interval(first: Tensor, second: Tensor, *, level: float = LEVEL) -> Interval:
    """Return the mean of first - second with Student's interval, paired sample by sample.

    What both settings share (the seed's data, order, initial weights) drops out of the differences, so this is the
    right comparison of two methods run with the same seeds; 0 outside the interval is a difference at this level.

    Args:
        first: (S,) float, S at least 2, one number per seed.
        second: (S,) float, the other method's numbers, seeds in the same order.
        level: In (0, 1).

    Raises:
        ValueError: If the lengths differ, or as `student_interval`.

    Example:
        >>> interval = paired_difference_interval(torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 3.0, 5.0]))
        >>> interval.value, interval.low, interval.high, interval.num_samples
        (1.0, 1.0, 1.0, 3)
    """
    check_ndim(1, first=first, second=second)
    check_same_length(first=first, second=second)
    check_finite(first=first, second=second)
    ours, theirs = (values.detach().to("cpu", torch.float64) for values in (first, second))
    return student_interval(ours - theirs, level=level)


@checked
def resampled_means(columns: Tensor, *, generator: torch.Generator, num_resamples: int = NUM_RESAMPLES) -> Tensor:
    """Return the means of every column over resampled rows.

    Rows are drawn with replacement and counted, and the counts multiply the columns: one draw serves all columns, and
    the memory is that of the columns and of 2^20 draws, or of one resample where N is larger.

    Args:
        columns: (N, C) float, N at least 1, finite.
        generator: A CPU generator; the result does not depend on the sizes of blocks.
        num_resamples: R, at least 1.

    Returns:
        (R, C) float64, on the CPU.

    Raises:
        ValueError: If columns are not (N, C) and finite, or num_resamples is below 1.
    """
    check_ndim(2, columns=columns)
    check_finite(columns=columns)
    check_size(1, num_resamples=num_resamples)
    check_not_empty(columns=columns)
    num = len(columns)
    data = columns.detach().to("cpu", torch.float64)
    size = max(1, BLOCK_DRAWS // num)
    parts = []
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        draws = torch.randint(num, (rows, num), generator=generator)
        draws += torch.arange(rows)[:, None] * num
        counts = torch.bincount(draws.flatten(), minlength=rows * num).reshape(rows, num)
        parts.append(counts.to(torch.float64) @ data / num)
    return torch.cat(parts)


def check_level(level: float) -> None:
    """Raise unless `level` lies in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")


def _check_number(value: float, num_samples: int | None) -> None:
    if math.isnan(value):
        raise ValueError("value must be a number, got nan")
    if num_samples is not None:
        check_at_least(1, num_samples=num_samples)


def _ends(resampled: Tensor, level: float) -> tuple[float, float]:
    check_level(level)
    check_ndim(1, resampled=resampled)
    check_not_empty(resampled=resampled)
    if resampled.isnan().any():
        raise ValueError(f"resampled must not hold NaN, got {int(resampled.isnan().sum())}")
    shares = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(resampled.detach().to("cpu", torch.float64), shares).tolist()
    return low, high


def _checked(values: Any, num: int) -> Tensor:
    if not isinstance(values, Tensor) or tuple(values.shape) != (num,):
        got = describe(values)
        raise ValueError(
            f"statistic must return one number per resample of values, a tensor of shape ({num},), got {got}"
        )
    return values.to(torch.float64)
