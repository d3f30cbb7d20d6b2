"""Counts, means and scatter of every class in one pass."""

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
from mixscope.metrics.class_statistics.products import NoProducts
from mixscope.metrics.class_statistics.row_blocks import RowBlocks
from mixscope.metrics.class_statistics.shifted_sums import CLASSES_AT_ONCE, ShiftedSums
from mixscope.metrics.precision import full_precision
from mixscope.metrics.process_sums import is_distributed, total_over_processes

# Fewer columns than this cost no more in float64 than in float32.
NARROW = 96
# A batch of this length in all (the root of its sum of squares) has float32 squares that neither overflow nor vanish;
# other batches are computed in float64, whose squares are finite up to the limit.
FLOAT32_RANGE = (1e-7, 1e15)
FLOAT64_LIMIT = 1e150


class ClassSums:
    """What `ClassMoments` and `ClassStatistics` share; use one of these.

    Rows wait until there is a block of them. While rows come in, everything is kept about a shift per class
    (`ShiftedSums`); what is read is about the class means, where `_settle` brings it.
    """

    _LARGEST_DIM = 10**8

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
            dim: D, from 1 to 1e8; to 1e5 where there is a D x D matrix.
            device: Where the numbers are kept and updated; it must know float64.
            product_dtype: Type in which residuals are formed, squared and multiplied, torch.float32 or torch.float64.
                Default: that of float32 and float64 features, float64 for half precision. Sums are float64 anyway.

        Raises:
            ValueError: If num_classes or dim is out of range, or product_dtype is another type.
        """
        check_size(1, num_classes=num_classes)
        check_at_least(1, dim=dim)
        check_at_most(self._LARGEST_DIM, dim=dim)
        if product_dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"product_dtype must be torch.float32, torch.float64 or None, got {product_dtype}")
        self.product_dtype = product_dtype
        self._dtype = torch.float32  # of shifts and residuals; float64 as soon as a batch asks for it
        self._open: ShiftedSums | None = None
        with full_precision(torch.device(device)):  # nothing made here stays in inference mode
            self._counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
            # One zero seen K x D times, until there is an example.
            self._means = torch.zeros(1, 1, dtype=torch.float64, device=device).expand(num_classes, dim)
            self._scatter = torch.zeros(num_classes, dtype=torch.float64, device=device)
            self._products = self._start_products()
            self._blocks: RowBlocks | None = None

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
    def num_classes(self) -> int:
        """K."""
        return self._means.shape[0]

    @property
    def dim(self) -> int:
        """D."""
        return self._means.shape[1]

    @property
    def num_examples(self) -> int:
        """N, the examples seen so far."""
        return int(self.counts.sum())

    @property
    def sample_mean(self) -> Tensor:
        """(D,) float64, the mean of all examples; on imbalanced data it differs from the mean of the class means."""
        return (self.counts @ self.means) / self.counts.sum()

    def missing_classes(self) -> list[int]:
        """Return the classes that have no example."""
        return torch.nonzero(self.counts == 0).flatten().tolist()

    @checked
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            features: (B, D) float, B at least 0, moved to the device of the statistics.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If shapes do not fit, features are not finite floats (or so large that their squares are not
                finite), or labels are not integers in [0, K).
        """
        check_ndim(2, features=features)
        check_same_length(features=features, labels=labels)
        if features.shape[1] != self.dim or not features.is_floating_point():
            raise ValueError(
                f"features must be float of shape (B, {self.dim}), "
                f"got {features.dtype} of shape {tuple(features.shape)}"
            )
        check_labels(labels, num_classes=self.num_classes)
        if len(features) == 0:
            return
        dtype = self._dtype_for(features.detach())
        if dtype is not self._dtype:
            self._settle()
            self._dtype = dtype
        if self._blocks is None:
            with full_precision(self._means.device):
                self._blocks = RowBlocks(self.dim, dtype=dtype, device=self._means.device)
        values = features.detach().to(self._means.device)
        self._add_blocks(self._blocks, self._blocks.gather(values, labels.to(values.device, torch.int64)))

    @checked
    def merge(self, other: "ClassSums") -> None:
        """Add everything another instance has seen (another device, process or file). `other` is left as it was.

        Raises:
            ValueError: If the number of classes or the dimension differs, or the other is of another kind.
        """
        if type(other) is not type(self):
            raise ValueError(f"other must be {type(self).__name__}, got {type(other).__name__}")
        if other._means.shape != self._means.shape:
            raise ValueError(
                f"other must have num_classes and dim {tuple(self._means.shape)}, got {tuple(other._means.shape)}"
            )
        other._settle()
        self._settle()
        with full_precision(self._means.device):
            self._products.merge(other._products)
            present = torch.nonzero(other._counts > 0).flatten()
            self._join(present, other._counts, other._means, other._scatter)
            self._products.complete()

    def all_reduce(self) -> None:
        """Add up what all processes of `torch.distributed` have seen; afterwards every one of them holds the total.

        All processes must call it, also one that has seen nothing. Without a process group nothing happens. A second
        call would count everything once per process: reduce once, at the end of the data.
        """
        if not is_distributed():
            return
        self._settle()
        with full_precision(self._means.device):
            counts = total_over_processes(self._counts)
            means = total_over_processes(self._counts[:, None] * self._means) / counts.clamp(min=1)[:, None]
            # sum over ranks of the own scatter and the own mean's distance from the common one
            for classes in torch.nonzero(self._counts > 0).flatten().split(CLASSES_AT_ONCE):
                offsets, weights = self._means[classes] - means[classes], self._counts[classes]
                self._scatter.index_add_(0, classes, weights * offsets.square().sum(dim=1))
                self._products.add_outer(weights[:, None] * offsets, offsets)
            self._counts, self._means, self._scatter = counts, means, total_over_processes(self._scatter)
            self._products.all_reduce()
            self._products.complete()

    def state(self) -> dict[str, Tensor]:
        """Return copies of all numbers, float64: what `from_state` takes, to be written to a file or sent elsewhere."""
        self._settle()
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    @classmethod
    @checked
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        product_dtype: torch.dtype | None = None,
    ) -> Self:
        """Build an instance from what `state` returned.

        Args:
            state: The tensors by name; copied.
            device: As of the constructor.
            product_dtype: As of the constructor; not part of the state.

        Raises:
            ValueError: If a tensor is missing or unknown, of the wrong shape, not finite, or a count is negative.
        """
        shape = tuple(state["means"].shape) if "means" in state else ()
        if len(shape) != 2:
            raise ValueError(f"state must hold means of shape (K, D), got {sorted(state)} with means of shape {shape}")
        with naming("state"):
            instance = cls(*shape, device=device, product_dtype=product_dtype)
        with full_precision(instance._means.device):
            instance._means = instance._means.contiguous()
        own = instance._tensors()
        if set(own) != set(state):
            raise ValueError(f"state must hold {', '.join(own)}, got {', '.join(sorted(state))}")
        with naming("state"):
            for name, tensor in own.items():
                check_shape(tuple(tensor.shape), of="the means", **{name: state[name]})
                check_finite(**{name: state[name]})
                tensor.copy_(state[name].detach())
            if (instance._counts < 0).any():
                raise ValueError(f"counts must be at least 0, got {float(instance._counts.min())}")
        return instance

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by `state`."""
        rebuild = partial(type(self).from_state, device=self._means.device, product_dtype=self.product_dtype)
        return rebuild, (self.state(),)

    def _start_products(self) -> NoProducts:
        """Return what keeps the products of residuals."""
        return NoProducts()

    def _tensors(self) -> dict[str, Tensor]:
        return {"counts": self._counts, "means": self._means, "scatter": self._scatter, **self._products.tensors()}

    def _dtype_for(self, values: Tensor) -> torch.dtype:
        """Return the type of residuals that suits these values and those before; raise if there is none."""
        length = float(torch.linalg.vector_norm(values, dtype=torch.promote_types(values.dtype, torch.float32)))
        is_in_range = FLOAT32_RANGE[0] < length < FLOAT32_RANGE[1]  # one look: NaN, infinities and the range
        if not is_in_range:
            check_finite(features=values)
            size = float(values.abs().max())
            if size > FLOAT64_LIMIT:
                raise ValueError(f"features must be at most {FLOAT64_LIMIT} in size, got {size}")
            is_in_range = size == 0
        # Half-precision features take few values: the roundings of their float32 products lean one way and add up.
        is_float32 = values.dtype is torch.float32 and self.dim >= NARROW and self.product_dtype is None
        if is_in_range and (is_float32 or self.product_dtype is torch.float32):
            return self._dtype
        return torch.float64

    def _add_blocks(self, blocks: RowBlocks, full: Iterable[tuple[Tensor, Tensor]]) -> None:
        for rows, labels in full:
            with full_precision(rows.device):
                if self._open is None:
                    about_means = self._counts, self._means, self._scatter, self._products
                    self._open = ShiftedSums(*about_means, dtype=self._dtype)
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
                self._products.complete()

    def _join(self, present: Tensor, counts: Tensor, means: Tensor, scatter: Tensor) -> None:
        """Join groups, those of the classes present, whose products are already in: the update of Chan et al. 1983."""
        self._means = self._means.contiguous()
        device = self._means.device
        for group in present.split(CLASSES_AT_ONCE):
            classes, more = group.to(device), counts[group].to(device)
            before = self._counts[classes]
            offsets = means[group].to(device) - self._means[classes]
            weighted = (before * more / (before + more))[:, None] * offsets
            self._products.add_outer(weighted, offsets)
            self._scatter[classes] += scatter[group].to(device) + torch.linalg.vecdot(weighted, offsets)
            self._means[classes] += offsets * (more / (before + more))[:, None]
            self._counts[classes] += more
