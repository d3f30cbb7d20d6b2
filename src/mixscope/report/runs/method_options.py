"""Options of runs: flat pairs, words for their values, and the names of methods that differ in them."""

import json
from collections.abc import Sequence
from typing import Any

from mixscope.records.store import Run

MISSING = "–"
# Options in which the seeds of one method may differ: they say where and when it was looked at, not what was trained.
INCIDENTAL = ("seed", "label", "device", "threads", "measure_every", "data.data_dir")
NAMED_OPTIONS = 3  # at most so many stand behind a method's name
VALUE_LENGTH = 24  # of a value in a name; of longer ones, paths mostly, the end is kept


def flatten(options: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested options as ('outer.inner', value) pairs, in their own order."""
    pairs: list[tuple[str, Any]] = []
    for key, value in options.items():
        path = f"{prefix}{key}"
        pairs += flatten(value, f"{path}.") if isinstance(value, dict) and value else [(path, value)]
    return pairs


def option_words(value: Any) -> str:
    """Return an option's value as shown: a dash for none, otherwise text or JSON.

    Example:
        >>> option_words(None), option_words(True), option_words("mlp"), option_words([0.3, 0.6])
        ('–', 'true', 'mlp', '[0.3, 0.6]')
    """
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def split_by_options(name: str, runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Split runs of one label by their options, and name each part by the options in which the parts differ.

    An option that a run lacks counts as one it has at null. At most three options are named, those that tell most
    parts apart; an ellipsis stands for the others.
    """
    parts: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    paths: dict[str, None] = {}
    for run in runs:
        options = {
            path: option_words(value)
            for path, value in flatten(run.record.get("description") or {})
            if value not in (None, {}) and path not in INCIDENTAL and "measuring." not in path
        }
        paths |= dict.fromkeys(options)
        parts.setdefault(tuple(sorted(options.items())), []).append(run)
    if len(parts) == 1:
        return [(name, list(runs))]
    tables = [dict(part) for part in parts]
    differing = [path for path in paths if len({table.get(path) for table in tables}) > 1]
    chosen = _most_telling(tables, differing)
    rest = ["…"] if len(differing) > len(chosen) else []
    return [
        (f"{name} ({', '.join([*(_named(path, table.get(path, MISSING)) for path in chosen), *rest])})", members)
        for table, members in zip(tables, parts.values(), strict=True)
    ]


def _most_telling(tables: Sequence[dict[str, str]], paths: Sequence[str]) -> list[str]:
    """Return up to three paths, each the one that together with those before it tells most tables apart."""
    chosen: list[str] = []
    while len(chosen) < min(NAMED_OPTIONS, len(paths)):
        left = [path for path in paths if path not in chosen]
        chosen.append(
            max(left, key=lambda path: len({tuple(table.get(p) for p in (*chosen, path)) for table in tables}))
        )
    return sorted(chosen, key=paths.index)


def _named(path: str, value: str) -> str:
    """Return 'alpha 0.2', from the last part of the path and the value, cut at its front."""
    return f"{path.rpartition('.')[2]} {value if len(value) <= VALUE_LENGTH else '…' + value[1 - VALUE_LENGTH :]}"
