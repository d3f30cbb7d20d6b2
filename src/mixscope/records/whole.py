"""Numbers as a record keeps them: every digit, and infinities by name, which JSON lacks; NaN is null."""

import math
from collections.abc import Mapping
from typing import Any

INFINITIES = {math.inf: "Infinity", -math.inf: "-Infinity"}
NAMED = {name: value for value, name in INFINITIES.items()}


def to_json(value: Any) -> Any:
    """Return a value as JSON can hold it, through mappings and sequences: what `from_json` gives back but for NaN.

    Example:
        >>> to_json({"norm": float("inf"), "error": [0.1, float("nan")]})
        {'norm': 'Infinity', 'error': [0.1, None]}
    """
    if isinstance(value, float):
        return None if math.isnan(value) else INFINITIES.get(value, value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any) -> Any:
    """Return what `to_json` wrote: infinities as floats, null as None.

    Example:
        >>> from_json({"norm": "-Infinity", "error": [0.1, None]})
        {'norm': -inf, 'error': [0.1, None]}
    """
    if isinstance(value, str):
        return NAMED.get(value, value)
    if isinstance(value, Mapping):
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value
