"""Choice of the examples that are looked at: drawn once, with every class among them where labels are at hand."""

from collections.abc import Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils import data

from mixscope.base.batch_pairs import class_labels
from mixscope.base.generators import named_generator

LABEL_ATTRIBUTES = ("targets", "labels")  # as torchvision's data sets, and most that are written after them


def draw_examples(dataset: data.Dataset, indices: Sequence[int], *, most: int, seed: int) -> list[int]:
    """Draw at most `most` of the indices into a data set, the same ones for the same seed.

    Where the data set shows its labels without a look at its inputs, each class that is among the indices has an
    example among those drawn; more than `most` are drawn only where there are more classes.
    """
    order = torch.randperm(len(indices), generator=named_generator(seed, "lightning-examples"))
    places, labels = order[:most].tolist(), known_labels(dataset)
    if labels is not None and len(order) > most:
        of_place = [int(labels[indices[place]]) for place in order.tolist()]
        places = [int(order[position]) for position in _with_every_class(of_place, most)]
    return [int(indices[place]) for place in places]


def known_labels(dataset: Any) -> Tensor | None:
    """Return the (N,) classes of a data set that shows them without a look at its inputs; None for others."""
    if isinstance(dataset, data.Subset):
        labels = known_labels(dataset.dataset)
        return None if labels is None else labels[torch.as_tensor(list(dataset.indices), dtype=torch.int64)]
    if isinstance(dataset, data.ConcatDataset):
        parts = [known_labels(part) for part in dataset.datasets]
        return None if any(part is None for part in parts) else torch.cat(cast(list[Tensor], parts))
    if isinstance(dataset, data.TensorDataset):
        return _as_classes(dataset.tensors[1], dataset) if len(dataset.tensors) > 1 else None
    for name in LABEL_ATTRIBUTES:
        labels = _as_classes(getattr(dataset, name, None), dataset)
        if labels is not None:
            return labels
    return None


def _as_classes(values: Any, dataset: Any) -> Tensor | None:
    """Return values as (N,) integers, or None where they are no classes, one for each example."""
    if values is None or isinstance(values, str) or callable(values):
        return None
    try:
        labels = class_labels(torch.as_tensor(values))
    except (ValueError, TypeError, RuntimeError):
        return None
    is_fitting = labels.ndim == 1 and not labels.is_floating_point() and len(labels) == len(cast(Sized, dataset))
    return labels.to("cpu", torch.int64) if is_fitting else None


def _with_every_class(labels: list[int], most: int) -> list[int]:
    """Return the first `most` positions, the last of which give way to the first of each class not among them."""
    chosen = list(range(most))
    counts: dict[int, int] = {}
    for label in labels[:most]:
        counts[label] = counts.get(label, 0) + 1
    added: list[int] = []
    for position in range(most, len(labels)):
        if labels[position] not in counts:
            counts[labels[position]] = 1
            added.append(position)
    surplus = len(added)
    for position in reversed(chosen.copy()):
        if surplus and counts[labels[position]] > 1:
            counts[labels[position]] -= 1
            chosen.remove(position)
            surplus -= 1
    return chosen + added
