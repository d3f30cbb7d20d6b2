"""Numbers over the seeds of a method, alone and against epochs."""

import math
from dataclasses import dataclass
from functools import cached_property

from mixscope.records.form import LARGEST
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

    def less(self, other: "Spread") -> "Spread":
        """Return the differences, seed by seed."""
        return Spread(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Turn:
    """The lowest point of the mean curve, averaged over a twentieth of it.

    Attributes:
        epoch: Where it is; the first of equals.
        best: The values there.
        end: Those at the end.
        window: How many measurements each is the mean of.
    """

    epoch: int
    best: Spread
    end: Spread
    window: int

    @property
    def rise(self) -> Spread:
        """End minus best, seed by seed."""
        return self.end.less(self.best)


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
    def end_minus_best(self) -> "Turn":
        """Where the number is lowest, and how far above that it ends; of a curve with a point."""
        smooth = self.smoothed()
        place = min(range(len(smooth.spreads)), key=lambda place: smooth.spreads[place].mean)
        return Turn(smooth.epochs[place], smooth.spreads[place], smooth.spreads[-1], smooth.window)

    @property
    def turn(self) -> int:
        """The place of that epoch."""
        return self.epochs.index(self.end_minus_best.epoch)

    @property
    def window(self) -> int:
        """How many measurements span a twentieth of the curve: an odd number, 1 for a curve of fewer than 40."""
        return 2 * (len(self.epochs) // 40) + 1

    def smoothed(self) -> "Curve":
        """Return the running mean over `window` measurements, seed by seed; at the ends the window stays inside."""
        width, count = self.window, len(self.epochs)
        starts = [min(max(0, place - width // 2), count - width) for place in range(count)]
        spreads = []
        for start in starts:
            rows = [spread.values for spread in self.spreads[start : start + width]]
            spreads.append(Spread(tuple(math.fsum(values) / width for values in zip(*rows, strict=True))))
        return Curve(self.epochs, tuple(spreads))
