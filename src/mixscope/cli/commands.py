"""Commands `demo`, `train` and `measure`: each a frozen dataclass of options with `run`."""

import os
import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg

from mixscope.base.errors import UserError
from mixscope.base.files import check_out
from mixscope.base.ranges import EPOCHS, Range, check_ranges
from mixscope.bench.options import DataOptions, Device, MeasureOptions, TrainOptions
from mixscope.bench.prediction_options import PredictionFiles
from mixscope.cli.display import ProgressDisplay, make_console, print_numbers, say, say_page, say_text

RUNS = Path("runs")
CHECKPOINT = ("model", "weights", "weights_key", "data", "head", "measuring", "device")
NAME_BYTES = 200  # of a folder's name; file systems take 255


@dataclass(frozen=True)
class Demo:
    """Train ERM, mixup, and mixup that ends by itself on 200 real digits, and write one page about it."""

    out: Path = RUNS / "demo"
    """Folder of the page and the runs; runs of an earlier demonstration in it are replaced."""
    seeds: Annotated[int, Range(1, 1000)] = 3
    """Seeds of each method."""
    epochs: Annotated[int | None, EPOCHS] = None
    """Epochs of each run; left out: long enough to over-train."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def run(self) -> None:
        """Run the demonstration."""
        from mixscope.bench.demo import NUM_EPOCHS, demo_runs

        runs = demo_runs(num_seeds=self.seeds, epochs=self.epochs or NUM_EPOCHS)
        from mixscope.base.folder_lock import hold_folder
        from mixscope.bench.run import run_training
        from mixscope.records.store import REPORT_FILE, RUN_FILES, read_run
        from mixscope.report.runs.runs_page import write_report

        check_out(self.out, files=[REPORT_FILE])
        for name in runs:
            check_out(self.out / name, files=RUN_FILES)
        console, began, page = make_console(), time.perf_counter(), self.out / REPORT_FILE
        with ProgressDisplay(console, num_runs=len(runs)) as display, hold_folder(self.out, note=display.note):
            for name, options in runs.items():
                folder = self.out / name
                with hold_folder(folder, note=display.note):
                    self._make_room(folder, options)
                display.run_started(name, options.training.epochs)
                run_training(options, folder, observer=display, report=False)
                display.run_done()
            title = "What mixup does to a network on 200 digits"
            write_report(page, [read_run(self.out / name) for name in runs], title=title)
        say(console, f"{len(runs)} runs in {time.perf_counter() - began:.0f} s")
        say_page(console, page)

    def _make_room(self, folder: Path, options: TrainOptions) -> None:
        """Forget the run of an earlier demonstration, of whatever version; any other run stands in the way."""
        from mixscope.bench.demo import NUM_TRAIN
        from mixscope.records.store import RECORD_FILE, forget_run, read_run

        if not (folder / RECORD_FILE).exists():
            return
        record = read_run(folder).record
        found = record["data"].get("name"), record["data"].get("num_train"), record["model"].get("name")
        if found != (options.data.data, NUM_TRAIN, options.model):
            raise UserError(f"{folder} must not hold a run that is not the demonstration's; choose another --out")
        forget_run(folder)


@dataclass(frozen=True)
class Train:
    """Train a network with mixing, measure it along the way, and write a run folder with a page."""

    options: OmitArgPrefixes[Annotated[TrainOptions, arg(name="")]] = field(default_factory=TrainOptions)
    out: Path | None = None
    """The run folder; left out: runs/DATA-MODEL-METHOD-seedN."""
    from_: Annotated[Path | None, arg(name="from")] = None
    """Repeat the run in this folder exactly; options given beside it replace the run's own."""
    resume: Path | None = None
    """Go on with the run in this folder from its last checkpoint."""
    tracker: Literal["tensorboard", "wandb"] | None = None
    """Log the numbers there too (extras of the same names)."""
    all_: Annotated[bool, arg(name="all")] = False
    """Print every number at the end, by its key."""

    def run(self) -> None:
        """Train."""
        from mixscope.bench.run import read_options, run_training

        if self.resume is not None and (self.from_ is not None or self.out is not None):
            raise UserError("resume must stand without --from and --out: the run goes on in its own folder")
        if self.resume is not None and read_options(self.resume) != self.options:
            words = "the run goes on with its own; use --from to change some"
            raise UserError(f"resume must stand without other options: {words}")
        folder = self.resume or self.out or self._default_folder()
        repeats = self.from_ if self.from_ is not None and read_options(self.from_).data == self.options.data else None
        is_main_process = os.environ.get("RANK", "0") == "0"  # as torchrun and accelerate launch number processes
        console = make_console(quiet=not is_main_process)
        with ProgressDisplay(console) as display:
            display.run_started(folder.name, self.options.training.epochs)
            try:
                run_training(
                    self.options,
                    folder,
                    observer=display,
                    resume=self.resume is not None,
                    repeats=repeats,
                    tracker=self.tracker,
                )
            except KeyboardInterrupt:
                can_go_on = (folder / "checkpoints" / "last.pt").exists()
                how = f"; go on with: mixscope train --resume {shlex.quote(str(folder))}" if can_go_on else ""
                raise KeyboardInterrupt(f"interrupted{how}") from None
        if is_main_process:
            _print_summary(console, folder, with_all=self.all_)

    def _default_folder(self) -> Path:
        from mixscope.bench.description import method_label

        if self.from_ is not None:
            return self.from_.with_name(f"{self.from_.name}-repeat")
        data, model = Path(self.options.data.data).name.split(".")[0], self.options.model.rsplit(":", 1)[-1]
        return RUNS / f"{_folder_name(f'{data}-{model}-{method_label(self.options)}')}-seed{self.options.seed}"


