"""Class means and the scatter around them, all of it, in one pass over the data."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_least,
    check_at_most,
    check_finite,
    check_labels,
    check_ndim,
    check_same_length,
    check_shape,
    check_size,
    naming,
)
from mixscope.base.kinds import checked
from mixscope.metrics.class_statistics.products import ScatterMatrix
from mixscope.metrics.class_statistics.row_blocks import RowBlocks, needs_float64
from mixscope.metrics.class_statistics.shifted_sums import CLASSES_AT_ONCE, ShiftedSums
from mixscope.metrics.precision import full_precision

LARGEST_DIM = 10**5  # D x D numbers are 80 GB there


class ClassStatistics:
    """Counts, means and scatter of the features of each class, fed batch by batch.

    Any split, order or tree of merges gives the same numbers (relative 1e-10 in float64); nothing large cancels, also
    where the mean is large or a class begins with an outlier. Features are never stored, and there is no K x D x D.
    Narrow features (below 96 columns), half-precision ones and everything with `product_dtype=torch.float64` are
    computed in float64. Residuals of wide float32 features are multiplied in float32, 256 rows at a time, and added up
    in float64: `within` is within 1e-6 of float64 (Frobenius norm), in whatever order the processor adds up, and within
    about 1e-7 where classes do not move during the data. Products are held against float64 on the way; where their
    roundings lean one way, as with a binary layer's few values, they are taken in float64 from there on. Autocast and a
    reduced matmul precision set by the caller are switched off inside.
    Counts, means and scatter are live: clone what must outlast the next update.

    Example:
        >>> statistics = ClassStatistics(num_classes=2, dim=1)
        >>> statistics.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> statistics.means.tolist(), statistics.within.tolist()
        ([[2.0], [5.0]], [[2.0]])
    """

    @checked
    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        device: torch.device | str = "cpu",
        product_dtype: torch.dtype | None = None,
    ) -> None:
        """Start with no examples.

        Args:
            num_classes: K, from 1 to a million.
            dim: D, from 1 to 1e5.
            device: Where the numbers are kept and updated; it must know float64.
            product_dtype: Type in which residuals are formed, squared and multiplied, torch.float32 or torch.float64.
                Default: that of float32 and float64 features, float64 for half precision. Sums are float64 anyway.

        Raises:
            ValueError: If num_classes or dim is out of range, or product_dtype is another type.
        """
        check_size(1, num_classes=num_classes)
        check_at_least(1, dim=dim)
        check_at_most(LARGEST_DIM, dim=dim)
        if product_dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"product_dtype must be torch.float32, torch.float64 or None, got {product_dtype}")
        self.num_classes, self.dim, self.product_dtype = num_classes, dim, product_dtype
        self._dtype = torch.float32  # of shifts and residuals; float64 as soon as a batch asks for it
        with full_precision(torch.device(device)):  # nothing made here stays in inference mode
            self._counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
            self._means = self._counts.new_zeros(1, 1).expand(num_classes, dim)  # no memory until there is an example
            self._scatter = torch.zeros_like(self._counts)
            self._products = ScatterMatrix(dim, device=device)
        self._blocks: RowBlocks | None = None  # rows that wait for a block to be full
        self._open: ShiftedSums | None = None  # everything, about a shift per class, while blocks come in

    @property
    def counts(self) -> Tensor:
        """(K,) float64, examples of each class seen so far."""
        if self._blocks is None:
            return self._counts
        return self._counts + torch.bincount(self._blocks.waiting_labels, minlength=self.num_classes)

    @property
    def means(self) -> Tensor:
        """(K, D) float64, class means; a row of zeros where the count is 0."""
        self._settle()
        return self._means

    @property
    def scatter(self) -> Tensor:
        """(K,) float64, sum over the examples of each class of |h - mean_y|^2."""
        self._settle()
        return self._scatter

    @property
    def within(self) -> Tensor:
        """(D, D) float64, sum over all examples of (h - mean_y)(h - mean_y)^T."""
        self._settle()
        return self._products.matrix()

    @property
    def num_examples(self) -> int:
        """N, the examples seen so far."""
        return int(self.counts.sum())

    @property
    def sample_mean(self) -> Tensor:
        """(D,) float64, the mean of all examples; on imbalanced data it differs from the mean of the class means."""
        return (self.counts @ self.means) / self.counts.sum()

    def missing_classes(self) -> list[int]:
        """Return the classes without an example."""
        return torch.nonzero(self.counts == 0).flatten().tolist()

    @checked
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            features: (B, D) float, B at least 0, moved to the device of the statistics.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If shapes do not fit, features or their squares are not finite, or labels do not fit.
        """
        check_ndim(2, features=features)
        check_same_length(features=features, labels=labels)
        if features.shape[1] != self.dim or not features.is_floating_point():
            got = f"{features.dtype} of shape {tuple(features.shape)}"
            raise ValueError(f"features must be float of shape (B, {self.dim}), got {got}")
        check_labels(labels, num_classes=self.num_classes)
        values = features.detach()
        if len(values) == 0:
            return
        if needs_float64(values, product_dtype=self.product_dtype) and self._dtype is torch.float32:
            self._settle()
            self._dtype = torch.float64
        if self._blocks is None:
            with full_precision(self._means.device):
                self._blocks = RowBlocks(self.dim, dtype=self._dtype, device=self._means.device)
        device = self._means.device
        self._add_blocks(self._blocks, self._blocks.gather(values.to(device), labels.to(device, torch.int64)))

    @checked
    def merge(self, other: "ClassStatistics") -> None:
        """Add everything another instance has seen, which is left as it was (Chan et al. 1983).

        The distance d of two means with n and m rows adds n m / (n + m) d d^T to the scatter about the common mean.

        Raises:
            ValueError: If the number of classes or the dimension differs.
        """
        if (shape := tuple(other._means.shape)) != (self.num_classes, self.dim):
            raise ValueError(f"other must have num_classes and dim {(self.num_classes, self.dim)}, got {shape}")
        other._settle()
        self._settle()
        device = self._means.device
        with full_precision(device):
            self._means = self._means.contiguous()
            self._products.merge(other._products)
            for group in torch.nonzero(other._counts > 0).flatten().split(CLASSES_AT_ONCE):
                classes = group.to(device)
                more, more_means, more_scatter = (
                    part[group].to(device) for part in (other._counts, other._means, other._scatter)
                )
                before = self._counts[classes]
                offsets = more_means - self._means[classes]
                weighted = (before * more / (before + more))[:, None] * offsets
                self._products.add_outer(weighted, offsets)
                self._scatter[classes] += more_scatter + torch.linalg.vecdot(weighted, offsets)
                self._means[classes] += offsets * (more / (before + more))[:, None]
                self._counts[classes] += more

    def state(self) -> dict[str, Tensor]:
        """Return copies of all numbers, float64: what `from_state` takes, to be written to a file or sent elsewhere."""
        self._settle()
        numbers = {"counts": self._counts, "means": self._means, "scatter": self._scatter}
        return {name: tensor.clone() for name, tensor in numbers.items()} | {"within": self._products.matrix()}

    @classmethod
    @checked
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        product_dtype: torch.dtype | None = None,
    ) -> Self:
        """Build an instance from what `state` returned, which is copied; the rest as of the constructor.

        Raises:
            ValueError: If a tensor is missing or unknown, of the wrong shape, not finite, or a count is negative.
        """
        shape = tuple(state["means"].shape) if "means" in state else ()
        if len(shape) != 2:
            raise ValueError(f"state must hold means of shape (K, D), got {sorted(state)} with means of shape {shape}")
        kept = {"counts": shape[:1], "means": shape, "scatter": shape[:1], "within": 2 * shape[1:]}
        if set(kept) != set(state):
            raise ValueError(f"state must hold {', '.join(kept)}, got {', '.join(sorted(state))}")
        with naming("state"):
            instance = cls(*shape, device=device, product_dtype=product_dtype)
            for name, expected in kept.items():
                check_shape(expected, of="the means", **{name: state[name]})
                check_finite(**{name: state[name]})
            if (state["counts"] < 0).any():
                raise ValueError(f"counts must be at least 0, got {float(state['counts'].min())}")
        with full_precision(instance._means.device):
            instance._counts, instance._means, instance._scatter = (
                state[name].detach().to(instance._counts, copy=True) for name in ("counts", "means", "scatter")
            )
            instance._products.load(state["within"].detach())
        return instance

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by `state`."""
        rebuild = partial(type(self).from_state, device=self._means.device, product_dtype=self.product_dtype)
        return rebuild, (self.state(),)

    def _add_blocks(self, blocks: RowBlocks, full: Iterable[tuple[Tensor, Tensor]]) -> None:
        for rows, labels in full:
            with full_precision(rows.device):
                if self._open is None:
                    self._open = ShiftedSums(
                        self._counts, self._means, self._scatter, self._products, dtype=self._dtype
                    )
                self._open.add(rows, labels, out=blocks.buffer[: len(rows)])

    def _settle(self) -> None:
        """Move everything from the shifts to the class means."""
        if self._blocks is None:
            return
        with full_precision(self._means.device):
            self._add_blocks(self._blocks, self._blocks.rest())
            self._blocks = None
            if self._open is not None:
                self._means = self._open.settle()
                self._open = None
