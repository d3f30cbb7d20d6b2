"""Reliability diagrams: accuracy against confidence in bins, pooled over seeds, and how many examples each bin has."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mixscope.report.page import Figure, KeyEntry, Plot
from mixscope.report.runs.spread import finite
from mixscope.report.style import BAND_OPACITY, MUTED, PAPER, axis, layout, method_colour, plot_text, with_opacity


def pool_reliability(pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Add up the reliability bins of a method's seeds that have the first one's bin edges; None without pictures."""
    alike = [picture for picture in pictures if picture.get("edges") == pictures[0].get("edges")]
    if not alike:
        return None
    weights = [[finite(count) or 0.0 for count in picture["count"]] for picture in alike]
    counts = [sum(column) for column in zip(*weights, strict=True)]

    def pooled(field: str) -> list[float | None]:
        sums = [0.0] * len(counts)
        for picture, own in zip(alike, weights, strict=True):
            for place, (value, weight) in enumerate(zip(picture[field], own, strict=True)):
                sums[place] += (finite(value) or 0.0) * weight
        return [total / count if count else None for total, count in zip(sums, counts, strict=True)]

    return {
        "edges": alike[0].get("edges") or [place / len(counts) for place in range(len(counts) + 1)],
        "count": counts,
        "confidence": pooled("confidence"),
        "accuracy": pooled("accuracy"),
        "num_seeds": len(alike),
    }


def reliability_figure(
    name: str, title: str, diagrams: Sequence[tuple[str, int, Mapping[str, Any] | None]]
) -> Figure | None:
    """Draw accuracy against confidence per bin with the gap to the diagonal, and the number of examples below.

    `diagrams` are of each method its name, its place among the colours, and what `pool_reliability` returned.
    """
    known = [(label, colour, pooled) for label, colour, pooled in diagrams if pooled is not None]
    if not known:
        return None
    diagonal = {"x": [0, 1], "y": [0, 1], "line": {"color": MUTED, "width": 1, "dash": "dot"}, "name": "calibrated"}
    traces: list[Plot] = [{"type": "scatter", "mode": "lines", "hoverinfo": "skip"} | diagonal]
    for place, (label, colour, pooled) in enumerate(known):
        traces += _traces(plot_text(label), colour, pooled, f"{name}-{place}", of=(place, len(known)))
    figure = layout(
        height=360,
        xaxis=axis("confidence", range=[0, 1.02], dtick=0.2, anchor="y2"),
        yaxis=axis("accuracy", range=[0, 1.02], dtick=0.2, domain=[0.3, 1]),
        yaxis2=axis("examples", domain=[0, 0.2], nticks=3, rangemode="tozero"),
        hovermode="closest",
    )
    key = [KeyEntry(label, f"{name}-{place}", colour, "") for place, (label, colour, _) in enumerate(known)]
    is_alone = len(known) == 1
    return Figure(name, title, {"data": traces, "layout": figure}, colour=known[0][1] if is_alone else None, key=key)


def _traces(label: str, colour: int, pooled: Mapping[str, Any], group: str, *, of: tuple[int, int]) -> list[Plot]:
    columns = zip(pooled["confidence"], pooled["accuracy"], pooled["count"], strict=True)
    filled = [(c, a, count) for c, a, count in columns if c is not None and a is not None]
    gaps: dict[str, list[float | None]] = {"x": [], "y": []}
    for confidence, accuracy, _ in filled:
        gaps["x"] += [confidence, confidence, None]
        gaps["y"] += [confidence, accuracy, None]
    paint, (place, count_methods) = method_colour(colour), of
    widths = [0.92 * (high - low) / count_methods for low, high in pairwise(pooled["edges"])]
    gap = {"mode": "lines", "hoverinfo": "skip", "line": {"color": with_opacity(paint, BAND_OPACITY), "width": 9}}
    bins = {
        "x": [confidence for confidence, _, _ in filled],
        "y": [accuracy for _, accuracy, _ in filled],
        "customdata": [count for _, _, count in filled],
        "mode": "lines+markers",
        "line": {"color": paint, "width": 1.5},
        "marker": {"size": 7, "color": PAPER, "line": {"color": paint, "width": 2}},
        "hovertemplate": "confidence %{x:.3f}<br>accuracy %{y:.3f}<br>%{customdata} examples<extra></extra>",
    }
    bars = {
        "x": [
            (low + high) / 2 + (place - (count_methods - 1) / 2) * width
            for (low, high), width in zip(pairwise(pooled["edges"]), widths, strict=True)
        ],
        "width": widths,
        "y": pooled["count"],
        "yaxis": "y2",
        "marker": {"color": paint},
        "hovertemplate": "%{y} examples near confidence %{x:.2f}<extra></extra>",
    }
    base = {"type": "scatter", "legendgroup": group, "showlegend": False}
    return [
        base | gap | gaps | {"name": f"{label}, gap"},
        base | bins | {"name": label, "showlegend": True},
        base | bars | {"name": f"{label}, examples", "type": "bar"},
    ]
