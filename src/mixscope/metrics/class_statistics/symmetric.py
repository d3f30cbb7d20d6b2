"""Symmetric matrices as sums of products, at little more than half the work: the scatter of residuals, in float64."""

from typing import Self

import torch
from torch import Tensor

from mixscope.metrics.precision import total_over_processes

# The upper half is multiplied in strips, about six: narrower ones compute less, but each product takes longer for it.
NUM_STRIPS = 6
SMALLEST_STRIP = 64
STRIP_STEP = 32  # widths are multiples of it
# A float32 sum of n squares, added row by row, is off by about 2e-8 sqrt(n): 3e-7 for so many rows. Longer sums are
# made of such parts, whose errors average out.
PRODUCT_ROWS = 256
# So many rows come first in float64, for the average to be below 1e-7 when float32 begins to count.
OPENING_ROWS = 1024
# Parts are added up in float32 until they hold so many rows.
PENDING_ROWS = 4096
# One float32 product in so many, the first among them, has its diagonal compared with float64. Where that is off by
# more (Frobenius norm), roundings lean one way, as where features take few values, or the device multiplies with fewer
# digits: from there on products are taken in float64.
PRODUCTS_PER_CHECK = 8
LARGEST_ERROR = 5e-7


class UpperHalf:
    """The upper half of a symmetric (D, D) matrix, in strips of rows from the diagonal to the right."""

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device | str) -> None:
        """Start with zeros."""
        width = max(SMALLEST_STRIP, -(-dim // (NUM_STRIPS * STRIP_STEP)) * STRIP_STEP)
        self._bounds = [(start, min(start + width, dim)) for start in range(0, dim, width)]
        shapes = [(stop - start, dim - start) for start, stop in self._bounds]
        sizes = [height * width for height, width in shapes]
        # All strips, flat, and views of them.
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


class ScatterMatrix:
    """A (D, D) float64 matrix, of which only the upper half is multiplied and kept; of D = 0 nothing is."""

    def __init__(self, dim: int, *, device: torch.device | str) -> None:
        """Start with zeros."""
        self._upper = UpperHalf(dim, dtype=torch.float64, device=device)
        self._part: UpperHalf | None = None  # float32, the last rows' product
        self._pending: UpperHalf | None = None  # float32, the sum of some
        self._num_rows = 0
        self._num_products = 0  # in float32
        self._num_pending = 0  # rows
        self._keeps_digits = True

    def add(self, residuals: Tensor) -> None:
        """Add residuals^T residuals, (rows, D) float32 or float64."""
        if not self._upper.strips:
            return
        for rows in residuals.split(PRODUCT_ROWS):
            is_float32 = rows.dtype is torch.float32 and self._num_rows >= OPENING_ROWS and self._keeps_digits
            if not is_float32 or not self._add_float32(rows):
                wide = rows.to(torch.float64)
                self.add_outer(wide, wide)
            self._num_rows += len(rows)

    def add_outer(self, left: Tensor, right: Tensor) -> None:
        """Add left^T right, (R, D) float64 both, whose product is symmetric."""
        self._upper.add_product(left, right)

    def merge(self, other: Self) -> None:
        """Add the other's products."""
        other._flush()
        self._upper.numbers += other._upper.numbers.to(self._upper.numbers.device)

    def all_reduce(self) -> None:
        """Add up the products of all processes."""
        self._flush()
        if self._upper.strips:
            self._upper.numbers.copy_(total_over_processes(self._upper.numbers))

    def matrix(self) -> Tensor:
        """Return the whole matrix, a new tensor."""
        self._flush()
        self._part = self._pending = None  # their memory is needed elsewhere
        return self._upper.matrix()

    def load(self, matrix: Tensor) -> None:
        """Take over what `matrix` returned."""
        self._upper.copy_(matrix)

    def _add_float32(self, rows: Tensor) -> bool:
        """Add the product of at most `PRODUCT_ROWS` rows, or return False, from now on, where it loses digits."""
        if self._part is None or self._pending is None:
            self._part, self._pending = (
                UpperHalf(rows.shape[1], dtype=torch.float32, device=rows.device) for _ in range(2)
            )
        self._part.put_product(rows)
        if self._num_products % PRODUCTS_PER_CHECK == 0:
            exact = rows.to(torch.float64).square_().sum(dim=0)
            error = torch.linalg.vector_norm(self._part.diagonal() - exact)
            self._keeps_digits = bool(error <= LARGEST_ERROR * torch.linalg.vector_norm(exact))
        if self._keeps_digits:
            self._pending.numbers += self._part.numbers
            self._num_products += 1
            self._num_pending += len(rows)
            if self._num_pending >= PENDING_ROWS:
                self._flush()
        return self._keeps_digits

    def _flush(self) -> None:
        if self._pending is not None:
            self._upper.numbers += self._pending.numbers
            self._pending.numbers.zero_()
        self._num_pending = 0
