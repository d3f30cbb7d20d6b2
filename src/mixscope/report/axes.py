"""Axes of figures: their ranges, their ticks, and the digits of the numbers on them."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from mixscope.report.runs.spread import Curve

LOG_RATIO = 3  # a logarithmic axis that spans less may have a single tick, or none
ROUNDING = 1e-9  # on a linear axis smaller numbers are the rounding of a 0


def plot_number(value: float) -> float:
    """Keep six digits: more cannot be seen, and the page is a third as long."""
    return float(f"{value:.6g}")


def linear_number(value: float) -> float:
    """Return the number for a linear axis: six digits, and 0 for what is only rounding (below 1e-9).

    Example:
        >>> linear_number(1.1e-16), linear_number(-0.12345678)
        (0.0, -0.123457)
    """
    return 0.0 if abs(value) < ROUNDING else plot_number(value)


def value_ratio(values: Sequence[float]) -> float:
    """Return the largest of the values above 0 over the smallest; 1 without any."""
    positive = [value for value in values if value > 0]
    return max(positive) / min(positive) if positive else 1.0


def log_axis(ratio: float) -> dict[str, Any]:
    """Return the settings of a logarithmic axis that spans this ratio: ticks at decades; where they are few, between.

    With a ratio of 3 or more at least two of the numbers 1, 2, ..., 9 of a decade are inside.
    """
    ticks = "D1" if ratio < 8 else "D2" if ratio < 100 else 1 if ratio < 1e6 else None  # None: plotly skips decades
    return {"type": "log", "tickformat": "~g"} | ({"dtick": ticks} if ticks else {})


def flat_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return the settings of a linear axis: one that shows nothing but zeros goes from 0 up, not from -1 to 1."""
    return {} if any(linear_number(value) for value in values) else {"rangemode": "tozero"}


def settled_range(curves: Sequence[Curve], scale: int) -> dict[str, Any]:
    """Return a y range that holds every curve from its turn on and half of all points; none where it would cut nothing.

    The axis starts at 0 wherever there is no range; also where every curve is 0 from its turn on.
    """
    lowest = scale * min(spread.low for curve in curves for spread in curve.spreads)
    highest = scale * max(spread.high for curve in curves for spread in curve.spreads)
    settled = scale * max(spread.high for curve in curves for spread in curve.since_turn)
    top = settled + max(0.6 * (settled - lowest), 0.25 * settled)
    top = max(top, 1.05 * scale * median(spread.high for curve in curves for spread in curve.spreads))
    bottom = max(0.0, lowest - 0.15 * (top - lowest))
    return {"rangemode": "tozero"} | ({"range": [bottom, top]} if settled > 0 and 1.2 * top < highest else {})
