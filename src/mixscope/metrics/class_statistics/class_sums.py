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
from mixscope.metrics.class_statistics.row_blocks import RowBlocks, needs_float64
from mixscope.metrics.class_statistics.shifted_sums import Moments, ShiftedSums, join_groups, join_processes
from mixscope.metrics.class_statistics.symmetric import ScatterMatrix
from mixscope.metrics.precision import full_precision, is_distributed

MOMENTS = ("counts", "means", "scatter")  # by name, as `state` has them


class ClassSums:
    """What `ClassMoments` and `ClassStatistics` share; use one of these."""

    _LARGEST_DIM = 10**8
    _keeps_scatter = False

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
        self.num_classes, self.dim, self.product_dtype = num_classes, dim, product_dtype
        self._dtype = torch.float32  # of shifts and residuals; float64 as soon as a batch asks for it
        self._open: ShiftedSums | None = None
        with full_precision(torch.device(device)):  # nothing made here stays in inference mode
            self._counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
            self._means = self._counts.new_zeros(1, 1).expand(num_classes, dim)  # no memory until there is an example
            self._scatter = torch.zeros_like(self._counts)
            self._products = ScatterMatrix(dim if self._keeps_scatter else 0, device=device)
            self._blocks: RowBlocks | None = None

    @property
    def counts(self) -> Tensor:
        """(K,) float64, examples of each class seen so far."""
        if self._blocks is None:
            return self._counts
        waiting = self._blocks.labels[: self._blocks.num_waiting]
        return self._counts + torch.bincount(waiting, minlength=self.num_classes)

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
    def merge(self, other: "ClassSums") -> None:
        """Add everything another instance has seen, which is left as it was.

        Raises:
            ValueError: If the number of classes or the dimension differs, or the other is of another kind.
        """
        if type(other) is not type(self):
            raise ValueError(f"other must be {type(self).__name__}, got {type(other).__name__}")
        if (shape := tuple(other._means.shape)) != (self.num_classes, self.dim):
            raise ValueError(f"other must have num_classes and dim {(self.num_classes, self.dim)}, got {shape}")
        other._settle()
        self._settle()
        with full_precision(self._means.device):
            self._means = self._means.contiguous()
            self._products.merge(other._products)
            join_groups(self._moments, other._moments, products=self._products)

    def all_reduce(self) -> None:
        """Add up what all processes of `torch.distributed` have seen; afterwards every one of them holds the total.

        All processes must call it, also one that has seen nothing. Without a process group nothing happens. A second
        call would count everything once per process: reduce once, at the end of the data.
        """
        if not is_distributed():
            return
        self._settle()
        with full_precision(self._means.device):
            self._counts, self._means, self._scatter = join_processes(self._moments, products=self._products)

    def state(self) -> dict[str, Tensor]:
        """Return copies of all numbers, float64: what `from_state` takes, to be written to a file or sent elsewhere."""
        self._settle()
        state = {name: tensor.clone() for name, tensor in zip(MOMENTS, self._moments, strict=True)}
        return state | {"within": self._products.matrix()} if self._keeps_scatter else state

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
        kept = {"counts": shape[:1], "means": shape, "scatter": shape[:1]}
        kept |= {"within": 2 * shape[1:]} if cls._keeps_scatter else {}
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
            copies = [state[name].detach().to(instance._counts, copy=True) for name in MOMENTS]
            instance._counts, instance._means, instance._scatter = copies
            if cls._keeps_scatter:
                instance._products.load(state["within"].detach())
        return instance

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by `state`."""
        rebuild = partial(type(self).from_state, device=self._means.device, product_dtype=self.product_dtype)
        return rebuild, (self.state(),)

    @property
    def _moments(self) -> Moments:
        return self._counts, self._means, self._scatter

    def _add_blocks(self, blocks: RowBlocks, full: Iterable[tuple[Tensor, Tensor]]) -> None:
        for rows, labels in full:
            with full_precision(rows.device):
                if self._open is None:
                    self._open = ShiftedSums(*self._moments, self._products, dtype=self._dtype)
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
