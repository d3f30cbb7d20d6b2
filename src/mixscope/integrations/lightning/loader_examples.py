"""The examples of a Trainer's data loaders, gone through again without touching what training draws."""

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import TypeGuard, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from mixscope.base.generators import named_generator

Batch = tuple[Tensor, Tensor]

TRANSFER_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer", "transfer_batch_to_device")


@dataclass(frozen=True)
class Examples:
    """Batches (inputs, labels) in the precision of training; each `iter` is a new pass over them.

    Attributes:
        batches: Pairs [inputs, labels].
        convert: Brings inputs to the precision of training.
        name: What to call the batches in messages.
        limit: Stop after the batch that brings the examples to this number. None: go through all.
    """

    batches: Iterable[object]
    convert: Callable[[Tensor], Tensor]
    name: str
    limit: int | None = None

    def first(self, limit: int) -> "Examples":
        """Return the first batches, up to the one that brings the examples to `limit`."""
        return replace(self, limit=limit)

    def __iter__(self) -> Iterator[Batch]:
        """Yield (inputs, labels).

        Raises:
            ValueError: If a batch is not a pair of tensors.
        """
        num_seen = 0
        for batch in self.batches:
            if self.limit is not None and num_seen >= self.limit:
                return
            if not is_pair(batch):
                raise ValueError(
                    f"{self.name} must give batches [inputs, labels] of two tensors, got {describe(batch)}"
                )
            inputs, labels = batch
            num_seen += len(labels)
            yield self.convert(inputs), labels


def check_transfer(pl_module: LightningModule, *, name: str) -> None:
    """Raise if batches are changed on their way to the module, as then a data loader does not show what it is fed."""
    datamodule = pl_module.trainer.datamodule  # type: ignore[attr-defined]  # set by one of the Trainer's parts
    for owner in (pl_module, datamodule):
        for hook in TRANSFER_HOOKS:
            if owner is not None and is_overridden(hook, owner):
                raise ValueError(f"{name} must be given where {type(owner).__name__} defines {hook}, got None")


def choose_examples(loader: object, *, max_examples: int, seed: int, name: str) -> DataLoader:
    """Return a loader over a random choice of the examples another loader goes through.

    The choice is the same in every epoch. The sampler of the other loader is not run, as its draws belong to training.

    Args:
        loader: A DataLoader over a data set with a length, sampled in order, shuffled, or over a subset.
        max_examples: How many are chosen; all of them if there are fewer.
        seed: Names the choice.
        name: What to call the batches in messages: the argument that takes them instead.

    Raises:
        ValueError: If the loader is of another kind.
    """
    rule = f"{name} must be given where the Trainer's loader is not one DataLoader with a standard sampler"
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        raise ValueError(f"{rule}, got {type(loader).__name__}")
    indices = _indices_of(loader.batch_sampler.sampler, loader)
    if indices is None:
        raise ValueError(f"{rule}, got the sampler {type(loader.batch_sampler.sampler).__name__}")
    order = torch.randperm(len(indices), generator=named_generator(seed, "lightning-examples"))[:max_examples]
    return DataLoader(
        Subset(loader.dataset, [indices[position] for position in order.tolist()]),
        batch_size=loader.batch_sampler.batch_size,
        collate_fn=loader.collate_fn,
        generator=torch.Generator(),
    )


def _indices_of(sampler: Sampler | Iterable[int], loader: DataLoader) -> range | list[int] | None:
    """Return which examples a sampler goes through, without running it; None for a sampler that is not known."""
    if isinstance(sampler, SubsetRandomSampler):
        return [int(index) for index in sampler.indices]
    # A distributed sampler may also share out what another sampler gives.
    if type(sampler) in (RandomSampler, SequentialSampler) or (
        isinstance(sampler, DistributedSampler) and sampler.dataset is loader.dataset
    ):
        return range(len(cast(Sized, loader.dataset)))
    return None


def is_pair(batch: object) -> TypeGuard[Batch | list[Tensor]]:
    """Return whether a batch is a list or tuple of two tensors."""
    return isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)


def describe(batch: object) -> str:
    """Say what a batch is made of, for a message."""
    if isinstance(batch, list | tuple):
        return f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
    return f"a {type(batch).__name__}"
