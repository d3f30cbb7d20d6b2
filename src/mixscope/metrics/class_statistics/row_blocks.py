"""Blocks of rows gathered from batches of any size, and the type in which residuals of a batch are formed."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mixscope.base.checks import check_finite

# So many numbers, or rows within these bounds.
BLOCK_NUMBERS = 2**19
BLOCK_ROWS = (64, 2048)
# Fewer columns than this cost no more in float64 than in float32.
NARROW = 96
# A batch of this length in all (the root of its sum of squares) has float32 squares that neither overflow nor vanish;
# other batches are computed in float64, whose squares are finite up to the limit.
FLOAT32_RANGE = (1e-7, 1e15)
FLOAT64_LIMIT = 1e150


class RowBlocks:
    """Rows that wait for a block to be full, with their labels; between blocks `buffer` is anyone's to write on."""

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device) -> None:
        """Start empty."""
        num_rows = min(max(BLOCK_NUMBERS // dim, BLOCK_ROWS[0]), BLOCK_ROWS[1])
        self.buffer = torch.empty(num_rows, dim, dtype=dtype, device=device)
        self.labels = torch.empty(num_rows, dtype=torch.int64, device=device)
        self.num_waiting = 0

    def gather(self, rows: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Take rows, (rows, D), and (rows,) labels; yield every full block, of the buffer's rows or of the call's."""
        start = 0
        while start < len(rows):
            stop = min(len(rows), start + len(self.buffer) - self.num_waiting)
            if stop - start == len(self.buffer):
                yield rows[start:stop], labels[start:stop]
            else:
                places = slice(self.num_waiting, self.num_waiting + stop - start)
                self.buffer[places], self.labels[places] = rows[start:stop], labels[start:stop]
                self.num_waiting = places.stop
                if self.num_waiting == len(self.buffer):
                    yield from self.rest()
            start = stop

    def rest(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows that wait, if there are any."""
        rows = slice(self.num_waiting)
        self.num_waiting = 0
        if rows.stop:
            yield self.buffer[rows], self.labels[rows]


def needs_float64(features: Tensor, *, product_dtype: torch.dtype | None) -> bool:
    """Return whether residuals of these (B, D) features must be float64; raise a `ValueError` if they are too large."""
    length = float(torch.linalg.vector_norm(features, dtype=torch.promote_types(features.dtype, torch.float32)))
    is_in_range = FLOAT32_RANGE[0] < length < FLOAT32_RANGE[1]  # one look: NaN, infinities and the range
    if not is_in_range:
        check_finite(features=features)
        size = float(features.abs().max())
        if size > FLOAT64_LIMIT:
            raise ValueError(f"features must be at most {FLOAT64_LIMIT} in size, got {size}")
        is_in_range = size == 0
    # Half-precision features take few values: the roundings of their float32 products lean one way and add up.
    is_plain = features.dtype is torch.float32 and features.shape[1] >= NARROW and product_dtype is None
    return not is_in_range or not (is_plain or product_dtype is torch.float32)
