"""Weights of a network, read from a file into it without running anything the file may carry."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mixscope.base.checks import nearest
from mixscope.base.errors import UserError, describe_error
from mixscope.base.files import seal_fits
from mixscope.models.hub_models import translated
from mixscope.models.weight_files import read_weight_file
from mixscope.models.weight_fit import (
    check_finite,
    check_plain,
    is_needed,
    is_tied,
    other_shapes,
    shape_of,
    unknown_words,
    within_modules,
)
from mixscope.models.weight_names import EXTRA_STATE, Content, Place, few, find_place, flatten, is_averaged


@dataclass(frozen=True)
class LoadedWeights:
    """What was read into a model.

    Attributes:
        key: Where in the file the weights stood, dictionary by dictionary: "", "state_dict", "net.ema".
        taken_off: What preceded the names there: "module.", or "".
        put_on: What the model's names have before those of the file: "backbone.", or "".
        left: Names of tensors beside them that are not the model's.
        kept: Names of the model's that the file lacks and needs not have; they are as they were.
        converted: The types of the file's tensors that were changed to the model's, for example "float16".
        others: Other places with tensors in the file, for example raw weights beside averaged ones.
    """

    key: str
    taken_off: str
    put_on: str
    left: tuple[str, ...]
    kept: tuple[str, ...]
    converted: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, each in a few words; nothing for a plain file that fits as it is."""
        notes = []
        if self.key:
            averaged = ", averaged weights" if is_averaged(self.key) else ""
            others = f", and not those under {few(self.others)} (choose with --weights-key)" if self.others else ""
            notes.append(f"weights under {self.key!r}{averaged}{others}")
        if self.taken_off:
            notes.append(f"{self.taken_off!r} taken off their names")
        if self.put_on:
            notes.append(f"{self.put_on!r} put before their names")
        if self.left:
            notes.append(f"{len(self.left)} left that are not the model's ({few(self.left)})")
        if self.kept:
            notes.append(f"{len(self.kept)} not in the file and not needed ({few(self.kept)})")
        if self.converted:
            notes.append(f"converted from {' and '.join(self.converted)}")
        return tuple(notes)


def load_weights(model: nn.Module, path: str | Path, *, weights_key: str | None = None) -> LoadedWeights:
    """Copy the weights in a file into `model`, all of them or, after an error, none.

    The file may be of safetensors or of torch, whatever its name, or a folder of transformers' `save_pretrained`; torch
    files are read with `weights_only=True`, which executes nothing. The weights may lie in dictionaries within it, with
    any prefix before the names, or without one that the model's names have: the place is taken at which all of the
    model's names are found. Averaged weights are taken before raw ones, as timm's own loader does. What is not the
    model's and lies outside its modules is left. Values are converted to the model's dtype and device.

    Args:
        model: Whose weights are replaced.
        path: The file or folder.
        weights_key: Where in the file the weights are, for example "state_dict" or "ema.model".

    Returns:
        What was taken, and what was left.

    Raises:
        UserError: If the file is missing, cannot be read, holds more than tensors and plain values, is not what
            mixscope once wrote there, holds several sets of weights that fit, or does not fit the model: weights
            missing, unknown to its modules, of another shape, or NaN or infinite in the model's dtype.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file of weights")
    if path.is_file() and seal_fits(path) is False:  # files of other programs carry none
        raise UserError(f"{path}: damaged since mixscope wrote it (its checksum does not fit); put a copy of it back")
    content = _content(read_weight_file(path), weights_key, path=path)
    own = model.state_dict()
    needed = {name: shape_of(value) for name, value in own.items() if is_needed(name, value)}
    if not needed.keys() <= content.values.keys() and (ours := translated(model, content.values)) is not None:
        content = flatten(ours)
    place, elsewhere = find_place(content, needed, source=str(path))
    state: OrderedDict[str, Any] = OrderedDict()
    for name in content.values:
        if name.startswith(place.before):
            state[place.own + name.removeprefix(place.before)] = content.values[name]
    state = OrderedDict((name, value) for name, value in state.items() if isinstance(value, Tensor) or name in own)
    key = _container(content, place, needed)
    inside = [n for n, v in content.values.items() if isinstance(v, Tensor) and content.containers[n] == key]
    beside = tuple(name.removeprefix(f"{key}.") for name in inside if not name.startswith(place.before))
    kept, left = _load(model, state, content, place, path=path)
    converted = sorted(
        {
            str(value.dtype).removeprefix("torch.")
            for name, value in state.items()
            if name in own
            and isinstance(value, Tensor)
            and value.is_floating_point()
            and value.dtype != own[name].dtype
        }
    )
    others = tuple(each.before.rstrip(".") for each in elsewhere if each.own == place.own)
    prefix = place.before.removeprefix(f"{key}." if key else "")
    full_key = ".".join(filter(None, (weights_key, key)))
    return LoadedWeights(full_key, prefix, place.own, (*left, *beside), kept, tuple(converted), others)


def _content(content: Any, weights_key: str | None, *, path: Path) -> Content:
    """Return what a file holds, or what it holds under the key."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: must hold a dictionary of tensors by name, got a {type(content).__name__}")
    flat = flatten(content)
    if weights_key is not None:
        wanted = f"{weights_key}."
        values = {n.removeprefix(wanted): v for n, v in flat.values.items() if n.startswith(wanted)}
        if not values:
            keys = sorted({container for container in flat.containers.values() if container})
            near = nearest(weights_key, keys) or f"; it has {few(keys) or 'none'}"
            raise UserError(f"{path}: weights-key must be one of the file's, got {weights_key!r}{near}")
        containers = {n: flat.containers[wanted + n][len(wanted) :] for n in values}
        prefix = {weights_key: "", **{n: n.removeprefix(wanted) for n in flat.metadata if n.startswith(wanted)}}
        flat = Content(values, containers, {prefix[n]: v for n, v in flat.metadata.items() if n in prefix})
    if not any(isinstance(value, Tensor) for value in flat.values.values()):
        got = few(map(str, content)) or "nothing"
        raise UserError(f"{path}: must hold tensors by name, alone or in dictionaries; got other values under {got}")
    return flat


