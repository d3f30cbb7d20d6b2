"""Trainer inspection: what its hooks, loaders and monitoring callbacks ask of a callback that measures."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng

from mixscope.metrics.catalogue import find_metric

TRANSFER_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer", "transfer_batch_to_device")
Answer = TypeVar("Answer")


def on_first_process(trainer: Trainer, compute: Callable[[], Answer]) -> Answer:
    """Return what the first process computes, on every process, and leave no trace in the random states.

    An error too goes to every process: one that raised alone would leave the others waiting.
    """
    answer: Answer | None = None
    cause: Exception | None = None
    if trainer.is_global_zero:
        try:
            with isolate_rng():
                answer = compute()
        except Exception as error:
            cause = error
    answer, problem = trainer.strategy.broadcast((answer, "" if cause is None else str(cause) or type(cause).__name__))
    if cause is not None and not isinstance(cause, ValueError):
        raise cause
    if problem:
        raise ValueError(problem) from cause
    return answer  # type: ignore[return-value]  # None only where there was a problem


def check_transfer(pl_module: LightningModule, *, name: str) -> None:
    """Raise if batches are changed on their way to the module, as then a data loader does not show what it is fed."""
    datamodule = pl_module.trainer.datamodule  # type: ignore[attr-defined]  # set by one of the Trainer's parts
    for owner in (pl_module, datamodule):
        for hook in TRANSFER_HOOKS:
            if owner is not None and is_overridden(hook, owner):
                raise ValueError(f"{name} must be given where {type(owner).__name__} defines {hook}, got None")


def set_up_validation(trainer: Trainer) -> None:
    """Have Lightning make its validation loaders now, also where the first validation is some epochs away."""
    if trainer.enable_validation and trainer.val_dataloaders is None:
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True


def is_watched_in_validation(trainer: Trainer) -> bool:
    """Return whether a callback looks at one of our numbers when validation ends, before the epoch does."""
    is_usual = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
    return any(
        _is_ours(getattr(callback, "monitor", None)) and not _looks_at_epoch_end(callback, is_usual=is_usual)
        for callback in trainer.callbacks  # type: ignore[attr-defined]  # set by one of the Trainer's parts
    )


def _looks_at_epoch_end(callback: Any, *, is_usual: bool) -> bool:
    """Return when EarlyStopping or ModelCheckpoint looks; left open, they go by the validation interval."""
    said = [getattr(callback, f"_{verb}_on_train_epoch_end", None) for verb in ("check", "save")]
    return next((bool(answer) for answer in said if answer is not None), is_usual)


def _is_ours(key: Any) -> bool:
    try:
        return bool(find_metric(key))
    except ValueError:
        return False


def show_values(trainer: Trainer, values: dict[str, float]) -> None:
    """Put numbers where callbacks look for what they monitor."""
    trainer.callback_metrics.update({key: torch.tensor(value) for key, value in values.items()})
