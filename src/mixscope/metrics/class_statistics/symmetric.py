"""Symmetric matrices as sums of products, at little more than half the work."""

import torch
from torch import Tensor

# The upper half is multiplied in strips, about six: narrower ones compute less, but each product takes longer for it.
NUM_STRIPS = 6
SMALLEST_STRIP = 64
STRIP_STEP = 32  # widths are multiples of it


class UpperHalf:
    """The upper half of a symmetric (D, D) matrix, in strips of rows from the diagonal to the right.

    Attributes:
        numbers: Of all strips, flat.
        strips: Views of it, the i-th of shape (stop_i - start_i, D - start_i).
    """

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device | str) -> None:
        """Start with zeros."""
        width = max(SMALLEST_STRIP, -(-dim // (NUM_STRIPS * STRIP_STEP)) * STRIP_STEP)
        self._bounds = [(start, min(start + width, dim)) for start in range(0, dim, width)]
        shapes = [(stop - start, dim - start) for start, stop in self._bounds]
        sizes = [height * width for height, width in shapes]
        self.numbers = torch.zeros(sum(sizes), dtype=dtype, device=device)
        self.strips = [part.view(shape) for part, shape in zip(self.numbers.split(sizes), shapes, strict=True)]

    def copy_(self, matrix: Tensor) -> None:
        """Become the upper half of a symmetric (D, D) matrix."""
        for (start, stop), strip in zip(self._bounds, self.strips, strict=True):
            strip.copy_(matrix[start:stop, start:])

    def add_product(self, left: Tensor, right: Tensor) -> None:
        """Add left^T right, (N, D) both with a symmetric product."""
        transposed = left.T
        for (start, stop), strip in zip(self._bounds, self.strips, strict=True):
            strip.addmm_(transposed[start:stop], right[:, start:])

    def put_product(self, rows: Tensor) -> None:
        """Become rows^T rows, (N, D)."""
        transposed = rows.T
        for (start, stop), strip in zip(self._bounds, self.strips, strict=True):
            torch.mm(transposed[start:stop], rows[:, start:], out=strip)

    def diagonal(self) -> Tensor:
        """Return a copy of the (D,) diagonal."""
        return torch.cat([strip.diagonal() for strip in self.strips])

    def matrix(self) -> Tensor:
        """Return the whole (D, D) matrix."""
        dim = self._bounds[-1][1]
        matrix = self.numbers.new_empty(dim, dim)
        for (start, stop), strip in zip(self._bounds, self.strips, strict=True):
            matrix[start:stop, start:] = strip
            matrix[stop:, start:stop] = strip[:, stop - start :].T
            block = matrix[start:stop, start:stop]
            block.copy_(block.triu() + block.triu(1).T)
        return matrix


def symmetric_product(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right, (D, D), of two (N, D) matrices whose product is symmetric."""
    half = UpperHalf(left.shape[1], dtype=left.dtype, device=left.device)
    half.add_product(left, right)
    return half.matrix()
