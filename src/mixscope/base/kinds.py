"""Kinds of arguments, read from a function's annotations and checked before its call."""

import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from inspect import Parameter, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

Target = TypeVar("Target", bound=Callable[..., Any])
NAMED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Kind:
    """What an argument may be, in words and as a test."""

    one: str  # "an integer"
    many: str  # "integers"
    accepts: Callable[[Any], bool]
    advice: str = ""  # instead of handing over a value of the types in `near`; `{name}` stands for the argument
    near: tuple[type, ...] = ()


def checked(target: Target) -> Target:
    """Check the kind of every argument against its annotation before each call of a function or class.

    A tensor where an integer belongs, an array or a list where a tensor belongs, `None` for a generator: each is a
    `ValueError` that names the argument. Sizes, ranges and shapes are checked by the function itself. The annotations
    are read at the first call; after that a call costs a microsecond or two. Inside `torch.compile` nothing is checked,
    so that a compiled function keeps one graph.

    Example:
        >>> @checked
        ... def double(values: Tensor) -> Tensor:
        ...     return 2 * values
        >>> double([1.0, 2.0])
        Traceback (most recent call last):
        ValueError: values must be a torch.Tensor, got [1.0, 2.0]: pass torch.as_tensor(values)
    """
    if isinstance(target, type):
        target.__init__ = checked(target.__init__)  # type: ignore[misc]
        return target
    kinds: dict[str, Kind] | None = None

    @wraps(target)
    def check_and_call(*values: Any, **named: Any) -> Any:
        nonlocal kinds
        if torch.compiler.is_compiling():
            return target(*values, **named)
        if kinds is None:
            hints, parameters = get_type_hints(target, include_extras=True), signature(target).parameters.values()
            # `self` and what has no annotation may be anything.
            kinds = {each.name: kind_of(hints.get(each.name, Any)) for each in parameters if each.kind in NAMED}
        for (name, kind), value in zip(kinds.items(), values, strict=False):
            if not kind.accepts(value):
                raise ValueError(_message(name, kind, value))
        for name, value in named.items():
            if name in kinds and not kinds[name].accepts(value):
                raise ValueError(_message(name, kinds[name], value))
        return target(*values, **named)

    return check_and_call  # type: ignore[return-value]


def kind_of(hint: Any) -> Kind:
    """Return the kind that an annotation stands for: anything where it says nothing, as `Any` does."""
    if hint in PLAIN_KINDS:
        return PLAIN_KINDS[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [kind_of(choice) for choice in inner]
        one, many = (" or ".join(getattr(kind, words) for kind in kinds) for words in ("one", "many"))
        return replace(kinds[0], one=one, many=many, accepts=lambda value: any(kind.accepts(value) for kind in kinds))
    if origin is Annotated:
        return replace(kind_of(inner[0]), advice=inner[1], near=(object,))
    if origin is Literal:
        choices = f"one of {', '.join(inner)}"
        return Kind(choices, choices, lambda value: isinstance(value, str) and value in inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        return _sequence_of(kind_of(inner[0]), length=len(inner))
    if origin in (Sequence, tuple, list):
        return _sequence_of(kind_of(inner[0]))
    if origin is Mapping or origin is dict:
        return _mapping_of(kind_of(inner[0]), kind_of(inner[1]))
    if origin is Callable:
        return Kind("a function", "functions", callable)
    if origin is Iterable:
        return Kind("an iterable", "iterables", lambda value: isinstance(value, Iterable))
    type_ = origin or hint
    if hint is Any or hint is Self or not isinstance(type_, type):
        return ANYTHING
    name = f"torch.nn.{type_.__name__}" if issubclass(type_, nn.Module) else type_.__name__
    return Kind(f"a {name}", f"{name} objects", lambda value: isinstance(value, type_))


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and -(2**63) <= int(value) < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) or _is_integer(value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and value.dtype in REAL_DTYPES


def _is_cpu_generator(value: Any) -> bool:
    return isinstance(value, torch.Generator) and value.device.type == "cpu"


def _is_device(value: Any) -> bool:
    try:
        return isinstance(torch.device(value), torch.device)
    except (RuntimeError, TypeError):
        return False


REAL_DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
}
ANYTHING = Kind("anything", "values", lambda value: True)
PLAIN_KINDS: dict[Any, Kind] = {
    Tensor: Kind(
        "a torch.Tensor", "tensors", _is_tensor, "pass torch.as_tensor({name})", near=(np.ndarray, list, tuple)
    ),
    int: Kind("an integer", "integers", _is_integer),
    float: Kind("a number", "numbers", _is_number),
    bool: Kind("True or False", "booleans", lambda value: isinstance(value, (bool, np.bool_))),
    str: Kind("a string", "strings", lambda value: isinstance(value, str)),
    NoneType: Kind("None", "None", lambda value: value is None),
    torch.device | str: Kind('a device such as "cpu" or "cuda:0"', "devices", _is_device),
    torch.Generator: Kind("a torch.Generator on the CPU", "generators", _is_cpu_generator),
}


def _sequence_of(kind: Kind, *, length: int | None = None) -> Kind:
    words = "sequence of" if length is None else f"sequence of {length}"

    def accepts(value: Any) -> bool:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            return False
        return length in (None, len(value)) and all(kind.accepts(entry) for entry in value)

    return Kind(f"a {words} {kind.many}", f"sequences of {kind.many}", accepts)


def _mapping_of(key: Kind, kind: Kind) -> Kind:
    def accepts(value: Any) -> bool:
        return isinstance(value, Mapping) and all(map(key.accepts, value)) and all(map(kind.accepts, value.values()))

    return Kind(f"a mapping of {key.many} to {kind.many}", f"mappings of {key.many} to {kind.many}", accepts)


def _message(name: str, kind: Kind, value: Any) -> str:
    advice = f": {kind.advice.format(name=name)}" if isinstance(value, kind.near) else ""
    return f"{name} must be {kind.one}, got {describe(value)}{advice}"


def describe(value: Any) -> str:
    """Say in a few words on one line what a value is."""
    if isinstance(value, Tensor):
        layout = "" if value.layout is torch.strided else f" ({value.layout})"
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}{layout}"
    if isinstance(value, np.ndarray):
        return f"a numpy array of shape {value.shape}"
    if isinstance(value, torch.Generator):
        return f"a generator on {value.device}"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"{reprlib.repr(value)}, which 64 bits cannot hold"
    if value is None or isinstance(value, (numbers.Number, str, bytes, list, tuple, dict)):
        return " ".join(reprlib.repr(value).split())
    return f"a {type(value).__name__}"
