"""Folder of a measured checkpoint: held while it is measured, and written whole over an earlier measurement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mixscope.base.errors import UserError
from mixscope.base.files import check_out
from mixscope.base.folder_lock import hold_folder
from mixscope.bench.kept_predictions import Predictions, PredictionSpool, write_predictions
from mixscope.bench.measurement import Measurement
from mixscope.records.store import (
    PICTURES_FILE,
    RECORD_FILE,
    REPORT_FILE,
    RUN_FILES,
    append_metrics,
    files_of_run,
    forget_run,
    read_run,
    write_json,
)
from mixscope.report.runs.runs_page import write_report


@contextmanager
def measured_folder(folder: Path, *, note: Callable[[str], None]) -> Iterator[PredictionSpool]:
    """Hold a folder that a measurement may be written into, and give what keeps its predictions meanwhile.

    A `UserError` if the folder holds a training run, or cannot be written.
    """
    check_out(folder, files=RUN_FILES)
    with hold_folder(folder, note=note):
        found = files_of_run(folder)
        if found and (RECORD_FILE not in found or read_run(folder).record.get("kind") != "measure"):
            raise UserError(f"{folder} must not hold a training run, got {', '.join(found)}; choose another --out")
        with PredictionSpool(folder) as spool:
            yield spool


def write_measurement(
    folder: Path, record: dict[str, Any], measurement: Measurement, predictions: Predictions, *, title: str
) -> None:
    """Write run.json, metrics.jsonl, pictures.json, predictions.safetensors and report.html; all or, failing, none."""
    forget_run(folder)
    try:
        write_json(folder / RECORD_FILE, record)
        append_metrics(folder, {"epoch": None, **measurement.values})
        write_json(folder / PICTURES_FILE, {"epoch": None, **measurement.pictures}, indent=None)
        write_predictions(folder, predictions)
        write_json(folder / RECORD_FILE, record | {"status": "finished"})
        write_report(folder / REPORT_FILE, [read_run(folder)], title=title)
    except OSError:
        forget_run(folder)
        raise
