"""Counts, sums and squares of rows by class about a fixed point per class, its shift; means follow in closed form.

A shift is a number of the rows' own type near the class mean, so a residual is rounded once, at its own size, and one
subtraction, one sum by class and one product are all that a block of rows costs. A shift far from its class would let
large numbers cancel: it is moved onto the mean, exactly, before a block is multiplied. What is known about means of two
instances, or of all processes, is joined (Chan et al. 1983).
"""

import torch
from torch import Tensor

from mixscope.metrics.class_statistics.symmetric import ScatterMatrix
from mixscope.metrics.precision import total_over_processes

# A class is looked at when it has grown so much, or when so many rows have come since: its sums go to float64, and its
# shift onto the mean when more than this share of the squares about it is the distance to the mean. In between nine
# tenths can cancel at the worst: one digit.
GROWTH_BETWEEN_LOOKS = 4
ROWS_BETWEEN_LOOKS = 256
LARGEST_DRIFT = 0.6
COLUMNS_AT_ONCE = 512  # squares added up in the residuals' own precision
ROWS_AT_ONCE = 256  # whose shifts are looked up at once
CLASSES_AT_ONCE = 512  # that are worked on at once
Moments = tuple[Tensor, Tensor, Tensor]  # counts (K,), means (K, D) and squares about them (K,), all float64


class ShiftedSums:
    """What is known of the rows of each class, about its shift; products of residuals are added to `products`.

    In float64: (K,) counts of rows, (K, D) sums and (K,) squares of residuals. The (K, D) shifts are of the residuals'
    type, zeros where the count is 0.
    """

    def __init__(
        self, counts: Tensor, means: Tensor, scatter: Tensor, products: ScatterMatrix, *, dtype: torch.dtype
    ) -> None:
        """Start from what is known about the class means, all taken over, not copied; `dtype` is of residuals."""
        self.counts, self.squares, self._products = counts, scatter, products
        self.shifts = means.to(dtype, copy=True)
        self.sums = means.contiguous().sub_(self.shifts)
        self._pending = self.sums if dtype is torch.float64 else torch.zeros_like(self.shifts)
        self._looked_at = counts.clone()  # count at the last look
        if counts.any():
            for some in _pieces(len(counts), CLASSES_AT_ONCE):
                self._add_distances(some, self.sums[some], sign=1)
                self.sums[some] *= counts[some, None]

    def settle(self) -> Tensor:
        """Turn products and squares, in place, into those about the means, and return the (K, D) means."""
        for some in _pieces(len(self.counts), CLASSES_AT_ONCE):
            steps = self._take_pending(some).div_(self.counts[some, None].clamp(min=1))
            self._add_distances(some, steps, sign=-1)
            steps += self.shifts[some]
        self.squares.clamp_(min=0)
        return self.sums

    def add(self, values: Tensor, labels: Tensor, *, out: Tensor) -> None:
        """Add rows, (rows, D) of any type, with (rows,) labels; residuals are put into `out`, which may be `values`."""
        new = torch.bincount(labels, minlength=len(self.counts)).to(torch.float64)
        self._place_shifts(values, labels, new)
        for some in _pieces(len(values), ROWS_AT_ONCE):
            torch.sub(values[some], self.shifts.index_select(0, labels[some]), out=out[some])
        self.counts += new
        self.squares.index_add_(0, labels, squared_lengths(out))
        self._pending.index_add_(0, labels, out)
        most = (self._looked_at * (GROWTH_BETWEEN_LOOKS - 1)).clamp_(max=ROWS_BETWEEN_LOOKS)
        is_due = (self.counts - self._looked_at >= most).logical_and_(new > 0)
        for classes in torch.nonzero(is_due).flatten().split(CLASSES_AT_ONCE):
            self._look_at(classes, out, labels, new)
        self._products.add(out)

    def _take_pending(self, classes: Tensor | slice) -> Tensor:
        """Move the pending sums of these classes to float64; return their sums, (classes, D), a view for a slice."""
        sums = self.sums[classes]
        if self._pending is not self.sums:
            sums += self._pending[classes]
            self._pending[classes] = 0
            if isinstance(classes, Tensor):
                self.sums[classes] = sums
        return sums

    def _add_distances(self, classes: slice, steps: Tensor, *, sign: int) -> None:
        """Add sign n d d^T and sign n |d|^2 for steps d, (classes, D) float64."""
        weighted = steps * (sign * self.counts[classes, None])
        self.squares[classes] += torch.linalg.vecdot(weighted, steps)
        self._products.add_outer(weighted, steps)

    def _place_shifts(self, values: Tensor, labels: Tensor, new: Tensor) -> None:
        """Put the shifts of new classes onto the means of their rows."""
        is_first = (self.counts == 0).logical_and_(new > 0)
        if not is_first.any():
            return
        classes = torch.nonzero(is_first).flatten()
        slots = torch.where(is_first, is_first.cumsum(dim=0) - 1, len(classes))  # the last one is for all other rows
        sums = self.shifts.new_zeros(len(classes) + 1, values.shape[1])
        sums.index_add_(0, slots[labels], values.to(sums.dtype))
        self.shifts[classes] = sums[:-1].div_(new[classes, None].to(sums.dtype))
        self._looked_at[classes] = new[classes]

    def _look_at(self, classes: Tensor, residuals: Tensor, labels: Tensor, new: Tensor) -> None:
        """Move the shifts of these classes onto their means where they have drifted.

        Sums already count the residuals, (rows, D), products do not. With r the rows about the old shift, s their sum
        and d the step, sum (r - d)(r - d)^T = sum r r^T - s d^T - d s^T + n d d^T = sum r r^T + a d^T + d a^T with
        a = n d / 2 - s, for the rows in the products and, as squared lengths, for all rows.
        """
        self._looked_at[classes] = self.counts[classes]
        sums, counts = self._take_pending(classes), self.counts[classes]
        has_drifted = torch.linalg.vecdot(sums, sums) > LARGEST_DRIFT * counts * self.squares[classes]
        if not has_drifted.any():
            return
        classes, sums, counts = classes[has_drifted], sums[has_drifted], counts[has_drifted, None]
        before = self.shifts[classes]
        self.shifts[classes] = (before.to(torch.float64) + sums / counts).to(before.dtype)
        steps = self.shifts[classes].to(torch.float64) - before.to(torch.float64)
        self.squares[classes] += 2 * torch.linalg.vecdot(counts * steps / 2 - sums, steps)
        self.sums[classes] = sums - counts * steps
        slots = torch.full_like(self.counts, -1, dtype=torch.int64)
        slots[classes] = torch.arange(len(classes), device=slots.device)
        rows = torch.nonzero(slots[labels] >= 0).flatten()
        for some in rows.split(CLASSES_AT_ONCE):
            sums.index_add_(0, slots[labels[some]], residuals[some].to(torch.float64), alpha=-1)
            residuals[some] -= steps.to(residuals.dtype)[slots[labels[some]]]
        halves = (counts - new[classes, None]) * steps / 2 - sums
        self._products.add_outer(torch.cat([halves, steps]), torch.cat([steps, halves]))