@dataclass(frozen=True)
class Measure:
    """Measure a checkpoint trained elsewhere, or its predictions alone: print what was found and write a page."""

    model: Positional[str | None] = None
    """FILE.py:FACTORY, timm:NAME, hf-model:NAME_OR_FOLDER, or one of mixscope's networks; left out with --logits."""
    weights: Path | None = None
    """Its weights, in a file of safetensors or torch, from which nothing is executed; left out: the model's own."""
    weights_key: str | None = None
    """Where in the file they are, for example state_dict or ema.model; left out: where they fit."""
    predictions: OmitArgPrefixes[PredictionFiles] = field(default_factory=PredictionFiles)
    data: OmitArgPrefixes[DataOptions] = field(default_factory=DataOptions)
    head: str | None = None
    """Module name of the linear classifier; left out: the one that gives the logits."""
    measuring: OmitArgPrefixes[MeasureOptions] = field(default_factory=MeasureOptions)
    normalise: Literal["imagenet", "images", "none"] | None = None
    """Normalisation the network was trained with; left out: what timm or transformers say, else the images' own."""
    mean: Annotated[tuple[float, ...] | None, Range(-1e3, 1e3)] = None
    """The same in numbers: mean of each channel, pixels in [0, 1]."""
    std: Annotated[tuple[float, ...] | None, Range(1e-6, 1e6)] = None
    """Standard deviation of each channel."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    out: Path | None = None
    """Folder of the records and the page; left out: runs/measure-MODEL, or runs/measure-MODEL-WEIGHTS."""
    all_: Annotated[bool, arg(name="all")] = False
    """Print every number at the end, by its key."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def run(self) -> None:
        """Measure."""
        folder = self.out or self._default_folder()
        console = make_console()
        with ProgressDisplay(console) as display:
            if self.predictions.is_given:
                self._check_alone()
                from mixscope.bench.prediction_measurement import measure_predictions_of

                measure_predictions_of(self.predictions, folder, observer=display)
            else:
                self._check_model()
                from mixscope.bench.checkpoint_measurement import Checkpoint, measure_checkpoint
                from mixscope.bench.image_preparation import Normalisation

                options = {name: getattr(self, name) for name in CHECKPOINT}
                normalisation = Normalisation(self.normalise, self.mean, self.std)
                measure_checkpoint(Checkpoint(normalisation=normalisation, **options), folder, observer=display)
        _print_summary(console, folder, with_all=self.all_)

    def _default_folder(self) -> Path:
        if self.predictions.is_given:
            name = self.predictions.scores.stem
        else:
            from mixscope.bench.checkpoint_measurement import checkpoint_name

            name = str(self.model).rsplit(":", 1)[-1]
            name += "" if self.weights is None else f"-{checkpoint_name(str(self.model), self.weights)}"
        return RUNS / f"measure-{_folder_name(name)}"

    def _check_model(self) -> None:
        """Raise where there is nothing to measure."""
        if self.model is None:
            raise UserError("model must be given, or predictions alone, with --logits and --labels; see --help")

    def _check_alone(self) -> None:
        """Raise where an option of a network stands beside predictions, which need none."""
        bare = Measure()
        for name in ("model", "weights", "weights_key", "head", "normalise", "mean", "std", "data", "measuring"):
            if getattr(self, name) != getattr(bare, name):
                given = {"data": "options of the data", "measuring": "options of what is measured"}.get(name, name)
                raise UserError(f"{given} must stand without --logits or --probabilities, which need no network")


def _folder_name(words: str) -> str:
    """Return words as a part of a folder's name: no signs that shells read, and no longer than file systems take."""
    name = re.sub(r"[^\w.=+-]+", "-", words).encode()[:NAME_BYTES].decode(errors="ignore")
    return os.fsdecode(name.encode())  # in a locale that is no UTF-8 the name has the same bytes


def _print_summary(console: Console, folder: Path, *, with_all: bool) -> None:
    """Print what the last measurement of a run comes to, and where its page is; with every number by its key."""
    from mixscope.records.store import METRICS_FILE, REPORT_FILE, read_measured_run
    from mixscope.report.runs.page_text import WIDTH, page_text
    from mixscope.report.runs.runs_page import runs_page

    run = read_measured_run(folder)
    title = f"{run.method} on {run.record['data']['name']}"
    say_text(console, page_text(runs_page([run], title=title), width=min(WIDTH, console.width)))
    if "mixing_off_after" in run.record:
        epoch = run.record["mixing_off_after"]
        what = "did not end mixing" if epoch is None else f"ended mixing after epoch {epoch}"
        say(console, f"the over-training monitor {what}")
    if with_all:
        print_numbers(console, run.metrics[-1], run.pictures.get("linearity", []))
    else:
        say(console, f"all {len(run.metrics[-1])} numbers: --all, or {folder / METRICS_FILE}")
    say_page(console, folder / REPORT_FILE)
