"""Validation's weights: the averaged ones, where a callback or an optimizer puts these in for validation."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch import callbacks as lightning_callbacks
from torch import Tensor
from torch.optim import Optimizer

# Lightning has it from 2.5.3 on.
WEIGHT_AVERAGING = getattr(lightning_callbacks, "WeightAveraging", None)


@dataclass(frozen=True)
class KeptWeights:
    """The weights and buffers of a module in the midst of a validation, and after how many steps of training."""

    step: int
    tensors: list[Tensor]

    @classmethod
    def of(cls, trainer: Trainer, pl_module: LightningModule) -> "KeptWeights":
        """Copy those of this moment."""
        return cls(trainer.global_step, [tensor.detach().clone() for tensor in _tensors(pl_module)])


@contextmanager
def validation_weights(
    trainer: Trainer, pl_module: LightningModule, *, kept: KeptWeights | None = None, are_in: bool = False
) -> Iterator[None]:
    """Give a module the weights that validation uses inside the block; afterwards its own are back, bit for bit.

    Those that were `kept` in a validation after the last step, whoever had put them in for it. Without one, those of
    Lightning's `WeightAveraging` and `EMAWeightAveraging`, which swap them in for validation, and of optimizers that
    have an average to switch to (`eval()` and `train()`, as schedule-free ones). Nothing is done where they `are_in`,
    as in the midst of a validation.
    """
    with ExitStack() as undo:
        if kept is not None and kept.step == trainer.global_step:
            undo.callback(_put, pl_module, KeptWeights.of(trainer, pl_module).tensors)
            _put(pl_module, kept.tensors)
        elif not are_in:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by one of the Trainer's parts
                if WEIGHT_AVERAGING is not None and isinstance(callback, WEIGHT_AVERAGING) and callback._average_model:
                    callback._swap_models(pl_module)
                    undo.callback(callback._swap_models, pl_module)
            for optimizer in trainer.optimizers:
                if _is_training(optimizer):
                    undo.callback(partial(_switch_back, optimizer, _weights(optimizer)))
                    optimizer.eval()  # type: ignore[attr-defined]
        yield


def _tensors(pl_module: LightningModule) -> Iterator[Tensor]:
    return chain(pl_module.parameters(), pl_module.buffers())


def _put(pl_module: LightningModule, tensors: list[Tensor]) -> None:
    for own, value in zip(_tensors(pl_module), tensors, strict=True):
        own.data.copy_(value)


def _is_training(optimizer: Optimizer) -> bool:
    """Return whether an optimizer has averaged weights to switch to, and is not there already."""
    has_both = callable(getattr(optimizer, "eval", None)) and callable(getattr(optimizer, "train", None))
    return has_both and all(group.get("train_mode", True) for group in optimizer.param_groups)


def _weights(optimizer: Optimizer) -> list[tuple[Tensor, Tensor]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [(parameter, parameter.detach().clone()) for parameter in parameters]


def _switch_back(optimizer: Optimizer, weights: list[tuple[Tensor, Tensor]]) -> None:
    """Undo `eval()`; the weights are put back as they were, as `train()` computes them with rounding."""
    optimizer.train()  # type: ignore[attr-defined]
    with torch.no_grad():
        for parameter, value in weights:
            parameter.copy_(value)
