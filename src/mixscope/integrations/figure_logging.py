"""Figures and numbers of a measurement for the loggers of a training: TensorBoard and Weights & Biases.

From a loop of one's own, with Accelerate's trackers or without: `log_report(report, accelerator.trackers, step=epoch)`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from mixscope.base.checks import check_at_least
from mixscope.base.kinds import checked
from mixscope.report.logged_figures import add_figures, figures_of, targets_of


@runtime_checkable
class Report(Protocol):
    """What `mixscope.measure` returns."""

    @property
    def values(self) -> Mapping[str, float]:
        """Numbers by their key in the catalogue."""

    @property
    def pictures(self) -> Mapping[str, Any]:
        """What figures are drawn from, as in `pictures.json`."""


@checked
def log_report(report: Report, logger: Any, *, step: int) -> None:
    """Log the numbers of a report, its reliability diagram and its plane.

    Args:
        report: Of `mixscope.measure`.
        logger: A `SummaryWriter`, a run of Weights & Biases (`wandb.init()`), one of Accelerate's trackers for these,
            or a list of any: `accelerator.trackers`, of which others than these two are passed over.
        step: Of the logger's axis, at least 0; the same for numbers and figures.

    Raises:
        ValueError: If a single logger is none of these.
    """
    check_at_least(0, step=step)
    loggers = logger if isinstance(logger, list | tuple) else [logger]
    targets = targets_of(loggers)
    if not targets and not isinstance(logger, list | tuple):
        kinds = "a SummaryWriter, a run of wandb, or a tracker of Accelerate for one of them"
        raise ValueError(f"logger must be {kinds}, got a {type(logger).__name__}")
    figures = figures_of(report.pictures)
    for target in targets:
        if callable(getattr(target, "add_scalar", None)):
            for key, value in report.values.items():
                target.add_scalar(key, value, global_step=step)
        else:
            target.log(dict(report.values), step=step)
        add_figures(target, figures, step=step)


@checked
def log_figures(loggers: Iterable[Any], pictures: Mapping[str, Any], *, step: int, step_key: str | None = None) -> None:
    """Log the figures of a measurement's pictures to those of the loggers that take figures.

    Args:
        loggers: Lightning's `trainer.loggers`, Accelerate's `accelerator.trackers`, writers or runs themselves; others
            than TensorBoard's and Weights & Biases' are passed over.
        pictures: As of `mixscope.measuring.pictures` or `pictures.json`.
        step: Of the logger's axis.
        step_key: For runs of Weights & Biases that count their own steps: what the step is logged as
            ("trainer/global_step" with Lightning, "train/global_step" with transformers). None: it is the run's step.
    """
    figures = figures_of(pictures)
    for target in targets_of(loggers):
        add_figures(target, figures, step=step, step_key=step_key)
