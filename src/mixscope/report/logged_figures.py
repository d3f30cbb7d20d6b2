"""Figures of a measurement for loggers: reliability diagram and plane, into TensorBoard and Weights & Biases."""

import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from mixscope.report.figures.matplotlib_drawing import can_draw, draw_with_matplotlib
from mixscope.report.figures.plane_figure import plane_figure
from mixscope.report.figures.reliability_figure import pool_reliability, reliability_figure
from mixscope.report.page import Figure

PLANE_TITLE = "Blends on the plane of three classifiers (red: of one class, blue: of two)"
NEEDS_MATPLOTLIB = "TensorBoard gets no figures, as matplotlib is not installed: pip install matplotlib"


def figures_of(pictures: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the figures of a measurement's pictures, as of `pictures.json`, by the name a logger shows them under."""
    bins = pictures.get("reliability")
    diagrams = [("network", 0, None if bins is None else pool_reliability([bins]))]
    figures = {
        "figures/reliability_diagram": reliability_figure("reliability", "Accuracy by confidence", diagrams),
        "figures/plane": plane_figure("plane", PLANE_TITLE, pictures.get("plane")),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def takes_figures(target: object) -> bool:
    """Return whether a target is a SummaryWriter, also tensorboardX's, or a run of Weights & Biases."""
    return _is_writer(target) or _is_run(target)


def add_figures(target: Any, figures: Mapping[str, Figure], *, step: int, step_key: str | None = None) -> None:
    """Hand figures to a SummaryWriter or a run of Weights & Biases; another target is left alone.

    Args:
        target: The writer or the run.
        figures: As of `figures_of`.
        step: Of the logger's axis.
        step_key: Of a run: what the step is logged as, where the run counts its own; None: the run's own step.

    Warns:
        UserWarning: Once, if TensorBoard cannot be served because matplotlib is missing.
    """
    if _is_writer(target):
        if not can_draw():
            _say_once(NEEDS_MATPLOTLIB)
            return
        for name, figure in figures.items():
            target.add_figure(
                name, draw_with_matplotlib(figure.plot, title=figure.title), global_step=step, close=False
            )
        target.flush()
    elif _is_run(target) and figures:
        import plotly.graph_objects as go

        drawn = {name: go.Figure(figure.plot).update_layout(title=figure.title) for name, figure in figures.items()}
        if step_key is None:
            target.log(drawn, step=step)
        else:
            target.log(drawn | {step_key: step})


def targets_of(loggers: Iterable[Any]) -> list[Any]:
    """Return the writers and runs within loggers: Lightning's, Accelerate's trackers, or these themselves."""
    found = []
    for logger in loggers:
        inside = [logger, *(getattr(logger, name, None) for name in ("experiment", "tracker"))]
        found += [target for target in inside if takes_figures(target)][:1]
    return found


def _is_writer(target: object) -> bool:
    return callable(getattr(target, "add_figure", None))


def _is_run(target: object) -> bool:
    return type(target).__module__.split(".")[0] == "wandb" and callable(getattr(target, "log", None))


@cache
def _say_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)