def _load(
    model: nn.Module, state: OrderedDict[str, Any], content: Content, place: Place, *, path: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Let torch load a state dict; return the model's names it lacks, and its names the model lacks; or restore."""
    own = model.state_dict()
    check_plain(state, own, path=path)
    before = {name: value.clone() for name, value in own.items() if isinstance(value, Tensor) and not is_lazy(value)}
    modules = {name for name, _ in model.named_modules(remove_duplicate=False)}
    metadata = {name: content.metadata.get(place.name_in_file(f"{name}.").rstrip(".")) for name in modules}
    # torch reads versions from here; where a file has none, its modules are taken for old ones, as torch does.
    state._metadata = {name: known for name, known in metadata.items() if known}  # type: ignore[attr-defined]
    try:
        try:
            missing, unknown = model.load_state_dict(state, strict=False)
        except Exception as error:  # a module may load in its own way, and raise anything
            shapes = other_shapes(state, own)
            words = f"of another shape ({few(shapes)})" if shapes else describe_error(error)
            count = f"{len(shapes)} " if shapes else ""
            lacking = [name for name, value in own.items() if name not in state and is_needed(name, value)]
            parts = [f"{len(lacking)} missing from the file ({few(lacking)})"] if lacking else []
            parts += unknown_words(name for name in state if name not in own)
            raise UserError(
                f"{path}: weights do not fit the model: {'; '.join([*parts, f'{count}{words}'])}"
            ) from error
        missing = [name for name in missing if is_needed(name, own.get(name)) and not is_tied(model, name, missing)]
        problems = [f"{len(missing)} missing from the file ({few(missing)})"] if missing else []
        wrong = unknown if missing else within_modules(unknown, own)
        problems += unknown_words(wrong)
        if problems:
            raise UserError(f"{path}: weights do not fit the model: {'; '.join(problems)}")
        check_finite(model, path=path)
    except BaseException:
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name in before:
                    value.copy_(before[name])
        raise
    kept = tuple(name for name in own if name not in state and not name.endswith(EXTRA_STATE))
    return kept, tuple(unknown)


def _container(content: Content, place: Place, needed: Mapping[str, Any]) -> str:
    """Return the dictionary that most of the model's weights stand in."""
    found = [content.containers[n] for name in needed if (n := place.name_in_file(name)) in content.containers]
    return max(set(found), key=found.count) if found else ""
