"""One described run: train a network as the options say, measure it along the way, and keep the records."""

import time
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mixscope._errors import UserError
from mixscope._files import check_writable
from mixscope.experiment.bench import Bench, anchored, build_bench
from mixscope.experiment.describe import describe_images, describe_machine, describe_model, new_record
from mixscope.experiment.labels import method_label
from mixscope.experiment.measure import Measurement, measure
from mixscope.experiment.observer import Observer
from mixscope.experiment.options import TrainOptions, options_from_dict, options_to_dict
from mixscope.experiment.overlay import expectation_of
from mixscope.metrics.monitor import BLEND_ENTROPY, FLOOR_GAP
from mixscope.records.store import (
    METRICS_FILE,
    PICTURES_FILE,
    RECORD_FILE,
    REPORT_FILE,
    append_metrics,
    keep_metrics_until,
    read_run,
    sync_metrics,
    write_json,
)
from mixscope.report.page import write_report
from mixscope.training.checkpoint import STATE_FILE, WEIGHTS_FILE, load_state, save_state, save_weights
from mixscope.training.loop import NonFiniteLossError
from mixscope.training.summary import EpochSummary

CHECKPOINT_SHARE = 0.02  # of the time may go into writing checkpoints
NUM_MEASUREMENTS = 20  # over a run, where the options name no interval


class RunFailedError(RuntimeError):
    """Training could not go on; the last good checkpoint is kept."""


def read_options(folder: Path) -> TrainOptions:
    """Return the options of the training run in a folder.

    Raises:
        UserError: If the folder holds no run, or one that was measured rather than trained.
    """
    record = read_run(folder).record
    if record.get("kind") != "train":
        raise UserError(f"{folder} must hold a training run, got a run of kind {record.get('kind')!r}")
    try:
        options: TrainOptions = options_from_dict(TrainOptions, record["description"])
    except UserError as error:
        raise UserError(f"{folder / RECORD_FILE}: {error}") from error
    return options


def run_training(
    options: TrainOptions,
    folder: Path,
    *,
    observer: Observer,
    resume: bool = False,
    repeats: Path | None = None,
    tracker: str | None = None,
    report: bool = True,
) -> None:
    """Train, measure, and write the run folder: run.json, metrics.jsonl, pictures.json, checkpoints/, report.html.

    Args:
        options: What to do. The same options give the same numbers.
        folder: Where the records go; made if missing.
        observer: Is told how it goes.
        resume: Go on from the folder's last checkpoint instead of starting anew.
        repeats: The run folder whose options these are; its images must be the same.
        tracker: "tensorboard" or "wandb": metrics go there too.
        report: Write the run's own page at the end.

    Raises:
        UserError: If an option does not fit the data or the network, before anything is written, or if the folder
            already holds a run.
        RunFailedError: If the loss stops being finite.
    """
    check_writable(folder)
    if not resume and (folder / RECORD_FILE).exists():
        raise UserError(
            f"{folder} must not hold a run yet; choose another --out, or continue it with --resume {folder}"
        )
    bench = build_bench(anchored(options), folder=folder, tracker=tracker, observer=observer)
    is_main = bench.accelerator.is_main_process
    record = _describe(bench, folder)
    earlier_seconds = 0.0
    known = folder if resume else repeats
    if known is not None:
        earlier = read_run(known)
        _check_same_sources(record, earlier.record, known)
        if differences := _differences(record, earlier.record):
            observer.note(f"not the machine of {known}, so the last digits may differ: {differences}")
        if resume:
            # A run that ended before its first checkpoint starts anew; one that has numbers to lose does not.
            if (folder / "checkpoints" / STATE_FILE).exists() or len(earlier.metrics) > 1:
                earlier_seconds = _load_state(bench, folder / "checkpoints")
            again = {"started": record["started"], "environment": record["environment"]}
            resumed = [*earlier.record.get("resumed", []), {**again, "epoch": bench.training.epoch}]
            record = earlier.record | {"resumed": resumed}
    recorder = _Recorder(bench, folder, record, observer, earlier_seconds) if is_main else None
    if tracker is not None:
        bench.accelerator.init_trackers("mixscope", config=_flat(options_to_dict(options)))
    try:
        _train(bench, recorder)
    except NonFiniteLossError as error:
        _finish(recorder, "failed", str(error))
        raise RunFailedError(f"{error}; the last good checkpoint is {folder / 'checkpoints' / STATE_FILE}") from error
    except KeyboardInterrupt:
        _finish(recorder, "interrupted", "interrupted by the user")
        raise
    except BaseException as error:
        _finish(recorder, "failed", f"{type(error).__name__}: {error}")
        raise
    _finish(recorder, "finished", "")
    if is_main and report:
        title = f"{record['method']} on {record['data']['name']}"
        try:
            write_report(folder / REPORT_FILE, [read_run(folder)], title=title)
        except OSError as error:
            _finish(recorder, "failed", f"trained, but without a page: {error}")
            raise
    bench.accelerator.wait_for_everyone()
    for open_tracker in bench.accelerator.trackers:  # `end_training` would also end the group of processes
        open_tracker.finish()


def _train(bench: Bench, recorder: "_Recorder | None") -> None:
    """Run the epochs that are left; the main process records."""
    if recorder is not None:
        recorder.start()
    for summary in bench.training.epochs():
        if recorder is not None:
            recorder.epoch_done(summary)
        bench.accelerator.wait_for_everyone()


