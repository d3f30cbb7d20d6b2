"""Sums of the features of every class about a fixed point per class; means and scatter follow in closed form.

Rows are gathered into blocks. Each class gets a shift when first seen, its first row; a block then costs one
subtraction and sums of the residuals. The shift is a number of the features' own type, so the residual of a row is
rounded once, at its own size. A shift that turns out to lie outside its class (the first example was an outlier) is
moved, exactly, before anything cancels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mixscope.metrics.precision import full_precision
from mixscope.metrics.products import NoProducts

# A block of rows: residuals that fit a cache, and calls that are worth their overhead. It is twice as long where the
# tables of the classes, which every block goes through, are more than half as large and leave the cache to no block.
BLOCK_NUMBERS = 2**19
BLOCK_ROWS = (64, 2048)  # at least, at most
NUMBERS_AT_ONCE = 2**17  # of rows whose shifts are looked up at once
CLASSES_AT_ONCE = 512  # classes that are settled at once
# Residuals are summed in their own precision until there are so many of one class, or more in all than before; then the
# sums go to float64.
PENDING_ROWS_OF_CLASS = 64
NORM_COLUMNS = 4096  # squares added up in the residuals' own precision
# A shift is looked at when sums go to float64, and moved when more than this share of the scatter about it is the
# distance to the mean; one example as the shift gives a half, which stays. Before a class has grown this much since the
# last look its shift is put onto its mean: about the worst of shifts float32 then keeps six digits.
LARGEST_GROWTH = 8
LARGEST_DRIFT = 0.6


class ShiftedSums:
    """Counts, sums and squares of residuals, float64, and `pending` sums in the type of the residuals."""

    def __init__(
        self, num_classes: int, dim: int, *, wide: torch.dtype, product: torch.dtype, device: torch.device
    ) -> None:
        """Start with no examples.

        Args:
            num_classes: K.
            dim: D.
            wide: Type of the shifts, and in which they are subtracted.
            product: Type of the residuals.
            device: Where the sums are kept.
        """
        self.wide = wide
        self.product = product
        num_numbers = BLOCK_NUMBERS * (2 if 2 * num_classes * dim > BLOCK_NUMBERS else 1)
        num_rows = min(max(num_numbers // dim, BLOCK_ROWS[0]), BLOCK_ROWS[1])
        self._block = torch.empty(num_rows, dim, dtype=wide, device=device)
        self._block_labels = torch.empty(num_rows, dtype=torch.int64, device=device)
        self._num_waiting = 0  # rows of the block
        self._rows_at_once = max(NUMBERS_AT_ONCE // dim, 1)
        self._counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self._looked_at = torch.zeros_like(self._counts)  # count at the last look
        is_float64 = product is torch.float64
        # Tables in one piece of memory, as large as a float64 one: what comes later can have it when they are gone.
        tables = torch.zeros(1 if is_float64 else 2, num_classes, dim, dtype=wide, device=device)
        self._shifts = tables[0]
        self._sums = torch.zeros(num_classes, dim, dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self._counts)
        self._pending = self._sums if is_float64 else tables[1].to(product)
        self._num_pending = 0
        self._num_flushed = num_rows  # or a block, to begin with

    def add(self, values: Tensor, labels: Tensor, products: NoProducts) -> None:
        """Add checked rows, (rows, D), and their products; less than a block waits for more."""
        start = 0
        while start < len(values):
            stop = min(len(values), start + len(self._block) - self._num_waiting)
            part, part_labels = values[start:stop], labels[start:stop]
            if len(part) == len(self._block):
                self._add_block(part, part_labels, products)
            else:
                waiting = slice(self._num_waiting, self._num_waiting + len(part))
                self._block[waiting], self._block_labels[waiting] = part, part_labels
                self._num_waiting = waiting.stop
                if self._num_waiting == len(self._block):
                    self.complete(products)
            start = stop

    def complete(self, products: NoProducts) -> Tensor:
        """Add the rows that wait; return the (K,) float64 counts."""
        if self._num_waiting:
            rows = slice(self._num_waiting)
            self._num_waiting = 0
            self._add_block(self._block[rows], self._block_labels[rows], products)
        return self._counts

    def settle(self, products: NoProducts) -> tuple[Tensor, Tensor, Tensor]:
        """Turn sums and products about the shifts, in place, into those about the means. Nothing can be added after.

        Returns:
            (K,) counts, (K, D) means, zeros where the count is 0, and (K,) scatter, float64.
        """
        self.complete(products)
        del self._block
        for classes in self._groups(self._counts > 0):
            counts = self._counts[classes].clamp(min=1)
            steps = self._take_pending(classes).div_(counts[:, None])
            right = steps.to(self.product)
            products.add_outer(right * -counts[:, None].to(self.product), right)
            self._squares[classes] -= counts * _squared_lengths(steps)
            self._sums[classes] = steps.add_(self._shifts[classes])
        del self._pending, self._shifts
        return self._counts, self._sums, self._squares.clamp_(min=0)

    def _add_block(self, values: Tensor, labels: Tensor, products: NoProducts) -> None:
        """Add a block, which may be the one of the rows that waited: it is overwritten by the residuals."""
        with full_precision(values.device):
            labels = labels.long()
            after = self._counts.index_add(0, labels, torch.ones_like(labels, dtype=torch.float64))
            self._place_shifts(values, labels, after, products)
            residuals = self._block[: len(values)]
            pieces = (rows.split(self._rows_at_once) for rows in (values, labels, residuals))
            for some_values, some_labels, some_residuals in zip(*pieces, strict=True):
                torch.sub(some_values, self._shifts.index_select(0, some_labels), out=some_residuals)
            residuals = residuals.to(self.product)
            self._squares.index_add_(0, labels, _squared_lengths(residuals))
            self._pending.index_add_(0, labels, residuals)
            products.multiply(residuals)
            self._counts = after
            self._num_pending += len(values)
            is_crowded = float((after - self._looked_at).max()) >= PENDING_ROWS_OF_CLASS
            if is_crowded or self._num_pending > self._num_flushed:
                self._flush(products)

    def _flush(self, products: NoProducts) -> None:
        """Move pending sums to float64, and shifts onto the means of classes from which they have drifted."""
        seen = self._counts > self._looked_at
        self._looked_at.copy_(self._counts)
        # A class with a single row may stay pending: that row is its shift.
        for classes in self._groups(seen):
            sums, counts = self._take_pending(classes), self._counts[classes]
            has_drifted = _squared_lengths(sums) > LARGEST_DRIFT * counts * self._squares[classes]
            if has_drifted.any():
                drifted = torch.arange(len(self._counts), device=sums.device)[classes][has_drifted]
                self._move_shifts(drifted, sums[has_drifted], counts[has_drifted], products)
        self._num_flushed += self._num_pending
        self._num_pending = 0

    def _groups(self, chosen: Tensor) -> Sequence[Tensor | slice]:
        """Split the classes chosen, (K,) bool, into groups; where they are most classes, into slices of all: views."""
        classes = torch.nonzero(chosen).flatten()
        if 2 * len(classes) > len(chosen):
            return _pieces(len(chosen), CLASSES_AT_ONCE)
        return classes.split(CLASSES_AT_ONCE)

    def _take_pending(self, classes: Tensor | slice) -> Tensor:
        """Move the pending sums of these classes to float64; return their sums, (classes, D)."""
        sums = self._sums[classes]
        if self._pending is not self._sums:
            sums += self._pending[classes]
            if isinstance(classes, Tensor):  # else it is a view
                self._sums[classes] = sums
            self._pending[classes] = 0
        return sums

    def _place_shifts(self, values: Tensor, labels: Tensor, after: Tensor, products: NoProducts) -> None:
        """Put shifts of new classes onto their first row, and of those that grow much onto the mean, these included."""
        is_new = after.sign() > self._looked_at
        if is_new.any():
            classes = torch.nonzero(is_new).flatten()
            rows = torch.arange(len(labels), device=labels.device)
            first = torch.full_like(after, len(labels), dtype=torch.int64).scatter_reduce_(0, labels, rows, "amin")
            self._shifts[classes] = values[first[classes]].to(self.wide)
            self._looked_at[classes] = 1
        has_grown = (after >= LARGEST_GROWTH * self._looked_at).logical_and_(after > self._counts)
        if not has_grown.any():
            return
        classes = torch.nonzero(has_grown).flatten()
        self._looked_at[classes] = after[classes]
        slot = (has_grown.cumsum(dim=0) - 1)[labels]
        total, shifts = self._take_pending(classes), self._shifts[classes].to(torch.float64)
        for rows in torch.nonzero(has_grown[labels]).flatten().split(self._rows_at_once):
            total.index_add_(0, slot[rows], values[rows].to(torch.float64).sub_(shifts[slot[rows]]))
        self._move_shifts(classes, total, after[classes], products)

    def _move_shifts(self, classes: Tensor, total: Tensor, after: Tensor, products: NoProducts) -> None:
        """Put shifts onto the means of classes without pending sums.

        Args:
            classes: (R,) int64.
            total: (R, D) float64, sums about the shifts, which may count rows that are still to come.
            after: (R,) float64, number of rows in them.
            products: What was summed up about the shifts, corrected.
        """
        shifts, before, sums = self._shifts[classes].to(torch.float64), self._counts[classes, None], self._sums[classes]
        self._shifts[classes] = total.div(after[:, None]).add_(shifts).to(self.wide)
        # With r the residuals about the old shift, s their sum and d the step:
        # sum (r - d)(r - d)^T = sum r r^T - s d^T - d s^T + n d d^T = sum r r^T + a d^T + d a^T, a = n d / 2 - s.
        # A new class has n = 0 and s = 0.
        steps = self._shifts[classes] - shifts
        halves = before * steps / 2 - sums
        products.add_outer(torch.cat([halves, steps]), torch.cat([steps, halves]))
        self._squares[classes] += 2 * torch.linalg.vecdot(halves, steps)
        self._sums[classes] = sums - before * steps


def _pieces(num: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, num, size)]


def _squared_lengths(rows: Tensor) -> Tensor:
    """Return the (N,) float64 squared lengths of rows, (N, D), at most `NORM_COLUMNS` summed in their own precision."""
    total = torch.zeros(rows.shape[0], dtype=torch.float64, device=rows.device)
    for part in rows.split(NORM_COLUMNS, dim=1):
        total += torch.linalg.vector_norm(part, dim=1).to(torch.float64).square_()
    return total
