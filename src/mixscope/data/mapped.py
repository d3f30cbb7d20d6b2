"""Mapped files: tensors over the pages of a file, which the system may take back once they are read."""

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from mixscope.data.cache_place import cache_folder, disk_errors

LARGE_BYTES = 1 << 27  # 128 MiB: smaller sets of images stay in memory, larger ones on the disk
CHUNK_BYTES = 1 << 23  # read at a time
MADV_PAGEOUT = 21  # Linux 5.4; pages that were written to keep what was written
_MAPPED: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()


def map_bytes(file: BinaryIO) -> Tensor:
    """Return the (n,) uint8 bytes of an opened file that is not empty; writing to them changes no file."""
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    content = torch.frombuffer(mapped, dtype=torch.uint8)  # it holds the mapping as long as any view of it lives
    _MAPPED[content.data_ptr()] = mapped
    return content


def forget_pages(part: Tensor) -> None:
    """Let the system take back the memory behind a contiguous part of a mapped file; other tensors are left alone.

    It is read again from the file where it is needed again.
    """
    if part.device.type != "cpu" or part.numel() == 0:
        return
    start = part.data_ptr()
    end = start + part.numel() * part.element_size()
    for base, mapped in list(_MAPPED.items()):
        if base <= start and end <= base + len(mapped):
            first = (start - base) // mmap.PAGESIZE * mmap.PAGESIZE
            try:
                mapped.madvise(MADV_PAGEOUT, first, end - base - first)
            except (AttributeError, OSError, ValueError):
                return  # a system without it keeps them as long as it likes


def read_through(images: Tensor, rows: int | None = None) -> Iterator[Tensor]:
    """Yield images in order, `rows` at a time or some MiB, and forget those of a large set once they are used."""
    if len(images) == 0:
        return
    size = images[0].numel() * images.element_size()
    is_large = len(images) * size > LARGE_BYTES and images.is_contiguous()
    for part in images.split(rows or max(1, CHUNK_BYTES // max(1, size))):
        yield part
        if is_large:
            forget_pages(part)


def take_rows(images: Tensor, rows: Tensor) -> Tensor:
    """Return the (n,) rows of (N, ...) uint8 images; of a large set on the disk, in an unnamed file in the cache."""
    rows, folder = rows.to(images.device), cache_folder() / "decoded"
    size = len(rows) * images[:1].numel()
    if images.device.type != "cpu" or size <= LARGE_BYTES:
        return images[rows]
    step = max(1, CHUNK_BYTES // max(1, images[0].numel()))
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for some in rows.split(step):
                file.write(images[some].numpy().data.cast("B"))
                if images.is_contiguous():
                    forget_pages(images[int(some.min()) : int(some.max()) + 1])
            file.flush()
            return map_bytes(file).view(len(rows), *images.shape[1:])


def free_bytes(folder: Path) -> int:
    """Return how many bytes are free where a folder is, or will be made."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    status = os.statvfs(existing) if hasattr(os, "statvfs") else None
    return 1 << 62 if status is None else status.f_bavail * status.f_frsize
