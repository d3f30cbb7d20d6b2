"""The examples of a Trainer's data loaders, gone through again without touching what training draws."""

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from mixscope.base.checks import naming, pair_of
from mixscope.base.generators import named_generator

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

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, labels); a batch that is no pair of tensors is a ValueError."""
        num_seen = 0
        for batch in self.batches:
            if self.limit is not None and num_seen >= self.limit:
                return
            with naming(self.name):
                inputs, labels = pair_of(batch)
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
        name: The argument that takes batches instead.

    Raises:
        ValueError: If the loader is of another kind.
    """
    rule = f"{name} must be given where the Trainer's loader is not one DataLoader with a standard sampler"
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        raise ValueError(f"{rule}, got {type(loader).__name__}")
    sampler = loader.batch_sampler.sampler
    # A distributed sampler may also share out what another sampler gives.
    is_plain = type(sampler) in (RandomSampler, SequentialSampler) or (
        isinstance(sampler, DistributedSampler) and sampler.dataset is loader.dataset
    )
    if not is_plain and not isinstance(sampler, SubsetRandomSampler):
        raise ValueError(f"{rule}, got the sampler {type(sampler).__name__}")
    indices = sampler.indices if isinstance(sampler, SubsetRandomSampler) else range(len(cast(Sized, loader.dataset)))
    order = torch.randperm(len(indices), generator=named_generator(seed, "lightning-examples"))[:max_examples]
    return DataLoader(
        Subset(loader.dataset, [int(indices[position]) for position in order.tolist()]),
        batch_size=loader.batch_sampler.batch_size,
        collate_fn=loader.collate_fn,
        generator=torch.Generator(),
    )
