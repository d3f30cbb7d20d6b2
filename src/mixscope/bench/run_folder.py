"""Folder of a run under way: its records, written as it goes on and again where somebody deletes them."""

import hashlib
import json
import time
from dataclasses import asdict
from typing import Any

from mixscope.base.errors import UserError
from mixscope.base.folder_lock import FolderLock
from mixscope.bench.build import Bench
from mixscope.bench.kept_predictions import predictions_of, write_predictions
from mixscope.bench.observer import Observer
from mixscope.bench.recorder import Recorder
from mixscope.bench.tracking import Tracking
from mixscope.metrics.catalogue import BLEND_ENTROPY, FLOOR_GAP
from mixscope.records.json_numbers import finite_or_none
from mixscope.records.store import (
    METRICS_FILE,
    PICTURES_FILE,
    PREDICTIONS_FILE,
    RECORD_FILE,
    append_metrics,
    read_run,
    write_json,
    write_metrics,
)
from mixscope.training.checkpoint import STATE_FILE, WEIGHTS_FILE, save_state, save_weights
from mixscope.training.objective import EpochSummary

CHECKPOINTS = "checkpoints"  # the folder in a run's
CHECKPOINT_SHARE = 0.02  # of the time may go into writing checkpoints
NUM_MEASUREMENTS = 20  # over a run, where the options name no interval


