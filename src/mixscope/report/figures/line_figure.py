"""Figures of lines: means with their intervals, points, and references; what curves of every kind are drawn by."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mixscope.report.page import Figure, KeyEntry, Plot
from mixscope.report.style import (
    BAND_OPACITY,
    CLEAR,
    METHOD_COLOURS,
    MUTED,
    axis,
    layout,
    linear_number,
    log_axis,
    method_colour,
    method_dash,
    plot_number,
    plot_text,
    value_ratio,
    with_opacity,
)
from mixscope.stats.intervals import student_interval

MANY_DECADES = 1e6  # of a logarithmic axis: 10⁻⁶ reads better than 0.000001
HEIGHT = 300  # of a figure, in pixels
NAME_LENGTH = 60  # of a line where the pointer is; longer ones are cut
SITE_LENGTH = 24  # of a layer's name on the axis
FEW_POINTS = 30  # up to here every measured point gets a dot


@dataclass(frozen=True)
class Line:
    """One line of a figure.

    Attributes:
        y: Values; NaN leaves a gap.
        low: Lower edge of a band around the line, or empty; `high` is the upper.
        is_marked: Whether points are drawn instead of a line: what was measured rather than computed.
        colour: Its place among the colours; left out: its place in the figure.
        is_dashed: Whether the line is dashed: the second of two in one colour.
        is_reference: Whether it is grey and dotted: what the others are held against.
        has_dots: Whether the points of a short line are marked: it joins measurements.
        group: What hides and shows it, where that is a key of the section; left out: it has an entry in the figure's.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_marked: bool = False
    colour: int | None = None
    is_dashed: bool = False
    is_reference: bool = False
    has_dots: bool = False
    group: str = ""


@dataclass(frozen=True)
class Axes:
    """The axes of a figure.

    Attributes:
        x_range: First and last x that are shown, in the data's unit; left out: all.
        y_range: The same of y.
        names: What the places 0, 1, 2, ... of the x axis are called, where they are no numbers.
        y_settings: Plotly's own of the y axis, which win.
    """

    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    names: Sequence[str] = ()
    y_settings: Plot = field(default_factory=dict)


def mean_line(name: str, x: Sequence[float], columns: Iterable[Iterable[float]], **look: Any) -> Line:
    """Return the line through means over seeds, with a band of Student's 95% interval where a place has two seeds.

    `columns` hold the values of the seeds at each place: what is not finite is left out, and a place without any.
    `look` are fields of `Line`.
    """
    rows = []
    for place, column in zip(x, columns, strict=True):
        values = [value for value in column if math.isfinite(value)]
        if values:
            mean = statistics.mean(values)
            low, high = student_interval(values) if len(values) > 1 else (mean, mean)
            rows.append((place, mean, low, high, len(values)))
    places, means, lows, highs, counts = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 5
    if max(counts, default=0) < 2:
        lows, highs = [], []
    return Line(name, places, means, lows, highs, **look)


def line_figure(
    name: str,
    title: str,
    lines: Iterable[Line | None],
    axes: Axes,
    *,
    is_wide: bool = False,
    height: int = HEIGHT,
    hover: str = "closest",
    marks: Sequence[Plot] = (),
    shapes: Sequence[Plot] = (),
    meta: Plot | None = None,
) -> Figure | None:
    """Draw lines; bands first, so that no line lies under one.

    On a logarithmic axis what is at or below 0 is left out, and a band that reaches there is cut at its line. None
    among the lines is left out, as are lines without a point; without any there is no figure. `hover` is plotly's
    `hovermode`, `marks` are traces on top, and `meta` says what the page's buttons may do.
    """
    found = [line for line in lines if line is not None]
    coloured = [replace(line, colour=place) if line.colour is None else line for place, line in enumerate(found)]
    drawn = [line for line in (_on_axes(line, axes) for line in coloured) if line.x]
    if not drawn:
        return None
    named = [(line, line.group or f"{name}-{place}") for place, line in enumerate(drawn)]
    bands = [trace for line, group in named for trace in _band(line, group, axes)]
    traces = [_trace(line, group, axes) for line, group in named]
    across = [x for line in drawn for x in line.x]
    upward = [y for line in drawn for y in (*line.y, *line.low, *line.high)]
    ends = axes.y_range or (None if axes.log_y else _band_range(drawn))
    names = {"type": "category", "categoryorder": "array", "categoryarray": _site_names(axes)} if axes.names else {}
    figure = layout(
        height=height,
        xaxis=axis(axes.x_title, **(names or _axis_options(across, is_log=axes.log_x, ends=axes.x_range))),
        yaxis=axis(axes.y_title, **_axis_options(upward, is_log=axes.log_y, ends=ends) | axes.y_settings),
        hovermode=hover,
        shapes=list(shapes),
        meta=meta or {},
    )
    key = [_entry(line, group) for line, group in named if not line.group]
    return Figure(name, title, {"data": [*bands, *traces, *marks], "layout": figure}, is_wide, key=key)


