"""Figures that several studies draw: curves over epochs with their spread over seeds, and clouds of points."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mixscope.metrics.bootstrap import student_interval
from mixscope.papers.results import Number, Results
from mixscope.report.document import Exhibit, Series


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
    values = torch.tensor(curves, dtype=torch.float64) * factor
    means, lows, highs = [], [], []
    for column in values.unbind(dim=1):
        finite = column[column.isfinite()]
        mean = float(finite.mean()) if len(finite) else math.nan
        interval = student_interval(finite) if len(finite) > 1 else None
        means.append(mean)
        lows.append(mean if interval is None else interval.low)
        highs.append(mean if interval is None else interval.high)
    return Series(name or method, epochs, means, low=lows, high=highs, colour=colour)


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
    x, y, low, high = [], [], [], []
    for method, place in methods.items():
        values = torch.tensor(list(results.sample(setting, method, number).values.values()), dtype=torch.float64)
        values = values[values.isfinite()]
        if not len(values):
            continue
        interval = student_interval(values) if len(values) > 1 else None
        x.append(place)
        y.append(float(values.mean()))
        low.append(y[-1] if interval is None else interval.low)
        high.append(y[-1] if interval is None else interval.high)
    return Series(name, x, y, low=low, high=high, colour=colour)


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
