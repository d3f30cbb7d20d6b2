"""Bootstrap intervals: means of resampled rows, and intervals read off the resampled values."""

import math

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_ndim, check_not_empty, check_size
from mixscope.base.kinds import checked
from mixscope.stats.intervals import LEVEL, Interval, check_level

NUM_RESAMPLES = 2000  # Efron and Tibshirani 1993 ask for 1000 or more for the ends of a 95 % interval.
BLOCK_DRAWS = 2**20  # Numbers drawn at a time: 8 MiB of row numbers, and as much again for what is made of them.


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
    return Interval(value, *_ends(value, resampled, level, num_samples), level, num_samples)


@checked
def reflected_interval(
    value: float, resampled: Tensor, *, level: float = LEVEL, num_samples: int | None = None
) -> Interval:
    """Return 2 value - quantiles of the resampled values: the "basic" bootstrap (Davison and Hinkley 1997).

    Takes the resampled values' distance from `value` for that of `value` from the truth, so a bias that resampling
    repeats is taken out. It may leave the statistic's range: clip it where the range is known. Arguments and errors are
    those of `percentile_interval`.

    Example:
        >>> reflected_interval(40.0, torch.arange(101.0), level=0.5)
        Interval(value=40.0, low=5.0, high=55.0, level=0.5, num_samples=None)
    """
    low, high = _ends(value, resampled, level, num_samples)
    return Interval(value, 2 * value - high, 2 * value - low, level, num_samples)


@checked
def resampled_means(columns: Tensor, *, generator: torch.Generator, num_resamples: int = NUM_RESAMPLES) -> Tensor:
    """Return the means of every column over resampled rows, (R, C) float64 on the CPU.

    Rows are drawn with replacement and counted, and the counts multiply the columns: one draw serves all columns, and
    the memory is that of the columns and of 2^20 draws, or of one resample where N is larger. The result does not
    depend on the sizes of blocks.

    Raises:
        ValueError: If columns are not (N, C) and finite, N is 0, or num_resamples, R, is below 1.
    """
    check_ndim(2, columns=columns)
    check_finite(columns=columns)
    check_size(1, num_resamples=num_resamples)
    check_not_empty(columns=columns)
    num = len(columns)
    data = columns.detach().to("cpu", torch.float64)
    size = max(1, BLOCK_DRAWS // num)
    # Made first: small results among the draws' large tensors would keep memory from being given back.
    means = torch.empty(num_resamples, data.shape[1], dtype=torch.float64)
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        draws = torch.randint(num, (rows, num), generator=generator)
        draws += torch.arange(rows)[:, None] * num
        counts = torch.bincount(draws.flatten(), minlength=rows * num).reshape(rows, num)
        means[start : start + rows] = counts.to(torch.float64) @ data / num
    return means


def _ends(value: float, resampled: Tensor, level: float, num_samples: int | None) -> tuple[float, float]:
    """Return the two quantiles of checked arguments."""
    if math.isnan(value):
        raise ValueError("value must be a number, got nan")
    if num_samples is not None:
        check_at_least(1, num_samples=num_samples)
    check_level(level)
    check_ndim(1, resampled=resampled)
    check_not_empty(resampled=resampled)
    if resampled.isnan().any():
        raise ValueError(f"resampled must not hold NaN, got {int(resampled.isnan().sum())}")
    shares = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(resampled.detach().to("cpu", torch.float64), shares).tolist()
    return low, high