def fingerprint_of_run(record: dict[str, Any]) -> str:
    """Return the SHA-256 of what run.json says a run is: its options, its images, the file that makes its network."""
    sources = [record[entry].get("fingerprint") for entry in ("data", "model")]
    text = json.dumps(finite_or_none([record["description"], *sources]), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class RunFolder:
    """Measures a run and writes its records, on the main process, and tells the observer of epochs and deleted files.

    `record` is run.json as it is to stand there, but for the status; the lines of metrics.jsonl and the seconds are
    those up to the checkpoint the run goes on from.
    """

    def __init__(
        self,
        bench: Bench,
        lock: FolderLock,
        record: dict[str, Any],
        observer: Observer,
        tracking: Tracking,
        lines: list[str],
        earlier_seconds: float,
    ) -> None:
        self.bench, self.lock, self.folder, self.observer, self.lines = bench, lock, lock.folder, observer, lines
        self.tracking = tracking
        self.record = record | {"status": "running"}
        self.recorder = Recorder(bench)
        self.num_epochs = bench.options.training.epochs
        self.every = bench.options.measure_every or max(1, self.num_epochs // NUM_MEASUREMENTS)
        self.is_recording = False  # from the first thing written, for as long as the folder is this run's
        self.began = time.perf_counter()
        self.saved = self.began
        self.saving_seconds = 0.0
        self.earlier_seconds = earlier_seconds

    def start(self) -> None:
        """Write the description, and measure the network before its first epoch."""
        write_json(self.folder / RECORD_FILE, self.record)
        self.is_recording = True
        metrics = self.folder / METRICS_FILE
        if self.lines:
            found = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.exists() else []
            if found[: len(self.lines)] != self.lines:
                self._say_written_anew(METRICS_FILE, "lost or changed since the checkpoint")
            write_metrics(self.folder, self.lines)
        else:
            metrics.unlink(missing_ok=True)
            self._measure({"epoch": 0, "step": 0})
            self._save_state()

    def epoch_done(self, summary: EpochSummary) -> None:
        """Record an epoch, measure if it is due, and keep a checkpoint where that costs little."""
        self.restore()
        values, is_last = _line_of(summary), summary.epoch == self.num_epochs
        if is_last or summary.epoch % self.every == 0:
            self._measure(values, draw_pictures=is_last)
            if is_last:
                self._write_pictures()
                self._write_predictions()
                self._save_weights()
        self.observer.epoch_done(summary.epoch, self.num_epochs, values)
        is_lost = not (self.folder / CHECKPOINTS / STATE_FILE).exists()
        if is_lost:
            self._say_written_anew(f"{CHECKPOINTS}/{STATE_FILE}")
        since = time.perf_counter() - self.saved
        if is_last or is_lost or since > self.saving_seconds / CHECKPOINT_SHARE:
            self._save_state()

    def finish(self, status: str, message: str) -> None:
        """Say in run.json how the run ended, if it ever began and still may, and see that all it leaves is there."""
        if not self.is_recording:
            return
        self.restore()
        self.record |= {"status": status, "message": message, "wall_seconds": self._seconds()}
        if self.bench.options.training.mixing_off == "auto":
            self.record["mixing_off_after"] = self.bench.training.mixing_off
        if status == "finished":
            for name, write in (
                (PICTURES_FILE, self._write_pictures),
                (PREDICTIONS_FILE, self._write_predictions),
                (f"{CHECKPOINTS}/{WEIGHTS_FILE}", self._save_weights),
                (f"{CHECKPOINTS}/{STATE_FILE}", self._save_state),
            ):
                if not (self.folder / name).exists():
                    self._say_written_anew(name)
                    write()
        write_json(self.folder / RECORD_FILE, self.record)

    def restore(self) -> None:
        """Write run.json and metrics.jsonl anew where deleted; a `UserError` if the folder is another run's by now."""
        path = self.folder / RECORD_FILE
        try:
            is_new = self.lock.renew()
            if is_new and path.exists() and read_run(self.folder).record.get("started") != self.record["started"]:
                raise UserError(f"{self.folder} was deleted and holds another run now, so this one ends")
        except UserError:
            self.is_recording = False
            raise
        if not path.exists():
            self._say_written_anew(RECORD_FILE)
            write_json(path, self.record)
        metrics = self.folder / METRICS_FILE
        if (metrics.stat().st_size if metrics.exists() else 0) != sum(map(len, self.lines)):
            self._say_written_anew(METRICS_FILE, "deleted or changed by another program")
            write_metrics(self.folder, self.lines)

    def _say_written_anew(self, name: str, why: str = "deleted") -> None:
        self.observer.note(f"{self.folder / name} was {why}; it is written anew")

    def _save_state(self) -> None:
        self.restore()
        began = time.perf_counter()
        state = {
            "run": fingerprint_of_run(self.record),
            "training": self.bench.training.state(),
            "metrics": self.lines,
            "wall_seconds": self._seconds(),
        }
        save_state(self.folder / CHECKPOINTS, state)
        self.saved = time.perf_counter()
        self.saving_seconds = self.saved - began

    def _save_weights(self) -> None:
        save_weights(self.folder / CHECKPOINTS / WEIGHTS_FILE, self.bench.model)

    def _write_pictures(self) -> None:
        epoch = self.bench.training.epoch
        if not self.recorder.pictures:
            self.recorder.measure(epoch, draw_pictures=True)
        write_json(self.folder / PICTURES_FILE, {"epoch": epoch, **self.recorder.pictures}, indent=None)

    def _write_predictions(self) -> None:
        if not self.recorder.predictions.logits:
            self.recorder.test(self.bench.training.epoch)
        data = self.record["data"]
        said = {"images": data.get("test_fingerprint") or "", "class_names": data["class_names"]}
        write_predictions(self.folder, predictions_of(self.recorder.predictions, **said))

    def _measure(self, values: dict[str, Any], *, draw_pictures: bool = False) -> None:
        """Measure the network, add the numbers to `values`, and append them to the records."""
        _, measured = self.recorder.measure(self.bench.training.epoch, draw_pictures=draw_pictures)
        values |= {"wall_seconds": round(self._seconds(), 3), **measured}
        self.restore()
        self.lines.append(append_metrics(self.folder, values))
        self.tracking.log(values, epoch=values["epoch"])
        if draw_pictures:
            self.tracking.log_figures(self.recorder.pictures, epoch=values["epoch"])

    def _seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.began


def _line_of(summary: EpochSummary) -> dict[str, Any]:
    """Return what training says of an epoch, by the keys of a metrics line."""
    values = asdict(summary) | {FLOOR_GAP: summary.floor_gap}
    values["train/loss"], accuracy = values.pop("loss"), values.pop("accuracy_blends")
    del values["loss_floor"]
    consistency = values.pop("auxiliary")
    if consistency is not None:
        values["train/consistency"] = consistency
    values[BLEND_ENTROPY] = values.pop("blend_entropy")
    if summary.mixing_on:  # without blends it would be a second name for accuracy on clean images
        values["train/accuracy_blends"] = accuracy
    return values
