"""Numbers of runs against epochs: the mean over seeds with its interval, where it turns, where mixing stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import median
from typing import Any

from mixscope.metrics.catalogue import find_metric
from mixscope.report.figures.line_figure import Axes, Line, line_figure, mean_line
from mixscope.report.page import Figure, Plot
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Curve
from mixscope.report.style import INK, LOG_RATIO, PAPER, linear_number, method_colour, plot_text, value_ratio

IN_PERCENT = {"test/error", "train/accuracy_blends", "train/accuracy_clean"}  # shares that are shown so
EPOCHS = {"epochs": True}  # the page may make the axis logarithmic


def scale_of(key: str) -> int:
    """Return what a number is multiplied by where it is shown: 100 for shares in percent."""
    return 100 if key in IN_PERCENT else 1


def curve_figure(
    methods: Sequence[Method], key: str, *, is_log: bool = False, expected: float | None = None
) -> Figure | None:
    """Draw a number against epochs, as its card names it; None if no method measured it at two epochs or more.

    A logarithmic axis is only taken where the values span a factor of 3 or more; an expected value is dotted.
    """
    curves = _curves(methods, key)
    values = [value for _, curve in curves for spread in curve.spreads for value in spread.values]
    is_log = is_log and value_ratio(values) >= LOG_RATIO
    shapes = [] if expected is None else [_line(INK, xref="paper", x0=0, x1=1, y0=expected, y1=expected)]
    return _draw(curves, key, {"log_y": is_log}, height=250, shapes=shapes, meta=EPOCHS)


def turning_figure(methods: Sequence[Method], key: str, *, height: int) -> Figure | None:
    """Draw a curve of which low is good, with each method's turn and where mixing was switched off.

    The y axis shows everything from the turns on; earlier, higher values may lie above it (double-click shows all).
    Returns None as `curve_figure` does.
    """
    curves = _curves(methods, key)
    if not curves:
        return None
    scale = scale_of(key)
    sides = _label_sides([curve for _, curve in curves])
    return _draw(
        curves,
        key,
        {"y_settings": _settled_range([curve for _, curve in curves], scale)},
        is_wide=True,
        height=height,
        marks=[_ring(method, curve, scale, side) for (method, curve), side in zip(curves, sides, strict=True)],
        shapes=[_switch(method, method.switched_off[0]) for method, _ in curves if method.switched_off is not None],
        meta=EPOCHS | {"settled": True},
    )


def _curves(methods: Sequence[Method], key: str) -> list[tuple[Method, Curve]]:
    """Return the curves that have a point, or none where none has two."""
    curves = [(method, curve) for method in methods if (curve := method.curve(key)).epochs]
    return curves if any(len(curve.epochs) > 1 for _, curve in curves) else []


def _draw(curves: Sequence[tuple[Method, Curve]], key: str, axes: Mapping[str, Any], **options: Any) -> Figure | None:
    """Draw curves as the number's card names them; bands are cut where the number cannot be."""
    card, scale = find_metric(key), scale_of(key)
    shown = card if scale == 1 else replace(card, unit="%")
    lines = [
        method_line(method, curve.epochs, [spread.times(scale).values for spread in curve.spreads])
        for method, curve in curves
    ]
    name = key.replace("/", "-").replace("_", "-")
    low, high = (scale * bound if bound is not None else far for bound, far in ((card.low, -inf), (card.high, inf)))
    possible = [
        replace(line, low=[max(end, low) for end in line.low], high=[min(end, high) for end in line.high])
        for line in lines
    ]
    drawn = Axes("epoch", card.column_title, **axes)
    return line_figure(name, shown.axis_label, possible, drawn, hover="x unified", **options)


def method_line(
    method: Method, x: Sequence[float], columns: Sequence[Sequence[float]], *, name: str = "", is_dashed: bool = False
) -> Line:
    """Return the line through a method's means over seeds, in its colour and hidden by its entry of the key."""
    look = {"colour": method.index, "group": str(method.index), "has_dots": True, "is_dashed": is_dashed}
    return mean_line(name or method.name, x, columns, **look)


def _ring(method: Method, curve: Curve, scale: int, side: str) -> Plot:
    """Return the mark of a curve's turn, with its value and epoch beside it."""
    turn = curve.end_minus_best
    best, colour = scale * turn.best.mean, method_colour(method.index)
    is_late = turn.epoch > 0.8 * curve.epochs[-1]
    return {
        "type": "scatter",
        "name": f"{plot_text(method.name)}, lowest",
        "legendgroup": str(method.index),
        "showlegend": False,
        "x": [turn.epoch],
        "y": [linear_number(best)],
        "mode": "markers+text",
        "text": [f"{best:.2f}% at {turn.epoch}" if scale == 100 else f"{best:.3f} at {turn.epoch}"],
        "textposition": f"{side} left" if is_late else f"{side} right",
        "textfont": {"size": 11, "color": colour},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "marker": {"size": 10, "color": PAPER, "line": {"width": 2.5, "color": colour}},
    }


def _switch(method: Method, epoch: int) -> Plot:
    """Return the upright line where mixing was switched off."""
    colour = method_colour(method.index)
    label = {"text": "mixing off", "font": {"size": 11, "color": colour}, "textposition": "end", "textangle": -90}
    anchors = {"xanchor": "right", "yanchor": "bottom"}
    return _line(colour, yref="paper", y0=0, y1=1, x0=epoch, x1=epoch) | {"label": label | anchors}


def _line(colour: str, **ends: Any) -> Plot:
    return {"type": "line", "layer": "below", "line": {"color": colour, "width": 1.2, "dash": "dot"}} | ends


def _label_sides(curves: Sequence[Curve]) -> list[str]:
    """Return "bottom" or "top" for each turn's label: of turns close to one another the lowest keeps the bottom."""
    turns = [(turn.epoch, turn.best.mean) for turn in (curve.end_minus_best for curve in curves)]
    width = max(curve.epochs[-1] for curve in curves)
    height = max(curve.spreads[-1].high for curve in curves) - min(lowest for _, lowest in turns)
    return [
        "top" if any(abs(x - epoch) < 0.15 * width and 0 < lowest - y < 0.3 * height for x, y in turns) else "bottom"
        for epoch, lowest in turns
    ]


def _settled_range(curves: Sequence[Curve], scale: int) -> dict[str, Any]:
    """Return a y range that holds every curve from its turn on and half of all points; none where it would cut nothing.

    The axis starts at 0 wherever there is no range; also where every curve is 0 from its turn on.
    """
    lowest = scale * min(spread.low for curve in curves for spread in curve.spreads)
    highest = scale * max(spread.high for curve in curves for spread in curve.spreads)
    turns = [curve.epochs.index(curve.end_minus_best.epoch) for curve in curves]
    settled = scale * max(s.high for curve, turn in zip(curves, turns, strict=True) for s in curve.spreads[turn:])
    top = settled + max(0.6 * (settled - lowest), 0.25 * settled)
    top = max(top, 1.05 * scale * median(spread.high for curve in curves for spread in curve.spreads))
    bottom = max(0.0, lowest - 0.15 * (top - lowest))
    return {"rangemode": "tozero"} | ({"range": [bottom, top]} if settled > 0 and 1.2 * top < highest else {})