def _load_state(bench: Bench, folder: Path) -> float:
    """Load the last checkpoint; return the seconds that went into it."""
    state = load_state(folder)
    try:
        bench.training.load_state(state["training"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / STATE_FILE} must be a checkpoint of this run's network: {reason}") from error
    return float(state["wall_seconds"])


def _finish(recorder: "_Recorder | None", status: str, message: str) -> None:
    """Say in run.json how the run ended; a disk that is full must not hide the error that says so."""
    if recorder is not None:
        with suppress(OSError) if status == "failed" else nullcontext():
            recorder.finish(status, message)


class _Recorder:
    """Measures and writes, on the main process."""

    def __init__(
        self, bench: Bench, folder: Path, record: dict[str, Any], observer: Observer, earlier_seconds: float
    ) -> None:
        self.bench, self.folder, self.record, self.observer = bench, folder, record, observer
        num_epochs = bench.options.training.epochs
        self.every = bench.options.measure_every or max(1, num_epochs // NUM_MEASUREMENTS)
        self.began = time.perf_counter()
        self.saved = self.began
        self.saving_seconds = 0.0
        self.earlier_seconds = earlier_seconds

    def start(self) -> None:
        """Write the description, and measure the network before its first epoch."""
        epoch = self.bench.training.epoch
        if epoch:
            keep_metrics_until(self.folder, epoch)
        else:
            (self.folder / METRICS_FILE).unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / RECORD_FILE, self.record | {"status": "running"})
        if not epoch:
            self._measure({"epoch": 0, "step": 0}, draw_pictures=False)
            self._save_state()

    def epoch_done(self, summary: EpochSummary) -> None:
        """Record an epoch, measure if it is due, and keep a checkpoint where that costs little."""
        num_epochs = self.bench.options.training.epochs
        values = asdict(summary) | {FLOOR_GAP: summary.floor_gap}
        del values["loss_floor"]
        values["train/loss"], accuracy = values.pop("loss"), values.pop("accuracy_blends")
        consistency = values.pop("auxiliary")
        if consistency is not None:
            values["train/consistency"] = consistency
        values[BLEND_ENTROPY] = values.pop("blend_entropy")
        if summary.mixing_on:  # without blends it would be a second name for accuracy on clean images
            values["train/accuracy_blends"] = accuracy
        is_last = summary.epoch == num_epochs
        if is_last or summary.epoch % self.every == 0:
            measurement = self._measure(values, draw_pictures=is_last)
            if is_last:
                write_json(self.folder / PICTURES_FILE, {"epoch": summary.epoch, **measurement.pictures}, indent=None)
                save_weights(self.folder / "checkpoints" / WEIGHTS_FILE, self.bench.model)
        self.observer.epoch_done(summary.epoch, num_epochs, values)
        since = time.perf_counter() - self.saved
        if is_last or since > self.saving_seconds / CHECKPOINT_SHARE:
            self._save_state()

    def finish(self, status: str, message: str) -> None:
        """Say in run.json how the run ended, if it ever began."""
        if (self.folder / RECORD_FILE).exists():
            self.record |= {"status": status, "message": message, "wall_seconds": self._seconds()}
            if self.bench.options.training.mixing_off == "auto":
                self.record["mixing_off_after"] = self.bench.training.mixing_off
            write_json(self.folder / RECORD_FILE, self.record)

    def _save_state(self) -> None:
        began = time.perf_counter()
        sync_metrics(self.folder)  # so that the numbers up to a checkpoint outlive whatever it outlives
        state = {"training": self.bench.training.state(), "wall_seconds": self._seconds()}
        save_state(self.folder / "checkpoints", state)
        self.saved = time.perf_counter()
        self.saving_seconds = self.saved - began

    def _measure(self, values: dict[str, Any], *, draw_pictures: bool) -> Measurement:
        """Measure the network, add the numbers to `values`, and append them to the records."""
        bench = self.bench
        measurement = measure(
            bench.model,
            bench.probe,
            head=bench.head,
            sites=bench.sites,
            expectation=expectation_of(bench.options),
            draw_pictures=draw_pictures,
        )
        values |= {"wall_seconds": round(self._seconds(), 3), **measurement.values}
        append_metrics(self.folder, values)
        numbers = {key: value for key, value in values.items() if isinstance(value, (int, float))}
        bench.accelerator.log(numbers, step=values["epoch"])
        return measurement

    def _seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.began


def _describe(bench: Bench, folder: Path) -> dict[str, Any]:
    """Return run.json as it stands when the run begins."""
    options = bench.options
    return new_record(
        "train",
        name=folder.resolve().name,
        method=method_label(options),
        description=options_to_dict(options),
        data=describe_images(bench.data, unlabelled=bench.unlabelled),
        model=describe_model(bench.model, name=options.model, head=bench.head, sites=bench.sites),
        environment=describe_machine(bench.accelerator),
    )


def _check_same_sources(record: dict[str, Any], earlier: dict[str, Any], folder: Path) -> None:
    """Raise unless the images, and the file a network is made by, are those of the earlier run."""
    for entry, words in (("data", "images"), ("model", "file that makes the network")):
        now, then = record[entry].get("fingerprint"), earlier[entry].get("fingerprint")
        if now != then:
            raise UserError(
                f"the {words} must be unchanged to repeat or resume {folder}, got other contents "
                f"(fingerprint {str(then)[:12]} then, {str(now)[:12]} now)"
            )


def _differences(record: dict[str, Any], earlier: dict[str, Any]) -> str:
    """Say in what the machine differs from the earlier run's as far as it may change the last digits."""
    now, then = record["environment"], earlier["environment"]
    keys = ("mixscope", "torch", "processor", "num_threads", "device", "num_processes")
    return ", ".join(
        f"{key} {now.get(key)} instead of {then.get(key)}" for key in keys if now.get(key) != then.get(key)
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested options to what trackers take: numbers, strings and booleans under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, (int, float, bool)) else str(value)
    return flat
