"""Drawings with matplotlib of a page's figures, for loggers that take pictures: scatter, lines, bars and labels.

A figure is described once, for plotly; this reads the part of plotly's language that reliability diagrams and planes
are written in. No pyplot: nothing is shown, and no global state is touched.
"""

import html
import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixscope.report.style import GRID, INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 100  # an inch of a drawing has as many of the page's pixels
WIDTH = 560  # pixels; heights are the figures' own
DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
PER_PIXEL = 72 / DOTS  # points


def can_draw() -> bool:
    """Return whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_with_matplotlib(plot: Mapping[str, Any], *, title: str = "", into: "Axes | None" = None) -> "Figure":
    """Draw a figure's plotly description.

    Args:
        plot: "data", traces of type "scatter" or "bar", and "layout".
        title: Above a figure of its own.
        into: Axes that get the first pair of axes; what stands on others is left out. None: a figure of its own.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    if into is not None:
        axes = {"": into}
        figure: Figure = into.figure  # type: ignore[assignment]  # of a subfigure its own
    else:
        figure, axes = _empty(plot["layout"])
    for place, trace in enumerate(plot["data"]):
        side = trace.get("yaxis", "y").removeprefix("y")
        if side in axes:
            (_draw_bars if trace["type"] == "bar" else _draw_points)(axes[side], trace, place)
    for side, own in axes.items():
        _dress(own, plot["layout"], side)
    if title and into is None:
        figure.text(0.02, 0.98, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    return figure


def _empty(layout: Mapping[str, Any]) -> "tuple[Figure, dict[str, Axes]]":
    """Return a figure with axes by the end of plotly's name: "" for y, "2" for y2."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(WIDTH / DOTS, (layout["height"] + 30) / DOTS), dpi=DOTS, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes: dict[str, Axes] = {}
    for name in sorted(key for key in layout if re.fullmatch(r"yaxis\d*", key)):
        low, high = layout[name].get("domain", (0, 1))
        axes[name.removeprefix("yaxis")] = figure.add_axes(
            (0.11, 0.14 + 0.76 * low, 0.85, 0.76 * (high - low)), sharex=axes.get("")
        )
    return figure, axes


def _draw_points(axes: "Axes", trace: Mapping[str, Any], place: int) -> None:
    x, y, mode = _numbers(trace["x"]), _numbers(trace["y"]), trace.get("mode", "lines")
    line, marker = trace.get("line", {}), trace.get("marker", {})
    order, colour = 2 + place, _colour(line.get("color", INK))
    if marker.get("symbol") == "arrow":
        axes.annotate(
            "",
            (x[-1], y[-1]),
            (x[0], y[0]),
            arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0},
            zorder=order,
        )
    elif "lines" in mode:
        dash = DASHES.get(line.get("dash", "solid"), "-")
        axes.plot(
            x, y, dash, color=colour, linewidth=line.get("width", 2) * PER_PIXEL, zorder=order, label=_label(trace)
        )
    if "markers" in mode and marker.get("symbol") != "arrow":
        _draw_markers(axes, x, y, marker, order)
    if "text" in mode:
        for text, at_x, at_y in zip(trace["text"], x, y, strict=True):
            side = "bottom" if trace.get("textposition", "").startswith("top") else "top"
            axes.text(
                at_x, at_y, _plain(text), ha="center", va=side, fontsize=9, color=INK, zorder=order, parse_math=False
            )


def _draw_markers(axes: "Axes", x: Sequence[float], y: Sequence[float], marker: Mapping[str, Any], order: int) -> None:
    size, line = (marker["size"] * PER_PIXEL) ** 2, marker.get("line", {})
    if "colorscale" in marker:
        from matplotlib.colors import LinearSegmentedColormap

        scale = LinearSegmentedColormap.from_list("scale", [(at, _colour(end)) for at, end in marker["colorscale"]])
        limits = {"vmin": marker["cmin"], "vmax": marker["cmax"]}
        axes.scatter(x, y, s=size, c=marker["color"], cmap=scale, linewidths=0, zorder=order, **limits)
        return
    edge, width = _colour(line.get("color", INK)), line.get("width", 0) * PER_PIXEL
    if marker.get("symbol") == "x-thin":
        axes.scatter(x, y, s=size, marker="x", color=edge, linewidths=width, zorder=order)
    else:
        face = _colour(marker["color"])
        axes.scatter(x, y, s=size, color=face, edgecolors=edge, linewidths=width, zorder=order + 0.5)


def _draw_bars(axes: "Axes", trace: Mapping[str, Any], place: int) -> None:
    colour = _colour(trace["marker"]["color"])
    axes.bar(_numbers(trace["x"]), _numbers(trace["y"]), width=trace["width"], color=colour, zorder=2 + place)


def _dress(axes: "Axes", layout: Mapping[str, Any], side: str) -> None:
    """Give axes the titles, ranges and grid of the description."""
    across, up = layout["xaxis"], layout[f"yaxis{side}"]
    if "range" in across:
        axes.set_xlim(*across["range"])
    if "range" in up:
        axes.set_ylim(*up["range"])
    if up.get("scaleanchor") == "x":
        axes.set_aspect("equal", adjustable="box")
    if across.get("visible") is False:
        axes.set_axis_off()
        return
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.tick_params(labelsize=8, colors=MUTED, labelbottom=f"y{side}" == across.get("anchor", "y"))
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.set_ylabel(_plain(up["title"]["text"]), fontsize=9, color=MUTED)
    if f"y{side}" == across.get("anchor", "y"):
        axes.set_xlabel(_plain(across["title"]["text"]), fontsize=9, color=MUTED)
    if side:
        axes.locator_params(axis="y", nbins=up.get("nticks", 3))


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _colour(colour: str) -> "str | tuple[float, float, float, float]":
    """Return '#rrggbb' as it is and 'rgba(r,g,b,a)' as four shares."""
    if not colour.startswith("rgba("):
        return colour
    red, green, blue, opacity = (float(part) for part in colour[5:-1].split(","))
    return red / 255, green / 255, blue / 255, opacity


def _label(trace: Mapping[str, Any]) -> str:
    return _plain(trace.get("name", "")) if trace.get("showlegend") else ""


def _plain(text: str) -> str:
    """Return text that was escaped for plotly as it is read."""
    return html.unescape(text)
