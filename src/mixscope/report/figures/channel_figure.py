"""Channel coordinates of blends: both classes' logits above the others, against the weight, beside theory."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mixscope.report.page import Figure, Plot
from mixscope.report.runs.spread import finite
from mixscope.report.style import MUTED, axis, layout, linear_number, method_colour

NUM_WEIGHT_BINS = 10  # of the mean lines: enough to see the bend, wide enough to be steady


def channel_figure(name: str, title: str, picture: Mapping[str, Any] | None, *, colour: int) -> Figure | None:
    """Draw x1 and x2 against the weight for blends of two classes, with their means in ten bins of the weight.

    The picture has columns "weight", "x1", "x2" and "same" and, where known, "theory" with curves of these names, which
    are dotted. Without a pair of two classes there is no figure.
    """
    if picture is None:
        return None
    columns = zip(picture["weight"], picture["x1"], picture["x2"], picture["same"], strict=True)
    rows = [(w, a, b) for w, a, b, same in columns if not same and None not in (finite(w), finite(a), finite(b))]
    if not rows:
        return None
    looks = (("x1", 1, method_colour(colour), "circle"), ("x2", 2, MUTED, "circle-open"))
    weights = [row[0] for row in rows]
    points, means, theory = [], [], []
    for what, place, paint, symbol in looks:
        heights = [linear_number(row[place]) for row in rows]
        marker = {"size": 4, "color": paint, "opacity": 0.35, "symbol": symbol}
        hover = f"weight %{{x:.2f}}<br>{what} %{{y:.2f}}<extra></extra>"
        points.append(_trace(what, weights, heights, mode="markers", marker=marker, hovertemplate=hover))
        places, middles = _binned_means(weights, heights)
        labels = [""] * len(places)
        labels[-1 if place == 1 else 0] = what
        look = {"mode": "lines+text", "line": {"color": paint, "width": 2.5}, "hoverinfo": "skip", "text": labels}
        look |= {"textposition": f"top {'left' if place == 1 else 'right'}", "textfont": {"size": 13, "color": paint}}
        means.append(_trace(f"{what}, mean", places, middles, **look))
        if curve := picture.get("theory"):
            dotted = {"color": paint, "width": 1.8, "dash": "dot"}
            drawn = [linear_number(value) for value in curve[what]]
            look = {"mode": "lines", "line": dotted, "hoverinfo": "skip"}
            theory.append(_trace(f"{what}, theory", curve["weight"], drawn, **look))
    figure = layout(
        height=280,
        xaxis=axis("weight of the first example", range=[0, 1], dtick=0.25),
        yaxis=axis("logit above the others"),
        hovermode="closest",
    )
    return Figure(name, title, {"data": [*points, *means, *theory], "layout": figure}, colour=colour)


def _binned_means(weights: Sequence[float], heights: Sequence[float]) -> tuple[list[float], list[float]]:
    bins: dict[int, list[tuple[float, float]]] = {}
    for weight, height in zip(weights, heights, strict=True):
        bins.setdefault(min(int(weight * NUM_WEIGHT_BINS), NUM_WEIGHT_BINS - 1), []).append((weight, height))
    means = [[statistics.fmean(column) for column in zip(*bins[key], strict=True)] for key in sorted(bins)]
    return [mean[0] for mean in means], [mean[1] for mean in means]


def _trace(name: str, x: Sequence[float], y: Sequence[float], **look: Any) -> Plot:
    return {"type": "scatter", "name": name, "x": list(x), "y": list(y)} | look
