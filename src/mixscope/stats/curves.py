"""Turning points of training curves: where a curve is lowest, and how far above that it ends ("end minus best").

The one definition, for pages, tables, studies and `mixscope.metrics`. Each look is averaged with its two neighbours (at
the ends with the one there is), so that no single noisy look decides what is best or where it ends; a wider window, or
one that grows with the curve, fills a sharp turn and lowers a steep end. Several curves turn together, where their mean
is lowest: the lowest of one noisy curve is low by luck. A curve is "lower is better", oldest first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW = 3  # looks averaged; chosen for the study of Liu et al. 2023 before its runs, and kept for everything
SHORTEST_SMOOTHED = 6  # looks; of fewer, three are half of the curve or more
TIE = 1e-12  # of the largest value: closer ones are equal, as test errors often are, but for the rounding of means


@dataclass(frozen=True)
class TurningPoint:
    """What some curves over the same looks did; of several, each at the place where their mean is lowest.

    Attributes:
        place: Of the lowest smoothed mean, the first of equals; counted from 0.
        window: Looks averaged around each.
        lows: Every curve's smoothed value there.
        ends: Every curve's smoothed value at the last look.
    """

    place: int
    window: int
    lows: tuple[float, ...]
    ends: tuple[float, ...]

    @property
    def rises(self) -> tuple[float, ...]:
        """End minus best of every curve; their mean is at least 0, that of one of several curves may be below."""
        return tuple(end - low for low, end in zip(self.lows, self.ends, strict=True))


def turning_point(curves: Sequence[Sequence[float]], *, window: int | None = None) -> TurningPoint:
    """Return where the mean of some curves is lowest, and how far above that each of them ends.

    Args:
        curves: One per seed, of one length, at least one value each, finite.
        window: Looks averaged. None: 3, of a curve of fewer than 6 looks 1.

    Raises:
        ValueError: If there is no curve or value, lengths differ, a value is not finite, or window is below 1.

    Example:
        >>> turn = turning_point([[0.5, 0.2, 0.3], [0.7, 0.2, 0.5]])
        >>> turn.place, [round(rise, 6) for rise in turn.rises]
        (1, [0.1, 0.3])
    """
    if len({len(curve) for curve in curves}) != 1 or not curves[0]:
        raise ValueError(f"curves must be of one length and hold a value, got lengths {[len(c) for c in curves]}")
    if not all(math.isfinite(value) for curve in curves for value in curve):
        raise ValueError("curves must be finite, got a value that is not")
    window = default_window(len(curves[0])) if window is None else window
    smooth = [running_mean(curve, window=window) for curve in curves]
    means = [math.fsum(values) / len(values) for values in zip(*smooth, strict=True)]
    highest = min(means) + TIE * max(map(abs, means))
    place = next(place for place, mean in enumerate(means) if mean <= highest)
    return TurningPoint(place, window, tuple(row[place] for row in smooth), tuple(row[-1] for row in smooth))


def default_window(num_looks: int) -> int:
    """Return how many looks are averaged in a curve of so many."""
    return WINDOW if num_looks >= SHORTEST_SMOOTHED else 1


def running_mean(values: Sequence[float], *, window: int) -> list[float]:
    """Return every value's mean with its neighbours: `window` of them in all, fewer at the two ends.

    Args:
        values: Numbers, oldest first.
        window: At least 1; an even one reaches one further back than ahead.

    Raises:
        ValueError: If window is below 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    back, ahead = window // 2, (window - 1) // 2
    parts = [values[max(0, place - back) : place + ahead + 1] for place in range(len(values))]
    return [math.fsum(part) / len(part) for part in parts]
