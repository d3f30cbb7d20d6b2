"""Figures of numbers: curves against epochs and layers in depth order. Pure functions from methods to plotly figures.

A figure is a plain mapping {"data", "layout"}, ready for JSON. Traces of a method share its place as `legendgroup`, by
which the page hides and shows methods; `layout.meta.epochs` marks figures whose x axis may turn logarithmic.
"""

from collections.abc import Sequence
from typing import Any

from mixscope.report.axes import LOG_RATIO, flat_axis, linear_number, log_axis, plot_number, settled_range, value_ratio
from mixscope.report.runs.groups import Curve, Method
from mixscope.report.runs.layers import layer_spread, linearity_sites
from mixscope.report.style import (
    CLEAR,
    INK,
    PAPER,
    axis,
    layout,
    method_band,
    method_colour,
    method_dash,
    plot_text,
)

Figure = dict[str, Any]
FEW_POINTS = 30  # up to here every measured epoch gets a dot


def curve_figure(
    methods: Sequence[Method],
    key: str,
    *,
    title: str,
    percent: bool = False,
    is_log: bool = False,
    expected: float | None = None,
    height: int = 250,
) -> Figure | None:
    """Draw a number against epochs: the mean over seeds, with a band from the lowest to the highest seed.

    Args:
        methods: Their colours follow their places.
        key: The key in the measurements.
        title: The y axis in words.
        percent: Show 100 times the number.
        is_log: A logarithmic y axis, where the values span a factor of 3 or more; values at or below 0 are left out.
        expected: A value to mark with a dotted line.
        height: In pixels.

    Returns:
        The figure, or None if no method measured the key at two epochs or more.
    """
    curves = [(method, method.curve(key)) for method in methods]
    if not any(len(curve.epochs) > 1 for _, curve in curves):
        return None
    scale = 100 if percent else 1
    ends = [scale * value for _, curve in curves for spread in curve.spreads for value in (spread.low, spread.high)]
    ratio = value_ratio(ends)
    is_log = is_log and ratio >= LOG_RATIO
    traces = [trace for method, curve in curves for trace in _curve_traces(method, curve, scale, is_log)]
    y_axis = axis(title, **(log_axis(ratio) if is_log else flat_axis(ends)))
    shapes = []
    if expected is not None:
        shapes.append(_line(INK, xref="paper", x0=0, x1=1, y0=expected, y1=expected))
    figure = layout(height=height, xaxis=axis("epoch"), yaxis=y_axis, hovermode="x unified", shapes=shapes)
    return {"data": traces, "layout": figure | {"meta": {"epochs": True}}}


def error_figure(methods: Sequence[Method], key: str, *, title: str, percent: bool, height: int) -> Figure | None:
    """Draw a test curve with each method's turn (where the mean is lowest) and where mixing was switched off.

    The y axis shows everything from the turns on; earlier, higher values may lie above it (double-click shows all).
    Returns None as `curve_figure` does.
    """
    figure = curve_figure(methods, key, title=title, percent=percent, height=height)
    if figure is None:
        return None
    scale = 100 if percent else 1
    curves = [(method, curve) for method in methods if (curve := method.curve(key)).epochs]
    sides = _label_sides([curve for _, curve in curves])
    for (method, curve), side in zip(curves, sides, strict=True):
        best = scale * curve.spreads[curve.turn].mean
        value = f"{best:.2f}%" if percent else f"{best:.3f}"
        epoch = curve.epochs[curve.turn]
        is_late = epoch > 0.8 * curve.epochs[-1]
        figure["data"].append(
            _named(method)
            | {
                "x": [epoch],
                "y": [best],
                "mode": "markers+text",
                "name": _suffixed(method, ", lowest"),
                "text": [f"{value} at {epoch}"],
                "textposition": f"{side} left" if is_late else f"{side} right",
                "textfont": {"size": 11, "color": method_colour(method.index)},
                "cliponaxis": False,
                "hoverinfo": "skip",
                "marker": {"size": 10, "color": PAPER, "line": {"width": 2.5, "color": method_colour(method.index)}},
            }
        )
    for method, _ in curves:
        if method.switched_off is not None:
            last, _ = method.switched_off
            label = {"text": "mixing off", "font": {"size": 11, "color": method_colour(method.index)}}
            figure["layout"]["shapes"].append(
                _line(method_colour(method.index), yref="paper", y0=0, y1=1, x0=last, x1=last)
                | {"label": label | {"textposition": "end", "textangle": -90, "xanchor": "right", "yanchor": "bottom"}}
            )
    figure["layout"]["yaxis"] |= settled_range([curve for _, curve in curves], scale)
    return figure


