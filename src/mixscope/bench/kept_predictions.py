"""Predictions kept in a run folder: logits and labels of the test images, as safetensors, never all in memory.

The file carries its own SHA-256 and says which images it is about. Logits are float32, which every other precision but
float64 turns into exactly.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_labels
from mixscope.base.errors import UserError
from mixscope.base.files import EMPTY_SEAL, SEAL_LENGTH, atomic_file, seal_fits
from mixscope.base.reading import one_line, open_regular
from mixscope.base.tensor_files import load_safetensors
from mixscope.measuring.kept_rows import KeptRows
from mixscope.metrics.calibration.prediction_meter import PredictionMeter
from mixscope.records.store import PREDICTIONS_FILE

LARGEST = torch.finfo(torch.float32).max
BLOCK_ROWS = 4096
ADVICE = "measure the checkpoint again"


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of N test images."""

    logits: Tensor  # (N, K) float
    labels: Tensor  # (N,) int64
    images: str = ""  # fingerprint of the images and labels; "" where nobody knows them
    class_names: tuple[str, ...] = ()  # K, or none

    @property
    def labels_fingerprint(self) -> str:
        """The SHA-256 of the labels in their order."""
        return hashlib.sha256(self.labels.contiguous().numpy().data.cast("B")).hexdigest()


class PredictionSpool:
    """Logits and labels as they come, in a file of the folder that has no name and ends with the block."""

    def __init__(self, folder: Path) -> None:
        self._logits = KeptRows(memory_bytes=0, folder=folder)
        self._labels: list[Tensor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self._logits.__exit__(*ending)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: (B, K) logits and (B,) labels on any device."""
        self._logits.add(_as_kept(logits))
        self._labels.append(labels.to("cpu", torch.int64))

    def predictions(self, *, images: str = "", class_names: Sequence[str] = ()) -> Predictions:
        """Return all that was added, the logits mapped from the file, to be used inside the block."""
        return Predictions(self._logits.whole(), torch.cat(self._labels), images, tuple(class_names))


def predictions_of(meter: PredictionMeter, *, images: str = "", class_names: Sequence[str] = ()) -> Predictions:
    """Return the predictions that a meter has kept in memory."""
    return Predictions(torch.cat(meter.logits).cpu(), torch.cat(meter.labels).cpu(), images, tuple(class_names))


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write `predictions.safetensors`, whole or not at all."""
    logits, labels = predictions.logits, predictions.labels.to(torch.int64).contiguous()
    size = labels.numel() * labels.element_size()
    tensors = {
        "labels": {"dtype": "I64", "shape": list(labels.shape), "data_offsets": [0, size]},
        "logits": {"dtype": "F32", "shape": list(logits.shape), "data_offsets": [size, size + 4 * logits.numel()]},
    }
    told = {"images": predictions.images, "class_names": json.dumps(predictions.class_names)}
    header = json.dumps({"__metadata__": {"seal": EMPTY_SEAL.decode(), **told}, **tensors}).encode()
    header += b" " * (-len(header) % 8)
    head = len(header).to_bytes(8, "little") + header
    digest = hashlib.sha256()
    with atomic_file(folder / PREDICTIONS_FILE) as file:
        for part in _parts(head, labels, logits):
            file.write(part)
            digest.update(part)
        file.seek(head.index(EMPTY_SEAL) + len(EMPTY_SEAL) - SEAL_LENGTH)
        file.write(digest.hexdigest().encode())


def read_predictions(folder: Path) -> Predictions | None:
    """Read a run's predictions, the logits mapped from their file; None where it has none.

    A `UserError` if the file is not regular, was changed since mixscope wrote it, or is not what it should be.
    """
    path = folder / PREDICTIONS_FILE
    if not os.path.lexists(path):
        return None
    if not seal_fits(path):
        raise UserError(f"{path}: damaged since mixscope wrote it (its checksum does not fit); {ADVICE}")
    from safetensors import SafetensorError

    with one_line(path, f"not a file of predictions; {ADVICE}", SafetensorError, ValueError, KeyError, TypeError):
        tensors, metadata = _read(path)
        logits, labels = tensors["logits"], tensors["labels"]
        if logits.dtype is not torch.float32 or logits.ndim != 2 or labels.dtype is not torch.int64:
            raise ValueError(f"logits of {logits.dtype} and shape {tuple(logits.shape)}, labels of {labels.dtype}")
        if not logits.numel() or labels.shape != (len(logits),):
            raise ValueError(f"logits of shape {tuple(logits.shape)} beside labels of shape {tuple(labels.shape)}")
        check_labels(labels, num_classes=logits.shape[1])
        for rows in logits.split(BLOCK_ROWS):
            check_finite(logits=rows)
        names = json.loads(metadata["class_names"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("class_names that are no list of texts")
        return Predictions(logits, labels, metadata["images"], tuple(names))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors = load_safetensors(path)  # which also checks the header
    with open_regular(path) as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return tensors, header["__metadata__"]


def _as_kept(logits: Tensor) -> Tensor:
    """Return logits as float32 on the CPU; what float64 holds beyond its range ends there."""
    if logits.dtype is torch.float64:
        logits = logits.clamp(-LARGEST, LARGEST)
    return logits.detach().to("cpu", torch.float32).contiguous()


def _parts(head: bytes, labels: Tensor, logits: Tensor) -> Iterator[bytes | memoryview]:
    yield head
    yield labels.numpy().data.cast("B")
    for rows in logits.split(BLOCK_ROWS):
        yield _as_kept(rows).numpy().data.cast("B")
