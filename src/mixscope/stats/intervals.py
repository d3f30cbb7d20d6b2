"""Intervals of a mean and of a share, without torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95  # of the interval; a claim true at its limit is then wrongly "held" in at most 2.5 % of all cases


@dataclass(frozen=True)
class Interval:
    """A number with the range it is likely to lie in.

    Attributes:
        value: The estimate; not always inside (see `mixscope.metrics.bootstrap`).
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


def student_interval(values: Sequence[float], *, level: float = LEVEL) -> tuple[float, float]:
    """Return Student's interval of the mean of independent values, mean -+ t s / sqrt(n).

    s is the unbiased standard deviation, t the quantile at (1 + level) / 2 of Student's law with n - 1 degrees of
    freedom (Student 1908). Exact for normal values; for the seeds of one setting the usual choice. Without spread it
    is the value itself.

    Args:
        values: At least two finite numbers.
        level: In (0, 1).

    Raises:
        ValueError: If there are fewer, or level is out of range.

    Example:
        >>> low, high = student_interval([1.0, 2.0, 3.0])
        >>> round(low, 4), round(high, 4)
        (-0.4841, 4.4841)
    """
    check_level(level)
    if len(values) < 2:
        raise ValueError(f"values must be at least 2 for an interval, got {len(values)}")
    from scipy.special import stdtrit  # the quantile behind scipy.stats.t, without the second scipy.stats takes to load

    num, first = len(values), float(values[0])
    mean = first + math.fsum(value - first for value in values) / num  # equal values have their own mean, and no spread
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (num - 1))
    half = float(stdtrit(num - 1, (1 + level) / 2)) * spread / math.sqrt(num)
    return mean - half, mean + half


def share_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the exact 95% interval of a share. Source: Clopper and Pearson 1934.

    Args:
        values: Each 0 or 1; at least one.

    Raises:
        ValueError: If there are none, or one is neither.

    Example:
        >>> low, high = share_interval([1.0, 1.0, 1.0])
        >>> round(low, 3), high
        (0.292, 1.0)
    """
    odd = [value for value in values if value not in (0, 1)][:1]
    if odd or not values:
        raise ValueError(f"values of a share must be 0 or 1, and at least one, got {odd}")
    from scipy.special import betaincinv

    num, hits = len(values), int(sum(values))
    tail = (1 - LEVEL) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, num - hits + 1, tail))
    return low, 1.0 if hits == num else float(betaincinv(hits + 1, num - hits, 1 - tail))


def check_level(level: float) -> None:
    """Raise unless `level` lies in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
