"""The form of a JSON record: a table of what stands where, and one check that names the place where it does not hold.

A form is one of
    a `Leaf`, for example TEXT or NUMBER: one value;
    [form]: a list, each entry of that form;
    {"name": form, "other?": form, "*": form}: an object; "?" marks what may be missing, "*" is the form of all names
        that are not written out, without which there may be none;
    `Aligned`: such an object whose lists belong together, entry by entry.
"""

import json
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixscope.base.errors import UserError
from mixscope.base.reading import read_regular, reason_of

RECORD_BYTES = 1 << 28  # 256 MiB of one file of records: 80,000 measured epochs
DEPTH = 24  # of what has no form of its own, options for example; ours have 6
LARGEST = 1e150  # of a number that is drawn: its square is finite; numbers in single precision end at 3e38
WHOLE = 1 << 63


@dataclass(frozen=True)
class Leaf:
    """The form of one value."""

    words: str  # what it must be, after "must be"
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Aligned:
    """The form of an object some of whose lists have one length."""

    form: Mapping[str, Any]
    lists: tuple[str, ...] = ()  # where they stand, "classifiers.x" for one further down; empty: all entries
    edges: str = ""  # where a list stands that has one entry more


Form = Leaf | Aligned | list[Any] | Mapping[str, Any]


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode(errors="surrogateescape")  # names of files may hold any bytes; other halves of pairs are no text
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 10**300
    return isinstance(value, float) and math.isfinite(value)


def _is_plain(value: Any, depth: int = DEPTH) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_text(key) and _is_plain(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    return SCALAR.holds(value)


def or_null(leaf: Leaf) -> Leaf:
    """Return the form of a value that may be null."""
    return Leaf(f"{leaf.words} or null", lambda value: value is None or leaf.holds(value))


def exactly(value: Any) -> Leaf:
    """Return the form of one value alone; True is not 1."""
    return Leaf(repr(value), lambda found: found == value and type(found) is type(value))


def one_of(*choices: str) -> Leaf:
    """Return the form of one of several words."""
    return Leaf(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


TEXT = Leaf("a string", _is_text)
FLAG = Leaf("true or false", lambda value: isinstance(value, bool))
NUMBER = Leaf("a finite number", _is_number)
DRAWN = Leaf(f"a number between -{LARGEST:g} and {LARGEST:g}", lambda v: _is_number(v) and abs(v) <= LARGEST)
INTEGER = Leaf("an integer", lambda value: _is_number(value) and isinstance(value, int))
COUNT = Leaf("an integer of at least 0", lambda value: INTEGER.holds(value) and 0 <= value < WHOLE)
SCALAR = Leaf(
    "a string, a finite number, true, false or null",
    lambda value: value is None or isinstance(value, bool) or _is_number(value) or _is_text(value),
)
ANYTHING = Leaf(f"strings, finite numbers, lists and objects, at most {DEPTH} deep", _is_plain)


def check_form(value: Any, form: Form, *, source: str, place: str = "") -> None:
    """Raise a `UserError` unless a value, as JSON is read, has a form.

    It names the source (the file, and the line where it has several records), the place in it, for example
    "pairs.x1[3]", what must stand there and what does.
    """
    if isinstance(form, Leaf):
        if not form.holds(value):
            raise _misfit(source, place, form.words, value)
    elif isinstance(form, Aligned):
        check_form(value, form.form, source=source, place=place)
        _check_aligned(value, form, source=source, place=place)
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise _misfit(source, place, "a list", value)
        (each,) = form
        if isinstance(each, Leaf) and all(map(each.holds, value)):
            return  # most of a record is long lists of numbers
        for number, item in enumerate(value):
            check_form(item, each, source=source, place=f"{place}[{number}]")
    else:
        _check_object(value, form, source=source, place=place)


def _check_object(value: Any, form: Mapping[str, Any], *, source: str, place: str) -> None:
    if not isinstance(value, dict):
        raise _misfit(source, place, "an object", value)
    for name, inner in form.items():
        bare = name.removesuffix("?")
        if bare in value:
            check_form(value[bare], inner, source=source, place=_at(place, bare))
        elif name not in ("*", f"{bare}?"):
            raise UserError(f"{source} must hold {_at(place, name)} as {_words(inner)}, but it is not there")
    known = {name.removesuffix("?") for name in form} - {"*"}
    for name, item in value.items():
        if name not in known:
            if "*" not in form or not _is_text(name):
                raise UserError(f"{source} must not hold {_at(place, name)!a}: no such name belongs there")
            check_form(item, form["*"], source=source, place=_at(place, name))


def _check_aligned(value: dict[str, Any], form: Aligned, *, source: str, place: str) -> None:
    found = {name: _inside(value, name) for name in form.lists} if form.lists else dict(value)
    lengths = {name: len(entries) for name, entries in found.items() if entries is not None}
    if form.edges:
        found[form.edges] = value[form.edges]
        lengths[form.edges] = len(value[form.edges]) - 1
    if len(set(lengths.values())) > 1:
        first, other = next((a, b) for a in lengths for b in lengths if lengths[a] < lengths[b])
        more = " and one more" if form.edges in (first, other) else ""
        raise UserError(
            f"{source} must hold {_at(place, first)} and {_at(place, other)} in one length{more}, "
            f"got {len(found[first])} and {len(found[other])} entries"
        )


def _inside(value: dict[str, Any], name: str) -> Any:
    for part in name.split("."):
        if part not in value:
            return None
        value = value[part]
    return value


def _misfit(source: str, place: str, words: str, value: Any) -> UserError:
    return UserError(f"{source} must hold {place or 'a record'} as {words}, got {shown(value)}")


def _words(form: Form) -> str:
    if isinstance(form, Leaf):
        return form.words
    return "a list" if isinstance(form, list) else "an object"


def shown(value: Any) -> str:
    """Return a value as an error shows it, in a few letters."""
    return ascii(reprlib.repr(value))[1:-1] if not isinstance(value, int) or abs(value) < WHOLE else "a huge integer"


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def read_record(path: Path, form: Form) -> Any:
    """Read a file of one JSON value, or raise as `read_text`, `parse_json` and `check_form` do."""
    value = parse_json(read_text(path), source=str(path))
    check_form(value, form, source=str(path))
    return value


def read_text(path: Path) -> str:
    """Read a file of records; a `UserError` if it is no regular file, larger than RECORD_BYTES, or not UTF-8."""
    content = read_regular(path, ceiling=RECORD_BYTES, why="a file of records; put the original back")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be text in UTF-8: {error}") from error


def parse_json(text: str, *, source: str) -> Any:
    """Return the value of a JSON text; a `UserError` if it is none, names an entry twice, or is nested too deeply."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise UserError(f"{source} must be readable JSON: it is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{source} must be readable JSON: {reason_of(error)}") from error


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!a} stands twice in one object")
        found[name] = value
    return found