def _on_axes(line: Line, axes: Axes) -> Line:
    """Return the line without what has no place on logarithmic axes; where nothing is finite, without anything."""
    if not any(math.isfinite(y) and (y > 0 or not axes.log_y) for y in line.y):
        return replace(line, x=[], y=[], low=[], high=[])
    if axes.log_y:
        means = [y if y > 0 else math.nan for y in line.y]
        line = replace(line, y=means, low=[low if low > 0 else means[row] for row, low in enumerate(line.low)])
    if axes.log_x:
        rows = [row for row, x in enumerate(line.x) if x > 0]
        x, y, low, high = (
            [column[row] for row in rows] if column else [] for column in (line.x, line.y, line.low, line.high)
        )
        line = replace(line, x=x, y=y, low=low, high=high)
    return line


def _trace(line: Line, group: str, axes: Axes) -> Plot:
    colour = line.colour or 0
    trace: Plot = _base(line, group, line.y, axes) | {"name": plot_text(line.name, limit=NAME_LENGTH)}
    if line.is_marked:
        return trace | {"mode": "markers", "marker": {"size": 5, "color": method_colour(colour), "opacity": 0.6}}
    look = {"color": method_colour(colour), "width": 2, "dash": "dash" if line.is_dashed else method_dash(colour)}
    if line.is_reference:
        look = {"color": MUTED, "width": 1.5, "dash": "dot"}
    has_dots = len(line.x) == 1 or (line.has_dots and len(line.x) <= FEW_POINTS)
    dots = {"marker": {"size": 5, "color": look["color"]}} if has_dots else {}
    return trace | {"mode": "lines+markers" if has_dots else "lines", "line": look} | dots


def _band(line: Line, group: str, axes: Axes) -> list[Plot]:
    if not line.low:
        return []
    name = plot_text(line.name, limit=NAME_LENGTH)
    edge = {"mode": "lines", "line": {"width": 0, "color": CLEAR}, "hoverinfo": "skip", "showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": with_opacity(method_colour(line.colour or 0), BAND_OPACITY)}
    low, high = (_base(line, group, values, axes) | edge for values in (line.low, line.high))
    return [low | {"name": f"{name}, low"}, high | fill | {"name": f"{name}, high"}]


def _base(line: Line, group: str, values: Sequence[float], axes: Axes) -> Plot:
    names, written = _site_names(axes), plot_number if axes.log_y else linear_number
    return {
        "type": "scatter",
        "x": [names[int(x)] if names else plot_number(x) for x in line.x],
        "y": [written(value) if math.isfinite(value) else None for value in values],
        "legendgroup": group,
    }


def _site_names(axes: Axes) -> list[str]:
    return [plot_text(name, limit=SITE_LENGTH) for name in axes.names]


def _entry(line: Line, group: str) -> KeyEntry:
    if line.is_reference:
        return KeyEntry(line.name, group, None, "dotted")
    colour = line.colour or 0
    is_dashed = line.is_dashed or colour >= len(METHOD_COLOURS)
    return KeyEntry(line.name, group, colour, "points" if line.is_marked else "dashed" if is_dashed else "")


def _band_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return a range with room for the lines and as much again on either side, where bands reach further."""
    values = [y for line in lines for y in line.y if math.isfinite(y)]
    edges = [edge for line in lines for edge in (*line.low, *line.high) if math.isfinite(edge)]
    low, high = min(values), max(values)
    room = (high - low) or abs(high) or 1.0
    if not edges or (min(edges) >= low - room and max(edges) <= high + room):
        return None
    return max(min(edges), low - room), min(max(edges), high + room)


def _axis_options(values: Sequence[float], *, is_log: bool, ends: tuple[float, float] | None) -> Plot:
    """Return the settings of an axis with ticks for what is shown on it."""
    shown = [value for value in values if math.isfinite(value)] if ends is None else list(ends)
    if not is_log and ends is None:  # zeros alone are shown from 0 up, not from -1 to 1
        return {} if any(linear_number(value) for value in shown) else {"rangemode": "tozero"}
    if not is_log:
        return {"range": shown}
    ratio = value_ratio(shown)
    options = log_axis(ratio)
    if ratio >= MANY_DECADES:
        options.pop("tickformat", None)  # powers of ten, about six of them
        options["dtick"] = max(1, round(math.log10(ratio) / 6))
    return options | ({} if ends is None else {"range": [math.log10(end) for end in ends]})
