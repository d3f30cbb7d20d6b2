"""The D x D products of class statistics: gathered in float32 or float64, kept in float64, or not kept at all."""

from typing import Self

import torch
from torch import Tensor

from mixscope.metrics.processes import total_over_processes
from mixscope.metrics.symmetric import add_symmetric_product, mirror_upper_half, upper_strips

# Float32 products go to float64 after so many rows, and after so many sums: the roundings of sums that grow add up.
PENDING_ROWS = 16384
PENDING_SUMS = 16


class NoProducts:
    """Keeps nothing: what `ClassMoments` is for. `ScatterMatrix` fills in the same methods."""

    def multiply(self, residuals: Tensor) -> None:
        """Add residuals^T residuals, (rows, D)."""

    def add_outer(self, left: Tensor, right: Tensor) -> None:
        """Add left^T right, (R, D) of one type both, whose product is symmetric."""

    def complete(self) -> None:
        """Bring what was added into the form that is read."""

    def merge(self, other: Self) -> None:
        """Add the other's completed products."""

    def all_reduce(self) -> None:
        """Add up the products of all processes."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept, by name."""
        return {}


class ScatterMatrix(NoProducts):
    """A (D, D) float64 matrix `within`, of which only the upper half is multiplied."""

    def __init__(self, dim: int, *, device: torch.device | str) -> None:
        """Start with zeros."""
        self.within = torch.zeros(
            dim, dim, dtype=torch.float64, device=device
        )  # the lower half is behind until complete
        self._pending: list[Tensor] = []  # float32 upper strips
        self._num_rows = 0
        self._num_sums = 0

    def multiply(self, residuals: Tensor) -> None:
        """Add residuals^T residuals, (rows, D), multiplied in their own type."""
        self.add_outer(residuals, residuals)
        self._num_rows += len(residuals)
        self._num_sums += 1
        if self._num_rows >= PENDING_ROWS or self._num_sums >= PENDING_SUMS:
            self._flush()

    def add_outer(self, left: Tensor, right: Tensor) -> None:
        """Add left^T right, (R, D) of one type both, whose product is symmetric."""
        is_float64 = left.dtype is torch.float64
        if not is_float64 and not self._pending:
            self._pending = upper_strips(torch.zeros_like(self.within, dtype=left.dtype))
        add_symmetric_product(upper_strips(self.within) if is_float64 else self._pending, left, right)

    def complete(self) -> None:
        """Add what is pending and fill the lower half."""
        self._flush()
        self._pending = []
        mirror_upper_half(self.within)

    def merge(self, other: Self) -> None:
        """Add the other's completed products."""
        self.within += other.within.to(self.within.device)

    def all_reduce(self) -> None:
        """Add up the products of all processes."""
        self.within = total_over_processes(self.within)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept, by name."""
        return {"within": self.within}

    def _flush(self) -> None:
        for strip, pending in zip(upper_strips(self.within), self._pending, strict=False):
            strip += pending
            pending.zero_()
        self._num_rows = self._num_sums = 0