def layer_figure(methods: Sequence[Method], quantity: str, *, title: str, floor: str | None = None) -> Figure | None:
    """Draw a layer-wise number in depth order, with error bars from the lowest to the highest seed.

    Args:
        methods: Their colours follow their places.
        quantity: A field of the linearity measurement, for example "relative_defect".
        title: The y axis in words.
        floor: A second field to draw beneath it, dotted with open markers.

    Returns:
        The figure, or None if no method measured it.
    """
    sites = linearity_sites(methods)
    traces = []
    for field in (floor, quantity):
        for method in methods if field else []:
            spreads = [layer_spread(method, site, str(field)) for site in sites]
            if not any(spreads):
                continue
            colour, is_floor = method_colour(method.index), field == floor
            traces.append(
                _named(method, suffix=f", {field}" if floor else "")
                | {
                    "x": [plot_text(site, limit=24) for site in sites],
                    "y": [spread and linear_number(spread.mean) for spread in spreads],
                    "error_y": {
                        "type": "data",
                        "symmetric": False,
                        "array": [spread and linear_number(spread.high - spread.mean) for spread in spreads],
                        "arrayminus": [spread and linear_number(spread.mean - spread.low) for spread in spreads],
                        "color": colour,
                        "thickness": 1.2,
                        "width": 3,
                        "visible": not is_floor and any(s is not None and s.num_seeds > 1 for s in spreads),
                    },
                    "mode": "lines+markers",
                    "cliponaxis": False,
                    "line": {
                        "color": colour,
                        "width": 1 if is_floor else 2,
                        "dash": "dot" if is_floor else method_dash(method.index),
                    },
                    "marker": {
                        "size": 7,
                        "color": PAPER if is_floor else colour,
                        "line": {"width": 1.5, "color": colour},
                    },
                }
            )
    if not traces:
        return None
    x_axis = axis(
        "", type="category", categoryorder="array", categoryarray=[plot_text(site, limit=24) for site in sites]
    )
    return {
        "data": traces,
        "layout": layout(height=300, xaxis=x_axis, yaxis=axis(title, rangemode="tozero"), hovermode="x unified"),
    }


def _curve_traces(method: Method, curve: Curve, scale: int, is_log: bool) -> list[Figure]:
    """Return the band (two traces, if there are seeds to span) and the mean line of one method."""
    if not curve.epochs:
        return []

    def column(values: list[float]) -> list[float | None]:
        if is_log:
            return [plot_number(scale * value) if value > 0 else None for value in values]
        return [linear_number(scale * value) for value in values]

    epochs = list(curve.epochs)
    colour = method_colour(method.index)
    traces = []
    if curve.num_seeds > 1:
        edge = _named(method) | {
            "x": epochs,
            "mode": "lines",
            "line": {"width": 0, "color": CLEAR},
            "hoverinfo": "skip",
        }
        traces.append(
            edge | {"y": column([spread.low for spread in curve.spreads]), "name": _suffixed(method, ", lowest seed")}
        )
        traces.append(
            edge
            | {"y": column([spread.high for spread in curve.spreads]), "name": _suffixed(method, ", highest seed")}
            | {"fill": "tonexty", "fillcolor": method_band(method.index)}
        )
    traces.append(
        _named(method)
        | {
            "x": epochs,
            "y": column([spread.mean for spread in curve.spreads]),
            "mode": "lines+markers" if len(epochs) <= FEW_POINTS else "lines",
            "line": {"color": colour, "width": 2, "dash": method_dash(method.index)},
            "marker": {"size": 5, "color": colour},
        }
    )
    return traces


def _named(method: Method, suffix: str = "") -> Figure:
    return {"type": "scatter", "name": _suffixed(method, suffix), "legendgroup": str(method.index)}


def _suffixed(method: Method, suffix: str) -> str:
    return plot_text(method.name) + suffix


def _line(colour: str, **ends: Any) -> Figure:
    return {"type": "line", "layer": "below", "line": {"color": colour, "width": 1.2, "dash": "dot"}} | ends


def _label_sides(curves: Sequence[Curve]) -> list[str]:
    """Return "bottom" or "top" for each turn's label: of turns close to one another the lowest keeps the bottom."""
    turns = [(curve.epochs[curve.turn], curve.spreads[curve.turn].mean) for curve in curves]
    width = max(curve.epochs[-1] for curve in curves)
    height = max(curve.spreads[-1].high for curve in curves) - min(lowest for _, lowest in turns)
    return [
        "top" if any(abs(x - epoch) < 0.15 * width and 0 < lowest - y < 0.3 * height for x, y in turns) else "bottom"
        for epoch, lowest in turns
    ]
