"""95% intervals of a mean and of a share, without torch."""

import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95  # of the interval; a claim true at its limit is then wrongly "held" in at most 2.5 % of all cases


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95% interval of the mean of independent values; without spread it is the value itself.

    Args:
        values: At least two finite numbers.

    Raises:
        ValueError: If there are fewer.
    """
    if len(values) < 2:
        raise ValueError(f"values must be at least 2 for an interval, got {len(values)}")
    from scipy.special import stdtrit

    mean = statistics.mean(values)  # exact sums: equal values have their own mean, and no spread
    half = stdtrit(len(values) - 1, (1 + LEVEL) / 2) * statistics.stdev(values) / math.sqrt(len(values))
    return float(mean - half), float(mean + half)


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
    if not values or any(value not in (0, 1) for value in values):
        raise ValueError(f"values of a share must be 0 or 1, and at least one, got {list(values)}")
    from scipy.special import betaincinv

    num, hits = len(values), int(sum(values))
    tail = (1 - LEVEL) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, num - hits + 1, tail))
    return low, 1.0 if hits == num else float(betaincinv(hits + 1, num - hits, 1 - tail))
