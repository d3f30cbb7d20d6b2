"""Figures that several studies draw: means with their spread over seeds, curves over epochs, clouds of points."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mixscope.records.samples import Sample
from mixscope.report.document import Exhibit, Series
from mixscope.stats.intervals import student_interval
from mixscope.stats.numbers import interval_text, number_text
from mixscope.studies.engine.results import Number, Results


def mean_and_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the mean of the finite values and both ends of its 95% interval; of a single value the value itself.

    Example:
        >>> mean_and_interval([0.25, math.nan]), mean_and_interval([])
        ((0.25, 0.25, 0.25), (nan, nan, nan))
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        only = finite[0] if finite else math.nan
        return only, only, only
    return statistics.mean(finite), *student_interval(finite)


def mean_text(values: Iterable[float]) -> str:
    """Return a mean over seeds with its 95% interval; "–" without any.

    Example:
        >>> mean_text([1.0, 2.0, 3.0]), mean_text([0.25, math.nan]), mean_text([])
        ('2.00 [−0.48, 4.48]', '0.25', '–')
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return number_text(finite[0]) if finite else "–"
    return interval_text(*mean_and_interval(finite))


def mean_series(name: str, x: Sequence[float], columns: Iterable[Iterable[float]], *, colour: int | None) -> Series:
    """Return the line through means over seeds with Student's 95% interval; a seed without a value is left out there.

    Args:
        name: In the legend.
        x: Places.
        columns: For each place the values of the seeds.
        colour: Place among the colours.
    """
    rows = [(place, *mean_and_interval(column)) for place, column in zip(x, columns, strict=True)]
    _, means, lows, highs = ([row[part] for row in rows] for part in range(4))
    return Series(name, x, means, low=lows, high=highs, colour=colour)


def line_through(samples: Iterable[tuple[float, Sample]], *, name: str, colour: int | None) -> Series:
    """Return the line through the means of samples with their intervals; a place without a number is left out.

    Args:
        samples: Place on the x axis, and what was measured there.
        name: In the legend.
        colour: Place among the colours.
    """
    columns = [(float(place), list(sample.values.values())) for place, sample in samples]
    found = [(place, values) for place, values in columns if any(map(math.isfinite, values))]
    return mean_series(name, [place for place, _ in found], [values for _, values in found], colour=colour)


def kept(line: Series, rows: Sequence[int]) -> Series:
    """Return some of the points of a line."""
    x, y = ([column[row] for row in rows] for column in (line.x, line.y))
    low, high = ([edge[row] for row in rows] if edge else [] for edge in (line.low, line.high))
    return replace(line, x=x, y=y, low=low, high=high)


def after_start(line: Series) -> Series:
    """Return the line without what has no place on a logarithmic x axis, epoch 0 for example."""
    return kept(line, [row for row, place in enumerate(line.x) if place > 0])


def above_zero(line: Series) -> Series:
    """Return the line with an interval that reaches below 0 cut at the line, for a logarithmic y axis."""
    return replace(line, low=[low if low > 0 else line.y[row] for row, low in enumerate(line.low)])


def curve_series(
    results: Results,
    setting: str,
    method: str,
    key: str,
    *,
    table: str = "curve",
    name: str | None = None,
    factor: float = 1.0,
    colour: int | None = None,
) -> Series | None:
    """Return a method's mean curve with Student's 95% interval over seeds; None where nothing was run.

    Args:
        results: Of the study.
        setting: On what.
        method: Of which the curve is.
        key: Column of the table.
        table: "curve" or "measured".
        name: In the legend; left out: the method.
        factor: Multiplies every value, 100 for percent.
        colour: Place among the colours.
    """
    epochs, curves = results.curves(setting, method, table, key)
    if not curves:
        return None
    columns = ([factor * value for value in column] for column in zip(*curves, strict=True))
    return mean_series(name or method, epochs, columns, colour=colour)


def curves_exhibit(
    results: Results,
    setting: str,
    methods: Mapping[str, str],
    key: str,
    *,
    title: str,
    y_title: str,
    table: str = "curve",
    factor: float = 1.0,
    log_x: bool = False,
    log_y: bool = False,
    name: str | None = None,
) -> Exhibit:
    """Return the curves of several methods against epochs.

    Args:
        results: Of the study.
        setting: On what.
        methods: Method to its name in the legend, in order.
        key: Column of the table.
        title: Above the figure.
        y_title: In words, with the unit.
        table: "curve" or "measured".
        factor: Multiplies every value.
        log_x: Whether epochs are on a logarithmic axis; epoch 0 is then left out by it.
        log_y: Whether values are.
        name: Of the exhibit; left out: made of setting and key.
    """
    series = [
        curve_series(results, setting, method, key, table=table, name=label, factor=factor, colour=place)
        for place, (method, label) in enumerate(methods.items())
    ]
    return Exhibit(
        name or exhibit_name(setting, table, key),
        title,
        [line for line in series if line is not None],
        x_title="epoch",
        y_title=y_title,
        log_x=log_x,
        log_y=log_y,
    )


def points_series(
    results: Results, setting: str, methods: Mapping[str, float], number: str | Number, *, name: str, colour: int
) -> Series:
    """Return the seeds' mean of one number against a quantity of the method, with its interval.

    Args:
        results: Of the study.
        setting: On what.
        methods: Method to its place on the x axis (number of labels, alpha, epoch of the switch).
        number: Key of the values, or a function of the outcome.
        name: In the legend.
        colour: Place among the colours.
    """
    samples = [(place, results.sample(setting, method, number)) for method, place in methods.items()]
    return line_through(samples, name=name, colour=colour)


def exhibit_name(*parts: str) -> str:
    """Return letters, digits and hyphens made of words: a name for an exhibit."""
    return "-".join("".join(c if c.isalnum() else "-" for c in part).strip("-").lower() for part in parts)


def plane_exhibit(picture: Mapping[str, Any], *, mode: str, name: str, title: str) -> Exhibit:
    """Return the picture of three classes' blends on the plane of their classifiers.

    Args:
        picture: Of the instrument "planes".
        mode: "eval" or "train".
        name: Of the exhibit.
        title: Above it.
    """
    xs, ys, weights, same = picture[mode]["x"], picture[mode]["y"], picture["weight"], picture["same"]
    groups: list[tuple[str, int, Sequence[int]]] = [
        ("same class", 0, [row for row, is_same in enumerate(same) if is_same]),
        ("different classes, uneven", 1, [r for r, s in enumerate(same) if not s and abs(weights[r] - 0.5) > 0.2]),
        ("different classes, middle", 2, [r for r, s in enumerate(same) if not s and abs(weights[r] - 0.5) <= 0.2]),
    ]
    series = [
        Series(label, [xs[row] for row in rows], [ys[row] for row in rows], is_marked=True, colour=colour)
        for label, colour, rows in groups
        if rows
    ]
    corners = picture["classifiers"]
    outline = [*range(len(corners["x"])), 0]
    series.append(
        Series("classifiers", [corners["x"][i] for i in outline], [corners["y"][i] for i in outline], is_reference=True)
    )
    return Exhibit(name, title, series, x_title="first axis of the plane", y_title="second axis")
