"""Float64 sums that grow batch by batch on the batches' device, merge, and add up across processes."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mixscope.metrics.calibration.predictions import (
    are_logits,
    are_probabilities,
    check_logits,
    check_probabilities,
    check_shapes,
    row_blocks,
)
from mixscope.metrics.process_sums import is_distributed, total_over_processes

SumBlock = Callable[[Tensor, Tensor], Tensor]


class RunningSums:
    """A block of named sums of one shape: what a streaming statistic keeps.

    The sums live on the device of the newest batch and are moved to the CPU when they are read. On the CPU a batch is
    checked before it is added. Elsewhere an answer would make the host wait for the device, so a batch that fails its
    check is left out on the device and counted, and every later reading raises.
    """

    def __init__(self, names: Sequence[str], shape: tuple[int, ...]) -> None:
        """Start from zero, on the CPU.

        Args:
            names: What the sums are called.
            shape: The shape of each.
        """
        self.names = tuple(names)
        self.shape = shape
        self._sums = torch.zeros(len(self.names), *shape, dtype=torch.float64)
        self._refused = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def add_probabilities(self, probabilities: Tensor, labels: Tensor, sum_block: SumBlock) -> None:
        """Add what a batch of probabilities contributes. When it raises, nothing has changed.

        Args:
            probabilities: (B, K) float; checked here.
            labels: (B,) integers; checked here.
            sum_block: Takes rows and their labels on one device, returns (len(names), *shape) float64. It must endure
                rows and labels that will be refused.

        Raises:
            ValueError: On the CPU, if the inputs are not probabilities or labels do not fit; anywhere, if their shapes
                or dtypes are wrong.
        """
        check_shapes(labels, probabilities=probabilities)
        if not self._add(probabilities, labels, are_probabilities, sum_block):
            check_probabilities(probabilities, labels)

    @torch.no_grad()
    def add_logits(self, logits: Tensor, labels: Tensor, sum_block: SumBlock) -> None:
        """Add what a batch of logits contributes, as `add_probabilities` does."""
        check_shapes(labels, logits=logits)
        if not self._add(logits, labels, are_logits, sum_block):
            check_logits(logits, labels)

    def _add(
        self, values: Tensor, labels: Tensor, are_valid: Callable[[Tensor, Tensor], Tensor | bool], sum_block: SumBlock
    ) -> bool:
        """Add a batch, or return False and add nothing; away from the CPU count it instead and return True."""
        sums = torch.zeros(len(self.names), *self.shape, dtype=torch.float64, device=values.device)
        is_valid: Tensor | bool = True
        for rows, row_labels in row_blocks(values, labels):
            is_valid = is_valid & are_valid(rows, row_labels)
            if is_valid is False:
                return False
            sums += sum_block(rows, row_labels)
        if isinstance(is_valid, Tensor):
            self.add_unless_refused(sums, is_valid)
        else:
            self._sums = self._sums.to(sums.device) + sums
        return True

    def add_unless_refused(self, sums: Tensor, is_valid: Tensor) -> None:
        """Add sums whose check has been made, or count them as refused, without waiting for the device.

        Args:
            sums: (len(names), *shape) float64.
            is_valid: Scalar bool on the same device.
        """
        # Out of place: whoever read the old sums keeps them, and tensors of inference mode are never written to.
        self._sums = self._sums.to(sums.device) + torch.where(is_valid, sums, torch.zeros_like(sums))
        self._refused = self._refused.to(sums.device) + (~is_valid).to(torch.float64)

    def merge(self, other: "RunningSums") -> None:
        """Add all that another block has summed."""
        self._sums = self._sums + other._sums.to(self._sums.device)
        self._refused = self._refused + other._refused.to(self._refused.device)

    def all_reduce(self) -> None:
        """Replace the sums by their totals over all processes; without torch.distributed nothing changes."""
        if not is_distributed():
            return
        # Every process takes part, also one that has refused a batch: a process that raised here would hang the rest.
        flat = torch.cat([self._sums.flatten(), self._refused.to(self._sums.device).reshape(1)])
        flat = total_over_processes(flat)
        self._sums, self._refused = flat[:-1].reshape(self._sums.shape), flat[-1]

    @property
    def num_refused(self) -> int:
        """Batches that failed their check on another device than the CPU."""
        return int(self._refused)

    def read(self) -> dict[str, Tensor]:
        """Return a copy of every sum by name, on the CPU.

        Raises:
            ValueError: If a batch was refused.
        """
        if self.num_refused:
            raise ValueError(
                f"every batch must have probabilities in [0, 1] with rows that sum to 1 (or finite logits) and labels "
                f"in [0, K), got {self.num_refused} that did not and were left out"
            )
        return dict(zip(self.names, self._sums.to("cpu", copy=True).unbind(), strict=True))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], names: Sequence[str], ndim: int) -> "RunningSums":
        """Return the block whose `read` gave `state`.

        Raises:
            ValueError: If names are missing or unknown, the shapes differ, or a number is negative or NaN.
        """
        if set(state) != set(names):
            raise ValueError(f"state must have the keys {', '.join(names)}, got {', '.join(map(str, state)) or 'none'}")
        shapes = [tuple(state[name].shape) for name in names]
        if len(set(shapes)) > 1 or len(shapes[0]) != ndim:
            raise ValueError(f"state must hold tensors of one shape with {ndim} dimensions, got {shapes}")
        sums = torch.stack([state[name].detach().to("cpu", torch.float64) for name in names])
        if not bool((sums >= 0).all()):
            raise ValueError(f"state must hold sums of at least 0, got {float(sums.min())}")
        block = cls(names, shapes[0])
        block._sums = sums
        return block