def _pieces(num: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, num, size)]


def squared_lengths(rows: Tensor) -> Tensor:
    """Return the (N,) float64 squared lengths of rows, (N, D)."""
    total = torch.zeros(rows.shape[0], dtype=torch.float64, device=rows.device)
    for part in rows.split(COLUMNS_AT_ONCE, dim=1):
        total += torch.linalg.vector_norm(part, dim=1).to(torch.float64).square_()
    return total


def join_groups(own: Moments, other: Moments, *, products: ScatterMatrix) -> None:
    """Add the other's rows to `own`, in place, and what is between to `products`, which hold what is on either side."""
    # The distance d of two means with n and m rows adds n m / (n + m) d d^T to the squares about the common mean.
    counts, means, scatter = own
    device = counts.device
    for group in torch.nonzero(other[0] > 0).flatten().split(CLASSES_AT_ONCE):
        classes = group.to(device)
        more, more_means, more_scatter = (part[group].to(device) for part in other)
        before = counts[classes]
        offsets = more_means - means[classes]
        weighted = (before * more / (before + more))[:, None] * offsets
        products.add_outer(weighted, offsets)
        scatter[classes] += more_scatter + torch.linalg.vecdot(weighted, offsets)
        means[classes] += offsets * (more / (before + more))[:, None]
        counts[classes] += more


def join_processes(own: Moments, *, products: ScatterMatrix) -> Moments:
    """Return the moments of the rows of all processes, and add up `products` likewise."""
    # Every process adds n d d^T for the distance d of its own mean from the common one.
    own_counts, own_means, scatter = own
    counts = total_over_processes(own_counts)
    means = total_over_processes(own_counts[:, None] * own_means) / counts.clamp(min=1)[:, None]
    for classes in torch.nonzero(own_counts > 0).flatten().split(CLASSES_AT_ONCE):
        offsets, weights = own_means[classes] - means[classes], own_counts[classes]
        scatter.index_add_(0, classes, weights * offsets.square().sum(dim=1))
        products.add_outer(weights[:, None] * offsets, offsets)
    products.all_reduce()
    return counts, means, total_over_processes(scatter)
