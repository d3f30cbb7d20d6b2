"""Numbers as JSON holds them: every digit, and infinities by name or null, which JSON lacks; NaN is null."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

INFINITIES = {math.inf: "Infinity", -math.inf: "-Infinity"}
NAMED = {name: value for value, name in INFINITIES.items()}


def finite_or_none(value: Any) -> Any:
    """Return a value as JSON can hold it, through mappings and sequences: NaN and infinities become null."""
    return mapped(value, lambda leaf: None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf)


def to_json(value: Any) -> Any:
    """Return a value as JSON can hold it, through mappings and sequences: what `from_json` gives back but for NaN.

    Example:
        >>> to_json({"norm": float("inf"), "error": [0.1, float("nan")]})
        {'norm': 'Infinity', 'error': [0.1, None]}
    """
    return finite_or_none(mapped(value, lambda leaf: INFINITIES.get(leaf, leaf) if isinstance(leaf, float) else leaf))


def from_json(value: Any) -> Any:
    """Return what `to_json` wrote: infinities as floats, null as None."""
    return mapped(value, lambda leaf: NAMED.get(leaf, leaf) if isinstance(leaf, str) else leaf)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with a function applied to all that is no mapping, list or tuple."""
    if isinstance(value, Mapping):
        return {str(key): mapped(item, change) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [mapped(item, change) for item in value]
    return change(value)
