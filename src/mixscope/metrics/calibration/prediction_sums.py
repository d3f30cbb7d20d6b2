"""Sums over predictions that grow batch by batch, merge, and add up across processes: the calibration meters' base."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.metrics.calibration.predictions import (
    are_logits,
    are_probabilities,
    check_logits,
    check_probabilities,
    check_shapes,
    row_blocks,
)
from mixscope.metrics.precision import is_distributed, total_over_processes


class PredictionSums:
    """Named float64 sums of one shape, fed with predictions in constant memory.

    Any split, order or tree of merges gives the same results (relative 1e-12). The sums live on the device of the
    newest batch and are moved to the CPU when they are read. On the CPU a batch is checked before it is added.
    Elsewhere an answer would make the host wait for the device: a batch that fails its check is left out and counted,
    and every later reading raises. A class of its own names its sums and says what a block of rows adds to them.
    """

    names: ClassVar[tuple[str, ...]]
    num_dimensions: ClassVar[int]  # of each sum; a class is made with their sizes, in this order

    def __init__(self, *shape: int) -> None:
        """Start from zero, on the CPU, with sums of this shape."""
        self._sums = torch.zeros(len(self.names), *shape, dtype=torch.float64)
        self._refused = torch.zeros((), dtype=torch.float64)

    def _sum_probabilities(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return what rows of probabilities add, (len(names), *shape) float64; it must endure rows that are refused."""
        raise NotImplementedError

    def _sum_logits(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return what rows of logits add, as `_sum_probabilities` does."""
        return self._sum_probabilities(torch.softmax(rows.to(torch.float64), dim=1), labels)

    def _check_shapes(self, labels: Tensor, **values: Tensor) -> None:
        """Raise unless (B, K) rows, (B,) labels and those before fit."""
        check_shapes(labels, **values)

    @checked
    @torch.no_grad()
    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch of (B, K) probabilities and (B,) integer labels in [0, K). When it raises, nothing has changed.

        Rows are floats in [0, 1] that sum to 1 within 1e-4 (float16: 1e-3, bfloat16: 8e-3).

        Raises:
            ValueError: If the inputs are not probabilities (logits, for example), or labels do not fit. Away from the
                CPU only wrong shapes and types raise here.
        """
        self._check_shapes(labels, probabilities=probabilities)
        if not self._add(probabilities, labels, are_probabilities, self._sum_probabilities):
            check_probabilities(probabilities, labels)

    @checked
    @torch.no_grad()
    def update_logits(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch by its (B, K) finite logits: the probabilities are their softmax in float64.

        Raises:
            ValueError: If logits are not finite floats, or labels do not fit; away from the CPU as `update`.
        """
        self._check_shapes(labels, logits=logits)
        if not self._add(logits, labels, are_logits, self._sum_logits):
            check_logits(logits, labels)

    def merge(self, other: Self) -> None:
        """Add all that another instance, of the same kind and size or a ValueError, has seen; it is left as it was."""
        if type(other) is not type(self) or other._sums.shape != self._sums.shape:
            got = f"{type(other).__name__} {getattr(other, 'shape', '')}".strip()
            raise ValueError(f"other must be a {type(self).__name__} of the same size {self.shape}, got a {got}")
        self._sums = self._sums + other._sums.to(self._sums.device)
        self._refused = self._refused + other._refused.to(self._refused.device)

    def all_reduce(self) -> None:
        """Add up what all processes of torch.distributed have seen; every process calls it, once, with equal sizes.

        Afterwards all hold the total; calling it again would add the totals. Without torch.distributed nothing changes.
        """
        if not is_distributed():
            return
        # Every process takes part, also one that has refused a batch: a process that raised here would hang the rest.
        flat = total_over_processes(torch.cat([self._sums.flatten(), self._refused.to(self._sums.device).reshape(1)]))
        self._sums, self._refused = flat[:-1].reshape(self._sums.shape), flat[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each sum."""
        return tuple(self._sums.shape[1:])

    @property
    def num_refused_batches(self) -> int:
        """Batches left out because they failed their check away from the CPU; reading anything else then raises."""
        return int(self._refused)

    def state(self) -> dict[str, Tensor]:
        """Return a copy of every sum by name, float64 on the CPU; a ValueError where a batch was refused."""
        if self.num_refused_batches:
            raise ValueError(
                f"every batch must have probabilities in [0, 1] with rows that sum to 1 (or finite logits) and labels "
                f"in [0, K), got {self.num_refused_batches} that did not and were left out"
            )
        return dict(zip(self.names, self._sums.to("cpu", copy=True).unbind(), strict=True))

    @classmethod
    @checked
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the instance whose `state` is given.

        Raises:
            ValueError: If names are missing or unknown, the shapes differ, or a number is negative or NaN.
        """
        if set(state) != set(cls.names):
            got = ", ".join(map(str, state)) or "none"
            raise ValueError(f"state must have the keys {', '.join(cls.names)}, got {got}")
        shapes = [tuple(state[name].shape) for name in cls.names]
        if len(set(shapes)) > 1 or len(shapes[0]) != cls.num_dimensions:
            raise ValueError(f"state must hold tensors of one shape with {cls.num_dimensions} dimensions, got {shapes}")
        sums = torch.stack([state[name].detach().to("cpu", torch.float64) for name in cls.names])
        if not bool((sums >= 0).all()):
            raise ValueError(f"state must hold sums of at least 0, got {float(sums.min())}")
        made = cls(*shapes[0])
        made._sums = sums
        return made

    def seen(self) -> tuple[Tensor, ...]:
        """Return the sums in the order of `names`; a ValueError without an example, or where a batch was refused."""
        counts, *others = self.state().values()
        if not counts.any():
            raise ValueError(f"{type(self).__name__} must be updated with at least one example first, got 0")
        return counts, *others

    def _add(
        self,
        values: Tensor,
        labels: Tensor,
        are_valid: Callable[[Tensor, Tensor], Tensor | bool],
        sum_block: Callable[[Tensor, Tensor], Tensor],
    ) -> bool:
        """Add a batch, or return False and add nothing; away from the CPU count it instead and return True."""
        sums = torch.zeros(self._sums.shape, dtype=torch.float64, device=values.device)
        is_valid: Tensor | bool = True
        for rows, row_labels in row_blocks(values, labels):
            is_valid = is_valid & are_valid(rows, row_labels)
            if is_valid is False:
                return False
            sums += sum_block(rows, row_labels)
        if isinstance(is_valid, Tensor):
            self._add_unless_refused(sums, is_valid)
        else:
            self._sums = self._sums.to(sums.device) + sums
        return True

    def _add_unless_refused(self, sums: Tensor, is_valid: Tensor) -> None:
        """Add sums whose check has been made on their device, or count them as refused, without waiting for it."""
        # Out of place: whoever read the old sums keeps them, and tensors of inference mode are never written to.
        self._sums = self._sums.to(sums.device) + torch.where(is_valid, sums, torch.zeros_like(sums))
        self._refused = self._refused.to(sums.device) + (~is_valid).to(torch.float64)
