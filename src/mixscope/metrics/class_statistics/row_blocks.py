"""Blocks of rows gathered from batches of any size, for calls that are worth their overhead."""

from collections.abc import Iterator

import torch
from torch import Tensor

# So many numbers, or rows within these bounds.
BLOCK_NUMBERS = 2**19
BLOCK_ROWS = (64, 2048)


class RowBlocks:
    """Rows that wait for a block to be full, with their labels.

    Attributes:
        buffer: (block, D), where waiting rows stand first; between blocks anyone's to write on.
        num_waiting: How many rows wait.
    """

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device) -> None:
        """Start empty."""
        num_rows = min(max(BLOCK_NUMBERS // dim, BLOCK_ROWS[0]), BLOCK_ROWS[1])
        self.buffer = torch.empty(num_rows, dim, dtype=dtype, device=device)
        self._labels = torch.empty(num_rows, dtype=torch.int64, device=device)
        self.num_waiting = 0

    @property
    def waiting_labels(self) -> Tensor:
        """(rows,) int64, labels of the rows that wait."""
        return self._labels[: self.num_waiting]

    def gather(self, rows: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Take rows, (rows, D), and (rows,) labels; yield every full block, of the buffer's rows or of the call's."""
        start = 0
        while start < len(rows):
            stop = min(len(rows), start + len(self.buffer) - self.num_waiting)
            if stop - start == len(self.buffer):
                yield rows[start:stop], labels[start:stop]
            else:
                places = slice(self.num_waiting, self.num_waiting + stop - start)
                self.buffer[places], self._labels[places] = rows[start:stop], labels[start:stop]
                self.num_waiting = places.stop
                if self.num_waiting == len(self.buffer):
                    yield from self.rest()
            start = stop

    def rest(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows that wait, if there are any."""
        rows = slice(self.num_waiting)
        self.num_waiting = 0
        if rows.stop:
            yield self.buffer[rows], self._labels[rows]
