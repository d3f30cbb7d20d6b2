"""Rows that are kept until the end of a pass: in memory while they are few, then in a file without a name."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import torch
from torch import Tensor

MEMORY_BYTES = 1 << 26  # of rows in memory; on a GPU, in the GPU's


class KeptRows:
    """Blocks of rows of one width and dtype, each kept as it came; a context manager, which closes the file.

    What `whole` and `blocks` have given stays after that.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, folder: Path | None = None) -> None:
        """Keep no more than so many bytes in memory, others in a file of `folder`, or of the system's own."""
        self._memory_bytes, self._num_bytes, self._folder = memory_bytes, 0, folder
        self._blocks: list[Tensor] = []
        self._sizes: list[int] = []
        self._file: IO[bytes] | None = None
        self._like = torch.empty(0, 0)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def add(self, rows: Tensor) -> None:
        """Keep a block of (B, D) rows."""
        self._like = rows[:0]
        self._sizes.append(len(rows))
        self._num_bytes += rows.numel() * rows.element_size()
        self._blocks.append(rows)
        if self._num_bytes > self._memory_bytes:
            self._file = self._file or tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (it ends with these rows)
            for block in self._blocks:
                self._file.write(block.cpu().contiguous().view(torch.uint8).numpy().data)
            self._blocks.clear()

    def blocks(self) -> Iterator[Tensor]:
        """Yield the blocks as they came, on their own device."""
        if self._file is None:
            yield from self._blocks
        else:
            yield from (rows.to(self._like.device) for rows in self.whole().split(self._sizes))

    def whole(self) -> Tensor:
        """Return all (N, D) rows, mapped from the file where they are in one."""
        if self._file is None:
            return torch.cat(self._blocks) if self._blocks else self._like
        self._file.flush()
        import numpy as np

        mapped: Any = np.memmap(self._file, dtype=np.uint8, mode="r+")
        return torch.from_numpy(mapped).view(self._like.dtype).view(-1, self._like.shape[1])
