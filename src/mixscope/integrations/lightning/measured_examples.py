"""Examples behind a Trainer's data loader, read by loaders of our own that leave the Trainer's alone."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor
from torch.utils import data
from torch.utils.data import DataLoader, default_collate

from mixscope.base.batch_pairs import pair_of, parts_of
from mixscope.integrations.lightning.example_choice import draw_examples

BATCH_SIZE = 100  # where the Trainer's loader has none of its own
TRIED = 16  # examples that are read twice: one flip in two goes unnoticed in 1 of 2^16 fits


@dataclass(frozen=True)
class Choice:
    """Examples chosen behind a loader, and what a user should know about the choice."""

    batches: Iterable[Any]
    notes: tuple[str, ...]
    limit: int | None = None  # where the batches do not end by themselves


def choose_examples(loaders: object, *, most: int, seed: int, name: str, has_epochs: bool) -> Choice:
    """Return the examples to look at behind the Trainer's loader or loaders, the same in every epoch.

    Samplers are not run, as their draws belong to training: any example of a map-style data set may be chosen, or of
    the part that a SubsetRandomSampler draws from. An iterable data set is copied, and the copy begun anew.

    Args:
        loaders: What the Trainer has: a DataLoader, or several.
        most: How many examples.
        seed: Names the choice.
        name: "train_batches" or "val_batches", what takes batches instead.
        has_epochs: Whether several loaders may stand there, each gone through by itself: the first one is taken.

    Raises:
        ValueError: If there is no loader that can be read apart from training, or its batches hold no classes.
    """
    loader, notes = _one_loader(loaders, name=name, has_epochs=has_epochs)
    make, limit = _reader(loader, most=most, seed=seed, name=name)
    kept = make(loader.collate_fn)
    ndim, problem = _look_at_labels(kept)
    # One-hot rows may be soft in the next batch, where a collate_fn mixes some batches only.
    if ndim != 1 and loader.collate_fn is not default_collate and (limit is None or loader.batch_size is not None):
        unmixed = make(default_collate)
        if _look_at_labels(unmixed)[0] == 1:
            kept, problem = unmixed, None
            notes.append(f"{name}: examples are read without the loader's collate_fn, whose labels are not classes")
    if problem is not None:
        if not isinstance(problem, ValueError):
            raise ValueError(
                f"{name} must be given where examples cannot be read apart, got {one_line(problem)}"
            ) from problem
        raise ValueError(f"{name}: {problem}") from problem
    if limit is None and _are_augmented(kept):
        notes.append(
            f"{name}: the same example is another one each time it is read, as augmentation makes it: the numbers "
            f"include that scatter. Give {name} without augmentation to measure the data alone"
        )
    return Choice(kept, tuple(notes), limit)


def _one_loader(loaders: object, *, name: str, has_epochs: bool) -> tuple[DataLoader, list[str]]:
    found, notes = loaders, list[str]()
    if isinstance(loaders, CombinedLoader):
        loaders = loaders.iterables
    if isinstance(loaders, Sequence | dict) and loaders:
        several = list(loaders.values()) if isinstance(loaders, dict) else list(loaders)
        if len(several) == 1 or has_epochs:
            found = several[0]
        if len(several) > 1 and has_epochs:
            notes.append(f"{name}: the first of {len(several)} loaders is looked at")
    if not isinstance(found, DataLoader):
        got = type(found).__name__
        raise ValueError(f"{name} must be given where the Trainer's loader is not one DataLoader, got {got}")
    return found, notes


def _reader(
    loader: DataLoader, *, most: int, seed: int, name: str
) -> tuple[Callable[[Callable[..., Any] | None], Iterable[Any]], int | None]:
    """Return a function from a collate_fn to batches, and after how many examples to stop, if they do not end."""
    dataset, size = loader.dataset, loader.batch_size
    if isinstance(dataset, data.IterableDataset):
        try:
            kept = copy.deepcopy(dataset)
            is_restartable = iter(kept) is not iter(kept)
        except Exception as error:
            raise ValueError(
                f"{name} must be given where an iterable data set cannot be copied, got {one_line(error)}"
            ) from error
        if not is_restartable:
            raise ValueError(f"{name} must be given where an iterable data set can be gone through only once")
        return lambda collate: _Restarted(kept, size, collate), most
    if size is None and loader.batch_sampler is not None:
        size = getattr(loader.batch_sampler, "batch_size", None) or BATCH_SIZE
    chosen = draw_examples(dataset, _sampled_from(loader, name=name), most=most, seed=seed)
    subset, limit = data.Subset(dataset, chosen), None if size is not None else most

    def make(collate: Callable[..., Any] | None) -> DataLoader:
        return DataLoader(subset, batch_size=size, collate_fn=collate, generator=torch.Generator())

    return make, limit


def _sampled_from(loader: DataLoader, *, name: str) -> Sequence[int]:
    """Return the indices that a loader's sampler draws from: those of a subset sampler, or all."""
    sampler: Any = getattr(loader.batch_sampler, "sampler", loader.sampler)
    # Under several processes Lightning wraps a sampler of one's own, and shares out what it gives.
    while getattr(getattr(sampler, "dataset", None), "_sampler", None) is not None:
        sampler = sampler.dataset._sampler
    indices = getattr(sampler, "indices", None)
    if isinstance(sampler, data.SubsetRandomSampler) or isinstance(indices, list | tuple | range):
        return [int(index) for index in cast(Iterable[Any], indices)]
    if not hasattr(loader.dataset, "__len__"):
        raise ValueError(f"{name} must be given where a data set has no length, got {type(loader.dataset).__name__}")
    return range(len(loader.dataset))


@dataclass(frozen=True)
class _Restarted:
    """Batches of an iterable data set that begins anew, in a copy, with every pass."""

    dataset: data.IterableDataset
    batch_size: int | None
    collate: Callable[..., Any] | None

    def __iter__(self) -> Iterator[Any]:
        anew = copy.deepcopy(self.dataset)
        yield from DataLoader(anew, batch_size=self.batch_size, collate_fn=self.collate, generator=torch.Generator())


def one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _look_at_labels(batches: Iterable[Any]) -> tuple[int, Exception | None]:
    """Return how many dimensions the labels of the first batch have, 0 where there are none, and what is wrong."""
    try:
        for batch in islice(batches, 1):
            ndim = parts_of(batch)[1].ndim
            pair_of(batch)
            return ndim, None
    except Exception as error:  # whatever a data set or a collate_fn of the user's own may raise
        return 0, error
    return 0, ValueError("batches must hold at least one example, got none")


def _are_augmented(batches: Iterable[Any]) -> bool:
    """Return whether the first examples differ when they are read once more."""
    one, other = (_first_inputs(batches) for _ in range(2))
    return one.shape != other.shape or not torch.equal(one, other)


def _first_inputs(batches: Iterable[Any]) -> Tensor:
    return torch.cat([parts_of(batch)[0][:TRIED] for batch in islice(batches, 1)])
