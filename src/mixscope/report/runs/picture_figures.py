"""Figures of one measurement: reliability diagrams and channel coordinates."""

from itertools import pairwise
from typing import Any

from mixscope.records.store import Run
from mixscope.report.axes import linear_number
from mixscope.report.runs.curve_figures import Figure
from mixscope.report.runs.groups import Method, finite
from mixscope.report.style import (
    GRID,
    MUTED,
    PAPER,
    axis,
    layout,
    method_colour,
    with_opacity,
)

Picture = dict[str, Any]
NUM_WEIGHT_BINS = 10  # of the mean lines of the channel picture: enough to see the bend, wide enough to be steady


def pictured_run(method: Method, picture: str) -> Run | None:
    """Return the method's first run (the lowest seed) that has the picture, or None."""
    return next((run for run in method.runs if run.pictures.get(picture)), None)


def pool_reliability(method: Method) -> Picture | None:
    """Add up the reliability bins of a method's seeds; only runs with the first one's bin edges.

    Returns:
        {"edges", "count", "confidence", "accuracy", "num_seeds"}, or None without pictures.
    """
    pictures = [run.pictures["reliability"] for run in method.runs if run.pictures.get("reliability")]
    pictures = [picture for picture in pictures if picture["edges"] == pictures[0]["edges"]]
    if not pictures:
        return None
    counts = [
        sum(finite(count) or 0 for count in column) for column in zip(*(p["count"] for p in pictures), strict=True)
    ]

    def pooled(field: str) -> list[float | None]:
        sums = [
            sum((finite(p[field][place]) or 0) * (finite(p["count"][place]) or 0) for p in pictures)
            for place in range(len(counts))
        ]
        return [total / count if count else None for total, count in zip(sums, counts, strict=True)]

    return {
        "edges": pictures[0]["edges"],
        "count": counts,
        "confidence": pooled("confidence"),
        "accuracy": pooled("accuracy"),
        "num_seeds": len(pictures),
    }


def reliability_figure(picture: Picture, *, index: int) -> Figure:
    """Draw accuracy against confidence per bin with the gap to the diagonal, and the number of examples below."""
    colour = method_colour(index)
    edges, counts = picture["edges"], picture["count"]
    filled = [
        (confidence, accuracy, count)
        for confidence, accuracy, count in zip(picture["confidence"], picture["accuracy"], counts, strict=True)
        if confidence is not None and accuracy is not None
    ]
    gaps: dict[str, list[float | None]] = {"x": [], "y": []}
    for confidence, accuracy, _ in filled:
        gaps["x"] += [confidence, confidence, None]
        gaps["y"] += [confidence, accuracy, None]
    base = {"type": "scatter", "hoverinfo": "skip", "mode": "lines"}
    traces = [
        base | {"x": [0, 1], "y": [0, 1], "line": {"color": MUTED, "width": 1, "dash": "dot"}, "name": "calibrated"},
        base | gaps | {"line": {"color": with_opacity(colour, 0.17), "width": 9}, "name": "gap"},
        {
            "type": "scatter",
            "x": [confidence for confidence, _, _ in filled],
            "y": [accuracy for _, accuracy, _ in filled],
            "customdata": [count for _, _, count in filled],
            "mode": "lines+markers",
            "line": {"color": colour, "width": 1.5},
            "marker": {"size": 7, "color": PAPER, "line": {"color": colour, "width": 2}},
            "hovertemplate": "confidence %{x:.3f}<br>accuracy %{y:.3f}<br>%{customdata} examples<extra></extra>",
            "name": "bins",
        },
        {
            "type": "bar",
            "x": [(low + high) / 2 for low, high in pairwise(edges)],
            "width": [0.92 * (high - low) for low, high in pairwise(edges)],
            "y": counts,
            "yaxis": "y2",
            "marker": {"color": colour},
            "hovertemplate": "%{y} examples near confidence %{x:.2f}<extra></extra>",
            "name": "examples",
        },
    ]
    figure = layout(
        height=360,
        xaxis=axis("confidence", range=[0, 1.02], dtick=0.2, anchor="y2"),
        yaxis=axis("accuracy", range=[0, 1.02], dtick=0.2, domain=[0.3, 1]),
        yaxis2=axis("examples", domain=[0, 0.2], nticks=3, rangemode="tozero"),
        hovermode="closest",
    )
    return {"data": traces, "layout": figure}


def pairs_figure(picture: Picture, *, index: int) -> Figure | None:
    """Draw x1 and x2 against the weight for blends of two classes, with their means in ten bins of the weight.

    Where the picture holds theory's curve, it is dotted.

    Returns:
        The figure, or None if the picture holds no pair of two classes.
    """
    columns = zip(picture["weight"], picture["x1"], picture["x2"], picture["same"], strict=True)
    rows = [
        (w, linear_number(a), linear_number(b))
        for w, a, b, same in columns
        if not same and None not in (finite(w), finite(a), finite(b))
    ]
    if not rows:
        return None
    traces = []
    for name, place, colour, symbol in (("x1", 1, method_colour(index), "circle"), ("x2", 2, MUTED, "circle-open")):
        traces.append(
            {
                "type": "scatter",
                "x": [row[0] for row in rows],
                "y": [row[place] for row in rows],
                "mode": "markers",
                "marker": {"size": 4, "color": colour, "opacity": 0.35, "symbol": symbol},
                "name": name,
                "hovertemplate": f"weight %{{x:.2f}}<br>{name} %{{y:.2f}}<extra></extra>",
            }
        )
    for name, place, colour in (("x1, mean", 1, method_colour(index)), ("x2, mean", 2, MUTED)):
        bins: dict[int, list[tuple[float, ...]]] = {}
        for row in rows:
            bins.setdefault(min(int(row[0] * NUM_WEIGHT_BINS), NUM_WEIGHT_BINS - 1), []).append(row)
        members = [bins[key] for key in sorted(bins)]
        means = [
            (sum(r[0] for r in group) / len(group), sum(r[place] for r in group) / len(group)) for group in members
        ]
        traces.append(
            {
                "type": "scatter",
                "x": [x for x, _ in means],
                "y": [y for _, y in means],
                "mode": "lines+text",
                "line": {"color": colour, "width": 2.5},
                "text": [*[""] * (len(means) - 1), name[:2]] if place == 1 else [name[:2], *[""] * (len(means) - 1)],
                "textposition": "top left" if place == 1 else "top right",
                "textfont": {"size": 13, "color": colour},
                "hoverinfo": "skip",
                "name": name,
            }
        )
    if theory := picture.get("theory"):
        for name, colour in (("x1", method_colour(index)), ("x2", MUTED)):
            traces.append(
                {
                    "type": "scatter",
                    "x": theory["weight"],
                    "y": [linear_number(value) for value in theory[name]],
                    "mode": "lines",
                    "line": {"color": colour, "width": 1.8, "dash": "dot"},
                    "hoverinfo": "skip",
                    "name": f"{name}, theory",
                }
            )
    x_axis = axis("weight of the first example", range=[0, 1], dtick=0.25, gridcolor=GRID)
    return {
        "data": traces,
        "layout": layout(height=280, xaxis=x_axis, yaxis=axis("logit above the others"), hovermode="closest"),
    }
