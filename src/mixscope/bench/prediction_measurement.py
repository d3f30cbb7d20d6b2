"""Measurement of predictions that were made elsewhere: everything that needs no network, with records and a page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.bench.description import new_record
from mixscope.bench.measured_folder import measured_folder, write_measurement
from mixscope.bench.measurement import Measurement, scale
from mixscope.bench.observer import Observer
from mixscope.bench.options import options_to_dict
from mixscope.bench.prediction_arrays import checked_labels, checked_scores, read_tensor
from mixscope.bench.prediction_options import PredictionFiles
from mixscope.measuring.pictures import reliability_picture
from mixscope.metrics.calibration.prediction_meter import PredictionMeter
from mixscope.records.environment import describe_environment

BLOCK_ROWS = 4096
SMALLEST = torch.finfo(torch.float32).tiny  # what a probability of 0 is taken for: a loss of 87 nats, not infinity
SUM_TOLERANCE = 1e-3  # of rows that look like probabilities, or are said to be: half precision rounds as much


def measure_predictions_of(files: PredictionFiles, folder: Path, *, observer: Observer) -> None:
    """Measure files of predictions and write their folder (`write_measurement`), over an earlier measurement.

    Whatever does not fit is a `UserError` before anything is written.
    """
    with measured_folder(folder, note=observer.note) as spool:
        path, name = files.scores, "probabilities" if files.logits is None else "logits"
        assert files.labels is not None
        scores = checked_scores(read_tensor(path, name), name=name, path=path)
        num_rows, num_classes = scores.shape
        labels = read_tensor(files.labels, "labels")
        labels = checked_labels(labels, num_classes=num_classes, num_rows=num_rows, path=files.labels)
        names = files.class_names or tuple(map(str, range(num_classes)))
        if len(names) != num_classes:
            raise UserError(f"class-names must be {num_classes} names, one per column of {path}, got {len(names)}")
        meter, cautions = PredictionMeter(keep_logits=spool.add), []
        looks_like_probabilities, num_surprises = True, 0
        for rows, own in _blocks(scores, labels):
            if files.logits is None:
                _check_probabilities(rows, path=path)
                num_surprises += int((rows.gather(1, own[:, None]) < SMALLEST).sum())
                rows = rows.to(torch.float64).clamp(min=SMALLEST).log()
            elif not torch.isfinite(rows).all():
                raise UserError(f"{path}: logits must be finite, got NaN or infinite values")
            looks_like_probabilities &= _are_probabilities(rows)
            meter.update(rows, own)
        if looks_like_probabilities:
            cautions.append(f"The logits of {path.name} look like probabilities: if they are, use --probabilities.")
        if num_surprises:
            said = f"{num_surprises:,} of {num_rows:,} images have a probability of 0 for their own class"
            cautions.append(f"{said}, taken as {SMALLEST:.2g}: the loss depends on that number.")
        predictions = spool.predictions(class_names=names)
        values = meter.report().values("test") | scale(predictions, seed=0)
        measurement = Measurement(values, {"reliability": reliability_picture(meter, values)})
        record = _describe(files, folder, num_rows, names, predictions.labels_fingerprint, cautions)
        title = f"{path.name} against {files.labels.name}"
        write_measurement(folder, record, measurement, predictions, title=title)


def _describe(
    files: PredictionFiles, folder: Path, num_rows: int, names: tuple[str, ...], labels: str, cautions: list[str]
) -> dict[str, Any]:
    """Return what run.json is to say."""
    paths = {"logits": files.logits, "probabilities": files.probabilities, "labels": files.labels}
    anchored = {key: None if path is None else path.absolute() for key, path in paths.items()}
    description = options_to_dict(PredictionFiles(**anchored, class_names=files.class_names))
    assert files.labels is not None
    data = {"name": files.labels.stem, "num_test": num_rows, "num_classes": len(names), "class_names": list(names)}
    return new_record(
        "measure",
        name=folder.resolve().name,
        method=files.scores.stem,
        description=description,
        data={**data, "fingerprint": labels},
        model={"name": "not given"},
        environment=describe_environment(device="cpu", num_threads=torch.get_num_threads()),
    ) | {"cautions": cautions}


def _blocks(scores: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(scores.split(BLOCK_ROWS), labels.split(BLOCK_ROWS), strict=True)


def _are_probabilities(rows: Tensor) -> bool:
    low, high = rows.aminmax()
    return bool(low >= 0) and bool(high <= 1) and _worst_sum(rows) <= SUM_TOLERANCE


def _worst_sum(rows: Tensor) -> float:
    return float((rows.sum(dim=1, dtype=torch.float64) - 1).abs().max())


def _check_probabilities(rows: Tensor, *, path: Path) -> None:
    low, high = (float(end) for end in rows.aminmax())
    if not 0 <= low <= high <= 1:
        hint = "" if low != low else "; for logits use --logits"
        raise UserError(f"{path}: probabilities must lie in [0, 1], got {low:g} to {high:g}{hint}")
    if (off := _worst_sum(rows)) > max(SUM_TOLERANCE, torch.finfo(rows.dtype).eps):
        raise UserError(f"{path}: probabilities must have rows that sum to 1, got one that is off by {off:.2g}")
