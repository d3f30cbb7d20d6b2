"""Base of the torchmetrics metrics: nothing is lost to an exception, a cast or inference mode."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mixscope.metrics.calibration.top_label import CalibrationBins
from mixscope.metrics.class_statistics.statistics import ClassStatistics


class ExactMetric(Metric):
    """A metric whose states survive a call that raises, and stay in float64 whatever the module around them becomes.

    The device of that module is followed; only casts (`.to(torch.bfloat16)`, `set_dtype`) pass the states by.
    """

    is_differentiable = False
    full_state_update = False

    def forward(self, *inputs: Any, **named_inputs: Any) -> Any:
        """Add a batch and return the value of this batch alone."""
        before = dict(self.__dict__)
        try:
            return super().forward(*inputs, **named_inputs)
        except Exception:
            # torchmetrics empties the states before it looks at the batch.
            self.__dict__.update(before)
            raise

    def reset(self) -> None:
        """Forget every example."""
        with ordinary_tensors():
            super().reset()

    def scalar(self, value: float) -> Tensor:
        """Return a float64 scalar on the metric's device."""
        return torch.tensor(value, dtype=torch.float64, device=self.device)

    def __hash__(self) -> int:
        return object.__hash__(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        def without_cast(tensor: Tensor) -> Tensor:
            empty = fn(tensor.new_empty(0))
            return fn(tensor) if empty.dtype == tensor.dtype else tensor.to(empty.device)

        return super()._apply(without_cast, exclude_state)


I = TypeVar("I", ClassStatistics, CalibrationBins)  # noqa: E741
Shapes = dict[str, torch.Size]


class InstrumentMetric(ExactMetric, Generic[I]):
    """A metric around an instrument, which is fed in its own way and read only when torchmetrics asks for the state.

    A subclass says how to make an empty instrument, and how to make one of a state.
    """

    instrument: I  # what this process has gathered: read it, but update the metric

    def __init__(self, reduction: Callable[[Shapes, Tensor], Tensor] | None = None, *, is_cached: bool = True) -> None:
        """Start with an empty instrument; `is_cached`: the value of `compute` holds until the next update.

        `reduction` makes one of the states of R processes or batches, stacked (R, size), given the shapes of the
        tensors in each. None: they add up.
        """
        super().__init__(compute_with_cache=is_cached)
        self.instrument = self.make_empty()
        self._shapes = {name: tensor.shape for name, tensor in self.instrument.state().items()}
        reduce = "sum" if reduction is None else partial(reduction, self._shapes)
        self.add_state("gathered", write_state(self.instrument), dist_reduce_fx=reduce)

    def make_empty(self) -> I:
        """Return an instrument that has seen nothing."""
        raise NotImplementedError

    def make_of(self, state: dict[str, Tensor]) -> I:
        """Return the instrument of this state."""
        raise NotImplementedError

    @property
    def gathered(self) -> Tensor:
        """The metric's one state, float64: one gather moves it and one reduction sees all of it."""
        with ordinary_tensors():
            return write_state(self.instrument).to(self.device)

    @gathered.setter
    def gathered(self, gathered: Tensor) -> None:
        with ordinary_tensors():
            self.instrument = self.make_of(read_state(gathered.clone(), self._shapes))

    def reset(self) -> None:
        """Forget every example."""
        # First of all: an instrument that refused a batch on a device cannot be read, only replaced.
        self.instrument = self.make_empty()
        super().reset()


def write_state(instrument: ClassStatistics | CalibrationBins) -> Tensor:
    """Return the tensors of an instrument's state in a row."""
    return torch.cat([tensor.flatten() for tensor in instrument.state().values()])


def read_state(gathered: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """Return the tensors of a state that was written."""
    parts = gathered.split([shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Make tensors that outlive inference mode and belong to no graph: a validation loop runs in inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class Head:
    """A linear layer that belongs to a model: read when needed, not a submodule of a metric and not copied with one."""

    def __init__(self, layer: nn.Linear) -> None:
        """Refer to a layer; a ValueError where it is not linear."""
        if not isinstance(layer, nn.Linear):
            raise ValueError(f"head must be the torch.nn.Linear that gives the logits, got {type(layer).__name__}")
        if not layer.in_features:
            raise ValueError(f"head must know its number of features (run the model once), got {layer}")
        self.layer = layer

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # With a copied model its copied head; a metric copied by itself goes on reading the same head.
        return type(self)(memo.get(id(self.layer), self.layer))
