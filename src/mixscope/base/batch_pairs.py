"""Batch reading: the inputs and the labels in a batch of any usual form, and their replacement by others."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

# In lower case. The first of each is what Hugging Face image models are called with.
INPUT_NAMES = ("pixel_values", "image", "images", "img", "imgs", "input", "inputs", "x", "data")
LABEL_NAMES = ("labels", "label", "target", "targets", "y", "class", "classes", "class_label")
MOST_NAMED = 8  # entries of a mapping in a message


def pair_of(batch: Any) -> tuple[Tensor, Tensor]:
    """Return a batch's inputs and its labels as classes.

    Batches may be:
    - tuples or lists that begin with inputs and labels; what comes after (an index, metadata) is left alone;
    - mappings (dict, BatchEncoding, TensorDict), named tuples or dataclasses. Inputs and labels are found by name
      ("pixel_values", "image", "x" ...; "labels", "target", "y" ...), in upper or lower case. Where no name says it,
      the only floating tensor with two dimensions or more and the only integer tensor (B,) or (B, 1) are meant;
    - one of these in a list of its own, as NVIDIA DALI hands them over.

    Labels may be integers or booleans (B,) or (B, 1), or exact one-hot rows (B, K) of any type.

    Returns:
        Inputs (B, ...) as they are, and labels (B,) integers; in their own type where they were integers (B,).

    Raises:
        ValueError: If the batch has another form, or its labels are soft, as a collate_fn that mixes makes them.
    """
    inputs, targets = parts_of(batch)
    return inputs, class_labels(targets)


def parts_of(batch: Any) -> tuple[Tensor, Tensor]:
    """Return a batch's inputs and its targets as they are, soft ones too, or raise a `ValueError`; see `pair_of`."""
    holder, places = _find(batch)
    inputs, targets = (getattr(holder, place) if is_dataclass(holder) else holder[place] for place in places)
    if not inputs.ndim:
        raise ValueError("batches must hold inputs with one row per example, got a single number")
    return inputs, targets


def replace_in(batch: Any, inputs: Tensor, targets: Tensor) -> None:
    """Put other inputs and targets in the place of a batch's own, whose tensors are left alone.

    Raises:
        ValueError: If the batch has no form that `pair_of` reads, or is one that cannot be changed, such as a tuple.
    """
    holder, places = _find(batch)
    for place, part in zip(places, (inputs, targets), strict=True):
        try:
            if is_dataclass(holder):
                setattr(holder, place, part)
            else:
                holder[place] = part
        except (TypeError, AttributeError) as error:
            kind = type(holder).__name__
            raise ValueError(f"batches must be lists or dicts, whose entries can be replaced, got a {kind}") from error


def class_labels(labels: Tensor) -> Tensor:
    """Return labels as (B,) classes: columns (B, 1) flat, booleans as 0 and 1, exact one-hot rows as their place.

    What is none of these is returned as it is, for `check_labels` to judge.

    Raises:
        ValueError: If rows (B, K) are soft labels or name several classes.
    """
    if labels.ndim == 2 and labels.shape[1] == 1 and not labels.is_floating_point():
        labels = labels[:, 0]
    if labels.ndim != 2 or labels.shape[1] < 2:
        return labels.to(torch.int64) if labels.dtype is torch.bool else labels
    shape, ones = tuple(labels.shape), labels == 1
    if not bool((ones | (labels == 0)).all()):
        if labels.is_floating_point() and bool(((labels >= 0) & (labels <= 1)).all()):
            raise ValueError(
                f"labels must be classes, got rows of shape {shape} that are no one-hot: are they soft, as a "
                "collate_fn or a data set with mixup, CutMix or label smoothing makes them? Give the examples unmixed"
            )
        raise ValueError(f"labels must be one class per example, behind the inputs, got {_kind(labels)}")
    if not bool((ones.sum(dim=1) == 1).all()):
        raise ValueError(
            f"labels must be one class per example, got rows of shape {shape} with several classes or none"
        )
    return ones.to(torch.uint8).argmax(dim=1)


def _find(batch: Any) -> tuple[Any, tuple[Any, Any]]:
    """Return what holds a batch's inputs and labels, and the two places in it: indices, keys or fields."""
    if isinstance(batch, tuple | list) and len(batch) == 1 and not isinstance(batch[0], Tensor):
        return _find(batch[0])
    named = _named_parts(batch)
    if named:
        inputs_found, labels_found = _candidates(named)
        if len(inputs_found) == len(labels_found) == 1:
            at_inputs, at_labels = inputs_found[0], labels_found[0]
            if isinstance(batch, tuple):
                at_inputs, at_labels = (list(named).index(name) for name in (at_inputs, at_labels))
            return batch, (at_inputs, at_labels)
        if not isinstance(batch, tuple):
            choices = f"for inputs {inputs_found or 'nothing'}, for labels {labels_found or 'nothing'}"
            raise ValueError(
                "batches must name one tensor of inputs and one of labels, as 'image' and 'label' do, got "
                f"{_describe(batch)}: {choices}"
            )
    if isinstance(batch, tuple | list) and len(batch) >= 2 and all(isinstance(part, Tensor) for part in batch[:2]):
        return batch, (0, 1)
    raise ValueError(
        f"batches must be pairs of inputs and labels, two tensors, or hold them by name, got {_describe(batch)}"
    )


def _named_parts(batch: Any) -> dict[Any, Any]:
    """Return what a mapping, a dataclass or a named tuple holds, by name; nothing for anything else."""
    if isinstance(batch, type):
        return {}
    if hasattr(batch, "keys") and hasattr(batch, "__getitem__"):
        return {name: batch[name] for name in batch.keys()}  # noqa: SIM118  # a TensorDict is iterated by its rows
    if is_dataclass(batch):
        return {field.name: getattr(batch, field.name) for field in fields(batch)}
    return batch._asdict() if isinstance(batch, tuple) and hasattr(batch, "_asdict") else {}


def _candidates(named: Mapping[Any, Any]) -> tuple[list[Any], list[Any]]:
    """Return the names of what may be inputs and labels: those that say so or, without these, those of fitting form."""
    tensors = {name: part for name, part in named.items() if isinstance(part, Tensor) and part.ndim}

    def pick(names: tuple[str, ...], fits: Callable[[Tensor], bool], others: tuple[str, ...]) -> list[Any]:
        said = [name for name in tensors if str(name).lower() in names]
        return said or [name for name, part in tensors.items() if fits(part) and str(name).lower() not in others]

    inputs = pick(INPUT_NAMES, lambda part: part.is_floating_point() and part.ndim >= 2, LABEL_NAMES)
    return inputs, pick(LABEL_NAMES, _are_classes, INPUT_NAMES)


def _are_classes(part: Tensor) -> bool:
    is_flat = part.ndim == 1 or (part.ndim == 2 and part.shape[1] == 1)
    return is_flat and not part.is_floating_point() and not part.is_complex()


def _describe(batch: Any) -> str:
    """Say what a batch is and what is in it."""
    kind, named = f"a {type(batch).__name__}", _named_parts(batch)
    parts = [f"{name!r} ({_kind(part)})" for name, part in named.items()]
    if not parts and isinstance(batch, tuple | list):
        parts = [_kind(part) for part in batch]
    if not parts:
        return kind
    return f"{kind} of {', '.join(parts[:MOST_NAMED])}{', ...' if len(parts) > MOST_NAMED else ''}"


def _kind(part: Any) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}"
    return type(part).__name__
