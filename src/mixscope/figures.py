"""Figures of runs as plotly draws them, from run folders or from runs read before: those of the pages, one by one.

All raise UserError if a folder is no run, and ValueError if no run holds what is to be drawn.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixscope.metrics.catalogue import find_metric
from mixscope.records.store import Run, read_measured_run
from mixscope.report.figures.channel_figure import channel_figure
from mixscope.report.figures.curve_figure import curve_figure, turning_figure
from mixscope.report.figures.layer_figure import layer_figure
from mixscope.report.figures.plane_figure import plane_figure
from mixscope.report.figures.reliability_figure import pool_reliability, reliability_figure
from mixscope.report.page import Figure
from mixscope.report.runs.groups import Method, group_runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

Source = Run | Path | str  # a run, or its folder
TURNING = ("test/error", "test/loss")  # curves of which the turn is marked


def curves(runs: Source | Iterable[Source], key: str) -> "PlotlyFigure":
    """Draw a number against epochs: means over the seeds of each method with Student's 95% interval.

    Args:
        runs: Grouped by method as on a page.
        key: Of the catalogue (docs/metrics.md), for example "test/error" or "nc/nc1_pinv". Test error and loss have
            their lowest points marked, and where mixing was switched off.

    Raises:
        ValueError: If the key is none of the catalogue, or no run measured it at two epochs or more.

    Example:
        >>> curves(["runs/mixup-seed0", "runs/mixup-seed1"], "test/error").show()  # doctest: +SKIP
    """
    find_metric(key)
    methods, is_log = _methods(runs), key.startswith("nc/nc1")
    is_turning = key in TURNING
    figure = turning_figure(methods, key, height=420) if is_turning else curve_figure(methods, key, is_log=is_log)
    return _plotly(figure, f"{key} at two epochs or more")


def reliability(runs: Source | Iterable[Source]) -> "PlotlyFigure":
    """Draw accuracy against confidence on the test images, pooled over the seeds of each method."""
    diagrams = [(m.name, m.index, pool_reliability(m.pictures("reliability"))) for m in _methods(runs)]
    return _plotly(reliability_figure("reliability", "Accuracy by confidence", diagrams), "reliability diagrams")


def channels(run: Source) -> "PlotlyFigure":
    """Draw where blends of two classes lie in the channel, by their weight, beside the curve of theory."""
    (method,) = _methods(run)
    figure = channel_figure("channels", method.pictured("pairs"), method.picture("pairs"), colour=0)
    return _plotly(figure, "blends of two classes")


def plane(run: Source) -> "PlotlyFigure":
    """Draw blends of three classes on the plane of their classifiers."""
    (method,) = _methods(run)
    return _plotly(plane_figure("plane", method.pictured("plane"), method.picture("plane")), "blends on a plane")


def layers(runs: Source | Iterable[Source], quantity: str = "nonlinearity") -> "PlotlyFigure":
    """Draw how far each layer is from linear at the end: means over the seeds of each method with their interval.

    Args:
        runs: Grouped by method as on a page.
        quantity: "nonlinearity" (drawn with its floor), "relative_defect", "angle_degrees", or another of the
            catalogue's "linearity" numbers.

    Raises:
        ValueError: If the quantity is none of the catalogue, or no run measured it.
    """
    find_metric(f"linearity/{quantity}")
    floor = "floor" if quantity == "nonlinearity" else None
    return _plotly(layer_figure(_methods(runs), quantity, floor=floor), f"the {quantity} of layers")


def _methods(runs: Source | Iterable[Source]) -> Sequence[Method]:
    sources = [runs] if isinstance(runs, Source) else runs
    return group_runs([run if isinstance(run, Run) else read_measured_run(Path(run)) for run in sources])


def _plotly(figure: Figure | None, what: str) -> "PlotlyFigure":
    """Return a page's figure on its own: with a title, and a key where it has several lines."""
    if figure is None:
        raise ValueError(f"runs must hold {what}, but none does")
    import plotly.graph_objects as go

    drawn = go.Figure(figure.plot)
    return drawn.update_layout(
        title={"text": figure.title, "font": {"size": 15}}, margin={"t": 56}, showlegend=True, dragmode="zoom"
    )
