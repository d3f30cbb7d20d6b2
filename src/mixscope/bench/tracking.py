"""Trackers of a run (tensorboard, wandb): they write into its folder, and their failures never cost the run."""

import importlib
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mixscope.base.errors import UserError, describe_error, users_code
from mixscope.base.text import printable
from mixscope.bench.observer import Observer
from mixscope.report.figures.matplotlib_drawing import can_draw
from mixscope.report.logged_figures import NEEDS_MATPLOTLIB, add_figures, figures_of, targets_of
from mixscope.report.runs.method_options import flatten

NEEDED = {"tensorboard": ("torch.utils.tensorboard", "SummaryWriter"), "wandb": ("wandb", "init")}
FOLDER = "tracker"  # in the run's folder


def check_tracker(tracker: str) -> None:
    """Raise a `UserError` unless a tracker's package can be imported."""
    try:
        module, name = NEEDED[tracker]
        getattr(importlib.import_module(module), name)  # any folder called wandb can be imported
    except Exception as error:  # a package that is there but broken may raise anything
        raise UserError(
            f"tracker {tracker} needs its package ({describe_error(error)}): pip install 'mixscope[{tracker}]'"
        ) from error


class Tracking:
    """What a run tells its tracker, if any, on the main process; the observer is told, once, of one that fails."""

    def __init__(self, accelerator: Accelerator, tracker: str | None, observer: Observer) -> None:
        self.accelerator, self.tracker, self.observer = accelerator, tracker, observer
        self._is_open = False

    def start(self, folder: Path, options: dict[str, Any]) -> None:
        """Open the tracker in a run's folder; a `UserError` if it cannot begin: what was made for it is gone."""
        if self.tracker is None:
            return
        place = folder.absolute() / FOLDER
        # What trackers take: numbers, strings and booleans under dotted names.
        config = {name: v if isinstance(v, (int, float)) else printable(str(v)) for name, v in flatten(options)}
        is_new = not place.exists()
        place.mkdir(parents=True, exist_ok=True)
        try:
            with users_code(f"tracker {self.tracker} could not begin:"):
                if not self.accelerator.log_with:
                    raise ImportError(f"Accelerate finds no package {self.tracker}")
                self.accelerator.init_trackers("mixscope", config=config, init_kwargs={"wandb": {"dir": str(place)}})
        except BaseException:
            if is_new:
                shutil.rmtree(place, ignore_errors=True)
            raise
        self._is_open = True

    def log(self, values: Mapping[str, Any], *, epoch: int) -> None:
        """Tell the numbers of an epoch."""
        numbers = {key: value for key, value in values.items() if isinstance(value, (int, float))}
        self._attempt(lambda: self.accelerator.log(numbers, step=epoch))

    def log_figures(self, pictures: Mapping[str, Any], *, epoch: int) -> None:
        """Show the figures of a measurement."""
        if self.tracker == "tensorboard" and not can_draw():
            self.observer.note(NEEDS_MATPLOTLIB)
            return
        figures = figures_of(pictures)
        for target in targets_of(self.accelerator.trackers):
            self._attempt(partial(add_figures, target, figures, step=epoch))

    def finish(self) -> None:
        """Close the trackers; `end_training` would also end the group of processes."""
        for open_tracker in self.accelerator.trackers if self._is_open else ():
            self._attempt(open_tracker.finish)

    def _attempt(self, action: Callable[[], object]) -> None:
        if not self._is_open:
            return
        try:
            action()
        except Exception as error:  # the run is worth more than its copy in a tracker
            self._is_open = False
            self.observer.note(f"tracker {self.tracker} failed and gets no more numbers: {describe_error(error)}")
