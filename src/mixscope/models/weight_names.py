"""Names of weights: which of a checkpoint's tensors are a model's, wherever they stand and whatever precedes them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mixscope.base.errors import UserError

DEEPEST = 4  # levels of dictionaries within one another
NUM_NAMED = 3  # an error names this many weights of each kind
# Averaged weights beside raw ones, as timm (state_dict_ema), DeiT (model_ema) and others (ema, swa) name them.
AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?)([._]|\d|$)", re.I)
RAW = "current_model_state"  # Lightning's WeightAveraging keeps the raw weights here, and the averaged as state_dict
EXTRA_STATE = "_extra_state"


@dataclass(frozen=True)
class Content:
    """Everything in a checkpoint by its dotted path; `metadata` is that of torch's state dicts, by module."""

    values: dict[str, Any]
    containers: dict[str, str]  # of each value: the path of the dictionary it stands in, "" for the outermost
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a model's weights stand: `before` precedes them in the file, `own` precedes them in the model alone."""

    before: str
    own: str

    def name_in_file(self, name: str) -> str:
        """Return the path in the file of what the model calls `name`."""
        return self.before + name.removeprefix(self.own)


def flatten(content: Any) -> Content:
    """Return the values of dictionaries within dictionaries by their dotted paths."""
    values: dict[str, Any] = {}
    containers: dict[str, str] = {}
    metadata: dict[str, Any] = {}

    def walk(mapping: Mapping[Any, Any], path: str, depth: int) -> None:
        for module, own in dict(getattr(mapping, "_metadata", None) or {}).items():
            metadata[f"{path}.{module}".strip(".")] = own
        for key, value in mapping.items():
            if not isinstance(key, str):
                continue
            name = f"{path}.{key}" if path else key
            if isinstance(value, Mapping) and not key.endswith(EXTRA_STATE):
                if depth < DEEPEST:
                    walk(value, name, depth + 1)
            elif name not in values:
                values[name], containers[name] = value, path

    walk(content, "", 1)
    return Content(values, containers, metadata)


def find_place(
    content: Content, model_names: Mapping[str, tuple[int, ...] | None], *, source: str
) -> tuple[Place, list[Place]]:
    """Return where the weights of a model stand in a checkpoint, and the other places where they could be.

    Nesting, wrappers and trainers put something before every name, in the file or in the model, and that is found by
    trying: the place must hold all names of the model, in its shapes. Where several do, the names as they are go
    first, then averaged weights before raw ones, as timm's own loader has it. Where none does, the one that holds most
    is returned, to say what is missing.

    Args:
        content: As flattened.
        model_names: Of the model's state, each with its shape, or None where it has none yet.
        source: What an error begins with.

    Raises:
        UserError: If several places hold all, and none is the others' average.
    """
    owns = ["", *(own for own in _common_prefixes(model_names))]
    tensors = {name for name, value in content.values.items() if isinstance(value, Tensor)}
    counts: dict[Place, int] = {}
    fits: list[Place] = []
    anchors = list(model_names)[:1] + list(model_names)[-1:]
    for own in owns:
        ends = [anchor.removeprefix(own) for anchor in anchors]
        befores = sorted({n.removesuffix(end) for n in tensors for end in ends if n == end or n.endswith(f".{end}")})
        for before in dict.fromkeys(["", *befores]):
            place = Place(before, own)
            found = [name for name in model_names if place.name_in_file(name) in tensors]
            counts[place] = len(found)
            shapes = {name: tuple(content.values[place.name_in_file(name)].shape) for name in found}
            if len(found) == len(model_names) and all(shapes[n] == (model_names[n] or shapes[n]) for n in found):
                fits.append(place)
    if fits and not (fits[0].before or fits[0].own):
        return fits[0], []
    all_fits = _without_inner(fits)
    fits = _preferred(all_fits) if len(all_fits) > 1 else all_fits
    if len(fits) > 1:
        names = " and ".join(repr(place.before.rstrip(".") or "the outermost") for place in fits[:NUM_NAMED])
        raise UserError(f"{source}: must hold weights that fit in one place, got {names}; choose with --weights-key")
    if not fits:
        return max(counts, key=lambda place: (counts[place], -len(place.before))), []
    return fits[0], [place for place in all_fits if place != fits[0]]


def is_averaged(path: str) -> bool:
    """Return whether a path in a checkpoint is that of averaged weights."""
    return bool(AVERAGED.search(path))


def few(names: Iterable[str]) -> str:
    """Return the first names, and dots for more."""
    names = list(names)
    return ", ".join([*names[:NUM_NAMED], *(["..."] if len(names) > NUM_NAMED else [])])


def _common_prefixes(names: Iterable[str]) -> list[str]:
    """Return what all names begin with, module by module: "a." and "a.b."."""
    parts = [name.split(".")[:-1] for name in names]
    prefixes = []
    for depth in range(1, min(map(len, parts), default=0) + 1):
        if len({tuple(each[:depth]) for each in parts}) > 1:
            break
        prefixes.append(".".join(parts[0][:depth]) + ".")
    return prefixes


def _without_inner(fits: list[Place]) -> list[Place]:
    """Drop places that are the same tensors told twice; the one that changes the model's names least stays."""
    kept: list[Place] = []
    for place in sorted(fits, key=lambda each: len(each.own)):
        if not place.own or all(place.before != other.before + place.own for other in kept):
            kept.append(place)
    return kept


def _preferred(fits: list[Place]) -> list[Place]:
    others = [place for place in fits if not place.before.startswith(f"{RAW}.")]
    averaged = [place for place in others if is_averaged(place.before)]
    return averaged if len(averaged) == 1 else others
