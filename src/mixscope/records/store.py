"""Folders of runs on disk: `run.json`, `metrics.jsonl`, `pictures.json`; a crash never leaves half a file."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixscope.base.errors import UserError
from mixscope.base.files import atomic_file
from mixscope.records.form import Form, check_form, parse_json, read_record, read_text
from mixscope.records.forms import MEASURED_LINE, PICTURES, RUN, TRAINED_LINE
from mixscope.records.json_numbers import finite_or_none, from_json, to_json

PREDICTIONS_FILE = "predictions.safetensors"  # logits and labels of the last measurement's test images
RECORD_FILE, METRICS_FILE, PICTURES_FILE, REPORT_FILE = "run.json", "metrics.jsonl", "pictures.json", "report.html"
CHECKPOINT_FILES = ("last.pt", "weights.safetensors")
# What says that it is a run comes last, so that one that is half removed is still known as one.
RUN_FILES = (
    *(METRICS_FILE, PICTURES_FILE, PREDICTIONS_FILE, REPORT_FILE),
    *(f"checkpoints/{f}" for f in CHECKPOINT_FILES),
    RECORD_FILE,
)


@dataclass(frozen=True)
class Run:
    """A run as read from its folder."""

    folder: Path
    record: dict[str, Any]  # run.json: what was asked for, on what machine, how it ended
    metrics: list[dict[str, Any]]  # the lines of metrics.jsonl, one flat mapping per measured epoch, in order
    pictures: dict[str, Any]  # pictures.json: what the figures of the last measurement are drawn from, or empty

    @property
    def name(self) -> str:
        """The run's own name, for example "mixup-seed0"."""
        return str(self.record["name"])

    @property
    def method(self) -> str:
        """The method's label; runs that share it differ in their seed."""
        return str(self.record["method"])

    @property
    def seed(self) -> int | None:
        """The run's seed, or None for a measured checkpoint without one."""
        seed = self.record.get("description", {}).get("seed")
        return None if seed is None else int(seed)


def write_json(path: Path, value: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write a mapping as JSON, atomically; NaN and infinities become null, which JSON lacks."""
    with atomic_file(path) as file:
        file.write(json.dumps(finite_or_none(value), indent=indent, allow_nan=False).encode() + b"\n")


def forget_run(folder: Path) -> None:
    """Remove what a run wrote into its folder, and nothing else."""
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


def files_of_run(folder: Path) -> list[str]:
    """Return which of a run's files are in a folder; a page alone makes no run."""
    return [name for name in RUN_FILES if name != REPORT_FILE and (folder / name).exists()]


def append_metrics(folder: Path, values: Mapping[str, Any]) -> str:
    """Append one measured epoch to `metrics.jsonl`, infinities by name; return the line. Nothing stays of a failure."""
    path, line = folder / METRICS_FILE, json.dumps(to_json(values), allow_nan=False) + "\n"
    try:
        with path.open("ab", buffering=0) as file:
            before, rest = file.tell(), line.encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # a failed write names no file
    return line


def write_metrics(folder: Path, lines: Sequence[str]) -> None:
    """Write `metrics.jsonl` anew from its lines."""
    with atomic_file(folder / METRICS_FILE) as file:
        file.write("".join(lines).encode())


def read_run(folder: Path) -> Run:
    """Read a run folder; a `UserError` if it is none, or a file is damaged or not of its form in `records.forms`."""
    path = folder / RECORD_FILE
    if not path.exists():
        raise UserError(f"{folder} must be a run folder with a {RECORD_FILE}, but there is none")
    record = read_record(path, RUN)
    metrics, pictures = folder / METRICS_FILE, folder / PICTURES_FILE
    line_form = MEASURED_LINE if record.get("kind") == "measure" else TRAINED_LINE
    return Run(
        folder=folder,
        record=record,
        metrics=_read_lines(metrics, line_form) if os.path.lexists(metrics) else [],
        pictures=read_record(pictures, PICTURES) if os.path.lexists(pictures) else {},
    )


def read_measured_run(folder: Path) -> Run:
    """Read a run folder whose numbers are wanted: a `UserError` also if a finished run holds none any more."""
    run = read_run(folder)
    if run.record["status"] == "finished" and not run.metrics:
        raise UserError(f"{folder / METRICS_FILE} must hold what the finished run measured, but it holds nothing")
    return run


def _read_lines(path: Path, form: Form = TRAINED_LINE) -> list[dict[str, Any]]:
    """Read JSON lines; a last line cut short by a crash is dropped, any other damage raises."""
    lines = read_text(path).split("\n")  # not splitlines, which breaks at other signs too
    *whole, last = lines
    values: list[dict[str, Any]] = []
    for number, line in enumerate(whole, start=1):
        source = f"{path} line {number}"
        value = parse_json(line, source=source)
        check_form(value, form, source=source)
        values.append(from_json(value))
    if last.strip():
        try:
            value = parse_json(last, source=str(path))
        except UserError:
            return values
        check_form(value, form, source=f"{path} line {len(lines)}")
        values.append(from_json(value))
    return values
