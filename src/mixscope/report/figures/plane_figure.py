"""Blended pairs of three classes on the plane of their three classifiers."""

from collections.abc import Mapping, Sequence
from typing import Any

from mixscope.report.page import Figure, Plot
from mixscope.report.runs.spread import finite
from mixscope.report.style import DIFFERENT_SCALE, INK, SAME_SCALE, layout, plot_text

LABEL_LENGTH, HOVER_LENGTH = 12, 80  # of a class name: more would run out of the panel


def plane_figure(
    name: str, title: str, picture: Mapping[str, Any] | None, *, colour: int | None = None
) -> Figure | None:
    """Draw blended pairs of three classes on the plane of their three classifiers, after Fisher et al. 2024, Fig. 1.

    Red: both members of one class; blue: of two; vivid at weight 1/2, pale at 0 and 1. An arrow points along each
    classifier to the edge of the points; a cross marks the classifier itself. Long class names are cut; pointing at the
    arrow shows them whole. The picture has "classes", "class_names", "classifiers", "same" and "different": points as
    columns "x", "y", "weight" and, where known, "first" and "second", of the classes. Without one there is no figure.
    """
    if picture is None:
        return None
    names = [str(label) for label in picture.get("class_names") or picture["classes"]]
    shown = {index: plot_text(text, limit=HOVER_LENGTH) for index, text in zip(picture["classes"], names, strict=True)}
    traces = [
        _blends(picture["different"], shown, "different classes", DIFFERENT_SCALE),
        _blends(picture["same"], shown, "same class", SAME_SCALE),
    ]
    reach = _reach([(x, y) for trace in traces for x, y in zip(trace["x"], trace["y"], strict=True)])
    classifiers = picture["classifiers"]
    placed = zip(names, classifiers["x"], classifiers["y"], strict=True)
    known = [(text, x, y, length) for text, x, y in placed if (length := _length(x, y))]
    for text, x, y, length in known:
        scale = 1.08 * (reach or length) / length
        traces.append(_arrow(text, scale * x, scale * y))
    crosses = {"symbol": "x-thin", "size": 8, "line": {"width": 2, "color": INK}}
    traces.append(
        {"type": "scatter", "x": [x for _, x, _, _ in known], "y": [y for _, _, y, _ in known], "mode": "markers"}
        | {"marker": crosses, "hoverinfo": "x+y+name", "name": "classifiers"}
    )
    hidden = {"visible": False, "zeroline": False, "constrain": "domain"}
    x_range, y_range = (_room([value for trace in traces for value in trace[side]]) for side in ("x", "y"))
    axes = {"xaxis": hidden | {"range": x_range}, "yaxis": hidden | {"range": y_range, "scaleanchor": "x"}}
    figure = layout(height=310, hovermode="closest", margin={"l": 4, "r": 4, "t": 4, "b": 4}, **axes)
    return Figure(name, title, {"data": traces, "layout": figure}, colour=colour, has_scales=True)


def _arrow(text: str, x: float, y: float) -> Plot:
    whole = f"direction of {plot_text(text, limit=HOVER_LENGTH)}"
    return {
        "type": "scatter",
        "x": [0, x],
        "y": [0, y],
        "mode": "lines+markers+text",
        "line": {"color": INK, "width": 1.8},
        "marker": {"symbol": "arrow", "angleref": "previous", "size": [0, 11], "color": INK},
        "text": ["", plot_text(text, limit=LABEL_LENGTH)],
        "textposition": "top center" if y >= 0 else "bottom center",
        "textfont": {"size": 12, "color": INK},
        "cliponaxis": False,
        "hovertext": ["", whole],
        "hoverinfo": "text",
        "name": f"direction of {plot_text(text)}",
        "showlegend": False,
    }


def _blends(points: Mapping[str, Any], names_of: Mapping[Any, str], kind: str, scale: tuple[str, str]) -> Plot:
    """Return the points of one kind of blend; the most even ones are drawn last, on top."""
    unknown = [None] * len(points["x"])
    members = (points.get("first") or unknown, points.get("second") or unknown)
    columns = zip(points["x"], points["y"], points["weight"], *members, strict=True)
    rows = [row for row in columns if None not in (finite(row[0]), finite(row[1]), finite(row[2]))]
    rows.sort(key=lambda row: -abs(row[2] - 0.5))

    def member(weight: float, index: Any) -> str:
        return f"{weight:.2f}" if index is None else f"{weight:.2f} {names_of.get(index, index)}"

    return {
        "type": "scatter",
        "x": [row[0] for row in rows],
        "y": [row[1] for row in rows],
        "mode": "markers",
        "marker": {
            "size": 4.5,
            "color": [abs(row[2] - 0.5) for row in rows],
            "colorscale": [[0, scale[0]], [1, scale[1]]],
            "cmin": 0,
            "cmax": 0.5,
            "showscale": False,
        },
        "text": [f"{member(w, first)} + {member(1 - w, second)}" for _, _, w, first, second in rows],
        "hoverinfo": "text",
        "name": kind,
    }


def _room(values: Sequence[float | None]) -> list[float]:
    """Return a range that holds the values with an eighth to spare on either side, for the labels."""
    known = [number for value in values if (number := finite(value)) is not None] or [0.0]
    low, high = min(known), max(known)
    spare = 0.125 * (high - low) or 1.0
    return [low - spare, high + spare]


def _length(x: object, y: object) -> float | None:
    """Return the length of a point, or None if a coordinate is missing."""
    first, second = finite(x), finite(y)
    return None if first is None or second is None else (first**2 + second**2) ** 0.5


def _reach(points: Sequence[tuple[float, float]]) -> float:
    """Return the distance from the centre that 99% of the points keep within; 0 without points."""
    lengths = sorted(length for x, y in points if (length := _length(x, y)) is not None)
    return lengths[int(0.99 * (len(lengths) - 1))] if lengths else 0.0
