"""A self-contained page of chapters: sentences, figures, tables. For what is not a set of runs, theory for example."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mixscope.report.axes import log_axis, plot_number, value_ratio
from mixscope.report.rendering import render_page, write_page
from mixscope.report.runs.curve_figures import Figure
from mixscope.report.style import (
    METHOD_COLOURS,
    MUTED,
    axis,
    layout,
    method_band,
    method_colour,
    method_dash,
    plot_text,
)

MANY_DECADES = 1e6  # of a logarithmic axis: 10⁻⁶ reads better than 0.000001
RESERVED = {"figures", "theme"}  # ids of the page itself
HEIGHT = 300  # of a figure, in pixels
NAME_LENGTH = 60  # of a series where the pointer is; longer ones are cut


@dataclass(frozen=True)
class Series:
    """One line of a figure.

    Attributes:
        name: In the legend.
        x: Places.
        y: Values; NaN leaves a gap.
        low: Lower edge of a band around the line, or empty.
        high: Its upper edge.
        is_marked: Whether points are drawn instead of a line: what was measured rather than computed.
        colour: Its place among the colours; left out: its place in the figure.
        is_dashed: Whether the line is dashed: the second of two in one colour.
        is_reference: Whether it is grey and dotted: what the others are held against.
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


@dataclass(frozen=True)
class Exhibit:
    """One figure of lines.

    Attributes:
        name: Unique on the page, among chapters too; letters, digits and hyphens.
        title: Above the figure.
        series: Its lines.
        x_title: The x axis in words.
        y_title: The y axis in words.
        log_x: Whether the x axis is logarithmic.
        log_y: Whether the y axis is logarithmic.
        is_wide: Whether it takes the full width.
        x_range: First and last x that are shown, above 0 on a logarithmic axis; left out: all.
        y_range: The same of y.
    """

    name: str
    title: str
    series: Sequence[Series]
    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    is_wide: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Cell:
    """A cell of a table with more than one line of words.

    Attributes:
        text: What it says.
        note: Small, beneath.
        badge: Colours the text, a word of its own: "good" green, "bad" red, "open" grey.
        folded: (term, words) pairs that unfold when asked for.
        fold: What is pressed to unfold them; where something is folded.
    """

    text: str
    note: str = ""
    badge: Literal["", "good", "bad", "open"] = ""
    folded: Sequence[tuple[str, str]] = ()
    fold: str = ""


