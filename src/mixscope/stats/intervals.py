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
    num, first = len(values), float(values[0])
    mean = first + math.fsum(value - first for value in values) / num  # equal values have their own mean, and no spread
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (num - 1))
    half = student_quantile(num - 1, level=level) * spread / math.sqrt(num)
    return mean - half, mean + half


def student_quantile(degrees: float, *, level: float = LEVEL) -> float:
    """Return how many standard errors Student's interval reaches to either side, with so many degrees of freedom.

    Raises:
        ValueError: If degrees is not positive, or level is out of range.

    Example:
        >>> round(student_quantile(2), 3), round(student_quantile(float("inf")), 3)
        (4.303, 1.96)
    """
    check_level(level)
    if not degrees > 0:
        raise ValueError(f"degrees must be positive, got {degrees}")
    from scipy.special import stdtrit  # the quantile behind scipy.stats.t, without the second scipy.stats takes to load

    return float(stdtrit(min(degrees, 1e9), (1 + level) / 2))


def difference_interval(
    first: Sequence[float], second: Sequence[float], *, level: float = LEVEL
) -> tuple[float, float]:
    """Return Welch's interval of the mean of `second` minus that of `first`, independent samples of any two spreads.

    Source: Welch 1947. Without spread it is the difference itself.

    Raises:
        ValueError: If one has fewer than two values, or level is out of range.

    Example:
        >>> low, high = difference_interval([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
        >>> round(low, 3), round(high, 3)
        (-1.267, 3.267)
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"samples must have at least 2 values each, got {len(first)} and {len(second)}")
    means = [math.fsum(values) / len(values) for values in (first, second)]
    parts = [
        math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
        for values, mean in zip((first, second), means, strict=True)
    ]
    difference, variance = means[1] - means[0], sum(parts)
    if not variance:
        return difference, difference
    shares = [(part / variance) ** 2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)]
    half = student_quantile(1 / sum(shares), level=level) * math.sqrt(variance)
    return difference - half, difference + half


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
    return count_interval(int(sum(values)), len(values))


def count_interval(hits: int, num: int) -> tuple[float, float]:
    """Return the exact 95% interval of a share seen as `hits` of `num` cases. Source: Clopper and Pearson 1934.

    Raises:
        ValueError: If num is below 1, or hits lies outside [0, num].

    Example:
        >>> low, high = count_interval(5, 100)
        >>> round(low, 4), round(high, 4)
        (0.0164, 0.1128)
    """
    if not 0 <= hits <= num or num < 1:
        raise ValueError(f"hits must lie in [0, num] and num be at least 1, got {hits} of {num}")
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, num - hits + 1, tail))
    return low, 1.0 if hits == num else float(betaincinv(hits + 1, num - hits, 1 - tail))


def check_level(level: float) -> None:
    """Raise unless `level` lies in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
