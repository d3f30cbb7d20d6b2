"""Examples, weights and reporters of a Trainer: a choice of examples, the weights of evaluations, who takes figures."""

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset
from transformers import Trainer
from transformers.integrations.integration_utils import TensorBoardCallback, WandbCallback

from mixscope.base.generators import named_generator
from mixscope.integrations.examples import Examples
from mixscope.integrations.transformers.batch_mixing import MixupCollator

MOST_NAMED = 5  # linear layers in a message, the last ones


def given_or_chosen(
    given: Iterable[Any] | None, loader: DataLoader | None, *, most: int, seed: int, batch_size: int
) -> Examples:
    """Return batches that are given or, without these, a random choice of a loader's examples, the same every time.

    The loader's own sampler is not run, as its draws belong to training; what mixes its batches is left out.
    """
    if given is not None:
        if iter(given) is given:
            raise ValueError("must be iterable again and again (a list or a DataLoader), got an iterator")
        return Examples(given)
    assert loader is not None
    dataset, collate = loader.dataset, loader.collate_fn
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise ValueError(f"must be given where examples cannot be read by number, got {type(dataset).__name__}")
    order = torch.randperm(len(cast(Sized, dataset)), generator=named_generator(seed, "trainer-examples"))
    chosen = Subset(dataset, order[:most].tolist())
    collate = collate.collate if isinstance(collate, MixupCollator) else collate
    return Examples(DataLoader(chosen, batch_size=batch_size, collate_fn=collate, generator=torch.Generator()))


def head_of(model: nn.Module, head: str | None) -> str:
    """Return the head's name: the only linear layer with as many outputs as a model has classes, if none is given."""
    if head is not None:
        return head
    num_classes = getattr(getattr(model, "config", None), "num_labels", None)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    fitting = [name for name in linear if model.get_submodule(name).out_features == num_classes]
    if len(fitting) != 1:
        found = ", ".join(fitting or linear[-MOST_NAMED:]) or "none"
        raise ValueError(f"head must name the linear layer that gives the logits, got None; there are {found}")
    return fitting[0]


def figure_targets(trainer: Trainer) -> list[Any]:
    """Return what the Trainer's reporters write into: TensorBoard's writer, and the run of Weights & Biases."""
    reporters = trainer.callback_handler.callbacks
    writers = [each.tb_writer for each in reporters if isinstance(each, TensorBoardCallback)]
    runs = [getattr(sys.modules.get("wandb"), "run", None) for each in reporters if isinstance(each, WandbCallback)]
    return [target for target in (*writers, *runs) if target is not None]


@contextmanager
def evaluation_weights(model: nn.Module, optimizer: Any) -> Iterator[None]:
    """Give the model the weights that evaluations use inside the block, where the optimizer has others for training.

    Schedule-free optimizers have; their way back rounds, so the training weights are put back as they were.
    """
    own = getattr(optimizer, "optimizer", optimizer)  # within Accelerate's, which has both modes always
    if not callable(getattr(own, "eval", None)):
        yield
        return
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.eval()
    changed = [
        (parameter, before[name])
        for name, parameter in model.named_parameters()
        if not torch.equal(parameter, before[name])
    ]
    del before
    try:
        yield
    finally:
        if changed:
            optimizer.train()
            with torch.no_grad():
                for parameter, old in changed:
                    parameter.copy_(old)
