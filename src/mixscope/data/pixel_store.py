"""Decoded images on the disk: kept as they come, put in order once all are known, so that memory stays flat."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import size_words
from mixscope.data.cache_place import CACHE_VARIABLE, disk_errors
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set
from mixscope.data.mapped import CHUNK_BYTES, free_bytes

if TYPE_CHECKING:
    import numpy as np


class PixelStore:
    """Images by name in an unnamed file, which the system removes with the process, however that ends."""

    def __init__(self, file: IO[bytes], folder: Path) -> None:
        self.file, self.folder = file, folder
        self.places: dict[str, tuple[int, int]] = {}  # where an image begins, and its number of channels
        self.end, self.first, self.size = 0, "", (0, 0)

    def add(self, name: str, pixels: "np.ndarray", *, source: str | Path, expected: int = 0, advice: str = "") -> None:
        """Keep (H, W) or (H, W, 3) uint8; a `UserError` if its size is not that of the others, or the disk is full.

        `expected` is how many come in all, 0 where nobody knows: what they need is asked for with the first.
        """
        height, width = pixels.shape[:2]
        if not self.first:
            self.first, self.size = name, (height, width)
            self._check_room(pixels.nbytes * max(1, expected), expected, source)
        elif self.size != (height, width):
            sizes = f"{name} is {width} x {height} and {self.first} is {self.size[1]} x {self.size[0]}"
            raise UserError(f"{source}: all images must have one size, but {sizes}{advice}")
        self.places[name] = self.end, 1 if pixels.ndim == 2 else 3
        with disk_errors(self.folder):
            self.file.write(pixels.tobytes())
        self.end += pixels.nbytes

    def _check_room(self, size: int, count: int, source: str | Path) -> None:
        """Raise unless the disk has room for the images twice: as they come, and in order."""
        free = free_bytes(self.folder)
        if 2 * size > free:
            need = f"{count:,} images decoded need {size_words(2 * size)} in {self.folder}, got {size_words(free)} free"
            advice = f"free some space there, set {CACHE_VARIABLE} to another folder, or scale the images down"
            raise UserError(f"{source}: {need}; {advice}")

    def read(self, names: Sequence[str], channels: int) -> Iterator["np.ndarray"]:
        """Yield (n, channels, H, W) uint8 of the named images in that order, some MiB at a time."""
        import numpy as np

        height, width = self.size
        step = max(1, CHUNK_BYTES // (channels * height * width))
        for start in range(0, len(names), step):
            some = names[start : start + step]
            rows = np.empty((len(some), channels, height, width), np.uint8)
            for row, name in zip(rows, some, strict=True):
                begin, held = self.places[name]
                self.file.seek(begin)
                content = np.frombuffer(self.file.read(height * width * held), np.uint8)
                row[:] = content.reshape(height, width, held).transpose(2, 0, 1)
            yield rows


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The images of one part of a set, in a store."""

    store: PixelStore
    names: Sequence[str]  # in order
    channels: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (len(self.names), self.channels, *self.store.size)

    def chunks(self) -> Iterator["np.ndarray"]:
        """Yield the images in order, some MiB at a time."""
        return self.store.read(self.names, self.channels)


@dataclass(frozen=True, eq=False)
class StoredSet:
    """A set whose images are in a store: what a `DecodedSet` is of tensors. A part may be missing, not both."""

    store: PixelStore
    parts: Mapping[str, tuple[Sequence[str], Sequence[int]]]  # of "train" and "test": names in order, and labels
    class_names: tuple[str, ...]
    notes: str
    cautions: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """1 where all images are grey, else 3."""
        names = (name for images, _ in self.parts.values() for name in images)
        return 1 if all(self.store.places[name][1] == 1 for name in names) else 3

    def images(self, part: str) -> StoredImages:
        """Return the images of a part, none of them if it is missing."""
        return StoredImages(self.store, self.parts.get(part, ((), ()))[0], self.channels)

    def labels(self, part: str) -> Tensor:
        """Return the (N,) int64 labels of a part."""
        return torch.tensor(self.parts.get(part, ((), ()))[1], dtype=torch.int64)

    def check(self, *, source: str | Path) -> None:
        """Raise a `UserError` as `checked_set` unless the labels make a data set."""
        self._checked({part: self.labels(part) for part in ("train", "test")}, source)

    def _checked(
        self, labels: Mapping[str, Tensor], source: str | Path, images: Mapping[str, Tensor] | None = None
    ) -> DecodedSet:
        height, width = self.store.size
        parts = {
            part: LabelledImages(
                torch.empty(1, dtype=torch.uint8).expand(len(some), self.channels, height, width)
                if images is None
                else images[part],
                some,
            )
            for part, some in labels.items()
        }
        return checked_set(
            parts["train"],
            parts["test"] if "test" in self.parts else None,
            class_names=self.class_names,
            notes=self.notes,
            cautions=self.cautions,
            has_train="train" in self.parts,
            source=source,
        )

    def loaded(self, *, source: str | Path) -> DecodedSet:
        """Return the set with its images in memory; a `UserError` as `checked_set`."""
        images = {}
        for part in ("train", "test"):
            stored = self.images(part)
            images[part], row = torch.empty(stored.shape, dtype=torch.uint8), 0
            for chunk in stored.chunks():
                images[part][row : row + len(chunk)] = torch.from_numpy(chunk)
                row += len(chunk)
        return self._checked({part: self.labels(part) for part in images}, source, images)


@contextmanager
def pixel_store(folder: Path) -> Iterator[PixelStore]:
    """Open a store whose file lies in `folder`; a folder that was made for it and is empty at the end is removed."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed below)
        with file:
            yield PixelStore(file, folder)
    finally:
        with suppress(OSError):
            for place in made:
                place.rmdir()