@dataclass(frozen=True)
class Listing:
    """A table of words.

    Attributes:
        columns: A heading for every column.
        rows: As long as the columns; the first cell names the row.
        heads: Row number -> what stands above it over the whole width, about all rows until the next head.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    heads: Mapping[int, Cell] = field(default_factory=dict)

    @property
    def words(self) -> list[list[str]]:
        """What the cells say, without their notes: for a terminal and for Markdown."""
        return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Chapter:
    """One section of the page.

    Attributes:
        name: Its anchor; unique on the page, among figures too.
        heading: In words.
        text: Sentences that say what to look for.
        exhibits: Its figures.
        listing: Its table, under the figures.
        notes: Sentences at the end.
    """

    name: str
    heading: str
    text: str
    exhibits: Sequence[Exhibit] = ()
    listing: Listing | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def write_document(path: Path, chapters: Sequence[Chapter], *, title: str, lead: str, facts: str = "") -> None:
    """Write a page as one HTML file, which loads nothing and appears whole or not at all.

    Args:
        path: Where to write; missing folders are made.
        chapters: At least one.
        title: The page's title.
        lead: What it comes to, in a sentence or two.
        facts: What it was made from, in small print.

    Raises:
        ValueError: If a chapter or a figure has the name of another.
    """
    page = render_document(chapters, title=title, lead=lead, facts=facts)
    write_page(path, page)


def render_document(chapters: Sequence[Chapter], *, title: str, lead: str, facts: str = "") -> str:
    """Return a page as HTML; see `write_document`.

    Raises:
        ValueError: If a chapter or a figure has the name of another, which would be drawn in its place.
    """
    _check_names(chapters)
    figures = {exhibit.name: exhibit_figure(exhibit) for chapter in chapters for exhibit in chapter.exhibits}
    values = {
        "title": title,
        "lead": lead,
        "facts": facts,
        "chapters": chapters,
        "figures": figures,
        "keys": {exhibit.name: exhibit_key(exhibit) for chapter in chapters for exhibit in chapter.exhibits},
        "colours": METHOD_COLOURS,
    }
    return render_page("document.html.j2", figures, values)


def _check_names(chapters: Sequence[Chapter]) -> None:
    names = [name for chapter in chapters for name in (chapter.name, *(exhibit.name for exhibit in chapter.exhibits))]
    twice = sorted({name for name in names if names.count(name) > 1 or name in RESERVED})
    if twice:
        raise ValueError(f"names of chapters and exhibits must be unique, and none of figures and theme, got {twice}")


def exhibit_figure(exhibit: Exhibit) -> Figure:
    """Return the plotly figure of an exhibit: bands first, so that no line lies under one."""
    bands, lines = [], []
    for place, series in enumerate(exhibit.series):
        index = _colour(series, place)
        name = plot_text(series.name, limit=NAME_LENGTH)
        base = {"type": "scatter", "x": _numbers(series.x), "legendgroup": _group(exhibit, place)}
        if len(series.low):
            edge = base | {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
            bands.append(edge | {"y": _numbers(series.low), "name": f"{name}, low"})
            fill = {"fill": "tonexty", "fillcolor": method_band(index)}
            bands.append(edge | fill | {"y": _numbers(series.high), "name": f"{name}, high"})
        lines.append(base | _look(series, index) | {"y": _numbers(series.y), "name": name})
    return {
        "data": bands + lines,
        "layout": layout(
            height=HEIGHT,
            xaxis=_axis(exhibit.x_title, [s.x for s in exhibit.series], is_log=exhibit.log_x, ends=exhibit.x_range),
            yaxis=_axis(exhibit.y_title, [s.y for s in exhibit.series], is_log=exhibit.log_y, ends=exhibit.y_range),
            hovermode="closest",
        ),
    }


@dataclass(frozen=True)
class KeyEntry:
    """One line of a figure's key, which stands above the figure as text: there is room for it on any screen.

    Attributes:
        name: The series'.
        group: What hides and shows the line.
        colour: Class of its colour.
        stroke: Class of its line style.
    """

    name: str
    group: str
    colour: str
    stroke: str


def exhibit_key(exhibit: Exhibit) -> list[KeyEntry]:
    """Return the key of an exhibit: one entry per series."""
    entries = []
    for place, series in enumerate(exhibit.series):
        index = _colour(series, place)
        stroke = "points" if series.is_marked else "dotted" if series.is_reference else ""
        if not stroke and (series.is_dashed or method_dash(index) != "solid"):
            stroke = "dashed"
        colour = "reference" if series.is_reference else f"c{index % len(METHOD_COLOURS)}"
        entries.append(KeyEntry(series.name, _group(exhibit, place), colour, stroke))
    return entries


def _colour(series: Series, place: int) -> int:
    return place if series.colour is None else series.colour


def _group(exhibit: Exhibit, place: int) -> str:
    return f"{exhibit.name}-{place}"


def _look(series: Series, index: int) -> dict[str, Any]:
    """Return how a series is drawn: points, or a line in its colour, or in grey dots."""
    if series.is_marked:
        return {"mode": "markers", "marker": {"size": 5, "color": method_colour(index), "opacity": 0.6}}
    dash = "dash" if series.is_dashed else method_dash(index)
    line = {"color": method_colour(index), "width": 2, "dash": dash}
    if series.is_reference:
        line = {"color": MUTED, "width": 1.5, "dash": "dot"}
    return {"mode": "lines+markers" if len(series.x) == 1 else "lines", "line": line}


def _axis(
    title: str, values: Sequence[Sequence[float]], *, is_log: bool, ends: tuple[float, float] | None
) -> dict[str, Any]:
    """Return an axis with ticks for what is shown on it."""
    shown = [value for row in values for value in row if math.isfinite(value)] if ends is None else list(ends)
    ratio = value_ratio(shown)
    options: dict[str, Any] = log_axis(ratio) if is_log else {}
    if is_log and ratio >= MANY_DECADES:
        options.pop("tickformat", None)  # powers of ten, about six of them
        options["dtick"] = max(1, round(math.log10(ratio) / 6))
    if ends is not None:
        options["range"] = [math.log10(end) for end in ends] if is_log else list(ends)
    return axis(title, **options)


def _numbers(values: Sequence[float]) -> list[float]:
    return [plot_number(value) for value in values]
