"""Numbers of layers in depth order: the mean over seeds with its interval, and a floor beneath it."""

from collections.abc import Iterator, Sequence

from mixscope.metrics.catalogue import find_metric
from mixscope.report.figures.curve_figure import method_line
from mixscope.report.figures.line_figure import Axes, Line, line_figure
from mixscope.report.page import Figure
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread, finite


def layer_figure(methods: Sequence[Method], quantity: str, *, floor: str | None = None) -> Figure | None:
    """Draw one of the catalogue's "linearity" numbers in depth order, and a second one dashed: its floor.

    Without a method that measured it there is no figure.
    """
    card = find_metric(f"linearity/{quantity}")
    sites = linearity_sites(methods)
    return line_figure(
        f"layers-{quantity.replace('_', '-')}",
        f"{card.title} (solid) and its floor (dashed)" if floor else card.axis_label,
        _lines(methods, sites, (floor, quantity) if floor else (quantity,)),
        Axes("", card.column_title, names=sites, y_settings={"rangemode": "tozero"}),
        hover="x unified",
    )


def _lines(methods: Sequence[Method], sites: Sequence[str], quantities: Sequence[str]) -> Iterator[Line]:
    for quantity in quantities:
        for method in methods:
            columns = [spread.values if (spread := layer_spread(method, s, quantity)) else () for s in sites]
            name = f"{method.name}, {quantity}" if len(quantities) > 1 else method.name
            is_dashed = quantity != quantities[-1]
            yield method_line(method, range(len(sites)), columns, name=name, is_dashed=is_dashed)


def linearity_sites(methods: Sequence[Method]) -> list[str]:
    """Return the sites whose linearity was measured, in depth order where the pictures give it."""
    drawn = [layer for method in methods for run in method.runs for layer in run.pictures.get("linearity") or []]
    if drawn:
        return list(dict.fromkeys(str(layer["site"]) for layer in drawn))
    keys = (key.split("/") for method in methods for row in method.final_rows for key in row)
    return list(dict.fromkeys("/".join(k[1:-1]) for k in keys if k[0] == "linearity" and k[-1] == "nonlinearity"))


def layer_spread(method: Method, site: str, quantity: str) -> Spread | None:
    """Return one layer's number over the seeds at the final measurement, or None if it was not measured."""
    measured = method.final(f"linearity/{site}/{quantity}")
    if measured is not None:
        return measured
    layers = [layer for run in method.runs for layer in run.pictures.get("linearity") or [] if layer["site"] == site]
    values = tuple(value for layer in layers if (value := finite(layer.get(quantity))) is not None)
    return Spread(values) if values else None
