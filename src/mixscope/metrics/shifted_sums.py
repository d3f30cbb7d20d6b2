"""Sums of the features of every class about a fixed point per class; means and scatter follow in closed form.

Each class gets a shift when first seen, its mean in that batch. A batch then costs one subtraction and sums of the
residuals. The shift is a number of the features' own type, so the residual of a row is rounded once, at its own size.
A shift that turns out to lie outside its class (the first example was an outlier) is moved, exactly, before anything
cancels.
"""

import torch
from torch import Tensor

from mixscope.metrics.products import NoProducts

CLASSES_AT_ONCE = 512  # classes that are settled at once
# Residuals are summed in their own precision until there are so many rows, so many per class, or a batch with so many
# per class present; then the sums go to float64.
PENDING_ROWS = 8192
PENDING_ROWS_PER_CLASS = 16
CROWDED_ROWS = 64
NORM_COLUMNS = 4096  # squares added up in the residuals' own precision
# A class may be looked at when its count has grown this much since the last look, and must be before it has grown to
# `LARGEST_GROWTH`, at which float32 keeps six digits about the worst of shifts. A shift is moved when more than this
# share of the scatter about it is the distance to the mean; one example as the shift gives a half, which stays.
GROWTH = 4
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
        self.counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self._shifts = torch.zeros(num_classes, dim, dtype=wide, device=device)
        self._looked_at = torch.zeros(num_classes, dtype=torch.float64, device=device)  # count at the last look
        self._sums = torch.zeros(num_classes, dim, dtype=torch.float64, device=device)
        self._squares = torch.zeros(num_classes, dtype=torch.float64, device=device)
        is_float64 = product is torch.float64
        self._pending = self._sums if is_float64 else torch.zeros_like(self._shifts, dtype=product)
        self._pending_classes: list[Tensor] = []
        self._num_pending = 0

    def add(self, values: Tensor, labels: Tensor, products: NoProducts) -> None:
        """Add checked rows, (rows, D), and their products."""
        present, position, counts = labels.unique(return_inverse=True, return_counts=True)
        after = self.counts[present] + counts
        self._place_shifts(values, present, position, after, products)
        residuals = self._shifts.index_select(0, labels)
        torch.sub(values.to(self.wide), residuals, out=residuals)
        residuals = residuals.to(self.product)
        squares = _squared_lengths(residuals)
        self.counts[present] = after
        self._squares.index_add_(0, labels, squares)
        self._pending.index_add_(0, labels, residuals)
        if self._pending is not self._sums:
            self._pending_classes.append(present)
            self._num_pending += labels.shape[0]
            limit = min(PENDING_ROWS, PENDING_ROWS_PER_CLASS * len(self.counts))
            if self._num_pending >= limit or len(labels) >= CROWDED_ROWS * len(counts):
                self._flush()
        products.multiply(residuals)

    def settle(self, products: NoProducts) -> tuple[Tensor, Tensor, Tensor]:
        """Turn sums and products about the shifts, in place, into those about the means. Nothing can be added after.

        Returns:
            (K,) counts, (K, D) means, zeros where the count is 0, and (K,) scatter, float64.
        """
        self._flush()
        self._pending = self._sums
        for classes in torch.nonzero(self.counts > 0).flatten().split(CLASSES_AT_ONCE):
            counts = self.counts[classes]
            steps = self._sums[classes].div_(counts[:, None])
            weighted = steps * -counts[:, None]
            products.add_outer(weighted, steps)
            self._squares[classes] += torch.linalg.vecdot(weighted, steps)
            self._sums[classes] = steps.add_(self._shifts[classes])
        return self.counts, self._sums, self._squares.clamp_(min=0)

    def _flush(self) -> None:
        if not self._num_pending:
            return
        if len(self.counts) <= self._num_pending:
            self._sums += self._pending
            self._pending.zero_()
        else:  # the classes seen set the cost, not their number
            for seen in torch.cat(self._pending_classes).unique().split(CLASSES_AT_ONCE):
                self._sums.index_add_(0, seen, self._pending[seen].to(torch.float64))
                self._pending.index_fill_(0, seen, 0)
        self._pending_classes.clear()
        self._num_pending = 0

    def _place_shifts(
        self, values: Tensor, present: Tensor, position: Tensor, after: Tensor, products: NoProducts
    ) -> None:
        """Give new classes a shift, and move those of grown ones that lie too far from their class."""
        growth = after / self._looked_at[present]
        largest = float(growth.max())
        # Looking costs more in calls than in numbers: many classes at once, or those that must be looked at.
        if largest < GROWTH or (largest < LARGEST_GROWTH and float(growth.median()) < GROWTH):
            return
        grown = torch.nonzero(growth >= GROWTH).flatten()
        slot = torch.full_like(present, -1)
        slot[grown] = torch.arange(len(grown), device=slot.device)
        slot = slot[position]
        rows = torch.nonzero(slot >= 0).flatten()
        self._move_shifts(values[rows].to(torch.float64), slot[rows], present[grown], after[grown], products)

    def _move_shifts(self, values: Tensor, slot: Tensor, classes: Tensor, after: Tensor, products: NoProducts) -> None:
        """Move the shifts of classes that are new or lie too far from their mean, these rows included."""
        is_new = self._looked_at[classes] == 0
        self._looked_at[classes] = after
        total = torch.zeros(len(classes), values.shape[1], dtype=torch.float64, device=values.device)
        if is_new.all():
            total.index_add_(0, slot, values)
            self._shifts[classes] = total.div_(after[:, None]).to(self.wide)
            return
        old, before, sums = self._shifts[classes].to(torch.float64), self.counts[classes], self._sums[classes]
        if self._pending is not self._sums:
            sums = sums + self._pending[classes]
        offsets = values.sub_(old[slot])
        total.index_add_(0, slot, offsets).add_(sums)
        squares = self._squares[classes].index_add(0, slot, torch.linalg.vecdot(offsets, offsets))
        moves = is_new | (torch.linalg.vecdot(total, total) > LARGEST_DRIFT * after * squares)
        if not moves.any():
            return
        classes, before, old, sums = classes[moves], before[moves, None], old[moves], sums[moves]
        shifts = (old + total[moves] / after[moves, None]).to(self.wide)
        steps = shifts.to(torch.float64) - old
        self._shifts[classes] = shifts
        if not before.any():
            return
        # With r the residuals about the old shift, s their sum and d the step:
        # sum (r - d)(r - d)^T = sum r r^T - s d^T - d s^T + n d d^T = sum r r^T + a d^T + d a^T, a = n d / 2 - s.
        # A new class has n = 0 and s = 0.
        halves = before * steps / 2 - sums
        products.add_outer(torch.cat([halves, steps]), torch.cat([steps, halves]))
        self._squares[classes] += 2 * torch.linalg.vecdot(halves, steps)
        self._pending[classes] = 0
        self._sums[classes] = sums - before * steps


def _squared_lengths(rows: Tensor) -> Tensor:
    """Return the (N,) float64 squared lengths of rows, (N, D), at most `NORM_COLUMNS` summed in their own precision."""
    total = torch.zeros(rows.shape[0], dtype=torch.float64, device=rows.device)
    for part in rows.split(NORM_COLUMNS, dim=1):
        total += torch.linalg.vector_norm(part, dim=1).to(torch.float64).square_()
    return total
