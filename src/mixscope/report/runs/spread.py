"""Numbers over the seeds of a method, alone and against epochs."""

import math
from dataclasses import dataclass
from functools import cached_property

from mixscope.records.form import LARGEST
from mixscope.stats.curves import turning_point
from mixscope.stats.intervals import student_interval


def finite(value: object) -> float | None:
    """Return the number as a float, or None for anything missing, not a number, NaN, infinite or beyond LARGEST."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else None  # false of NaN too


@dataclass(frozen=True)
class Spread:
    """One number over the seeds of a method.

    Attributes:
        values: One per seed, at least one, finite.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return math.fsum(self.values) / len(self.values)

    @property
    def low(self) -> float:
        """The smallest seed's value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest seed's value."""
        return max(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95% interval of the mean; None of one seed."""
        return student_interval(self.values) if len(self.values) > 1 else None

    @property
    def num_seeds(self) -> int:
        """How many seeds."""
        return len(self.values)

    def times(self, factor: float) -> "Spread":
        """Return the same in another unit."""
        return Spread(tuple(factor * value for value in self.values))


@dataclass(frozen=True)
class Turn:
    """Where a curve is lowest, and how far above that it ends, as `mixscope.stats.curves` defines it.

    Attributes:
        epoch: Where the mean is lowest.
        window: How many measurements each number is the mean of.
        best: The values there.
        rise: End minus best, seed by seed.
    """

    epoch: int
    window: int
    best: Spread
    rise: Spread


@dataclass(frozen=True)
class Curve:
    """A number against epochs, over the seeds of a method; only epochs that every seed measured.

    Attributes:
        epochs: Rising.
        spreads: One per epoch, the same seeds in the same order.
    """

    epochs: tuple[int, ...]
    spreads: tuple[Spread, ...]

    @cached_property
    def end_minus_best(self) -> Turn:
        """Where the mean is lowest, and how far above that it ends; of a curve with a point."""
        found = turning_point(list(zip(*(spread.values for spread in self.spreads), strict=True)))
        return Turn(self.epochs[found.place], found.window, Spread(found.lows), Spread(found.rises))
