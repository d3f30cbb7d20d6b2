"""Records changed as by a careless hand: a key deleted, a value of another kind, a file cut short or swapped."""

import copy
import json
import math
import random

from helpers.command_line import run_command
from helpers.hostile_files import in_seconds

VALUES = (
    *(None, True, -1, 0, 3, 0.5, 1e300, 10**400, math.nan, math.inf, "", "x", "\0", "\ud800", [], {}),
    *([None], ["x"], {"x": 1}, [[[]]], {"x": {"x": [0]}}, [0.5, "x"], "9" * 5000),
)


def places(value, path=()):
    """Yield where something stands in a JSON value; of a long list the first, the last and two more."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for number in sorted({0, 1, len(value) // 2, len(value) - 1} & set(range(len(value)))):
            yield from places(value[number], (*path, number))


def changed(value, path, chance):
    """Return a copy in which what stands at `path` is gone, doubled, or something else."""
    new = copy.deepcopy(value)
    inside = new
    for part in path[:-1]:
        inside = inside[part]
    what = chance.choice(["delete", "replace", "replace", "retype", "double", "nudge", "nudge"])
    old = inside[path[-1]]
    if what == "delete":
        del inside[path[-1]]
    elif what == "double" and isinstance(inside, list):
        inside.insert(path[-1], copy.deepcopy(old))
    elif what == "nudge" and isinstance(old, (str, float, int)) and not isinstance(old, bool):
        near = [f"{old}x", "", old.upper()] if isinstance(old, str) else [2 * old, -old, old + 1, 10 * old, 1e149]
        inside[path[-1]] = chance.choice(near)
    elif what == "retype":
        inside[path[-1]] = [old] if not isinstance(old, list) else {str(n): item for n, item in enumerate(old)}
    else:
        inside[path[-1]] = chance.choice(VALUES)
    return new


def broken(content, chance):
    """Return the bytes of a file after something happened to them."""
    middle = chance.randrange(1, max(2, len(content)))
    return chance.choice(
        [
            b"",
            content[:middle],
            content[middle:],
            content[:middle] + b"\xff" + content[middle:],
            content[:middle] + b"," + content[middle:],
            b"[" * 100_000,
            b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
            b"null\n",
            b"[]\n",
            b"\0" * 100,
            content + content,
            content.replace(b"{", b'{"x": 1, "x": 2, ', 1),
        ]
    )


def edit_json(path, chance):
    """Change something at any depth of a file of one JSON value."""
    value = json.loads(path.read_text())
    # The depth first: else nearly all edits would be of the thousand numbers at the bottom.
    by_depth = {}
    for place in places(value):
        by_depth.setdefault(len(place), []).append(place)
    path.write_text(json.dumps(changed(value, chance.choice(by_depth[chance.choice(list(by_depth))]), chance)))


def edit_lines(path, chance):
    """Change something in a file of one JSON value a line."""
    lines = path.read_text().splitlines()
    row = chance.randrange(len(lines))
    if chance.random() < 0.2:
        lines[row : row + 1] = chance.choice([[], ["nonsense"], ["{}"], ["[]"], ["1"], [""], [lines[row]] * 2])
    else:
        value = json.loads(lines[row])
        known = [("epoch",), ("mixing_on",), ("test/error",), ("step",), ("test/signed_gap_error",)]
        known += [("scaling/temperature",), ("scaling/loss_change_low",), ("nc/nc1_trace",)]
        chosen = chance.choice([place for place in known if place[0] in value] + list(places(value))[:4])
        lines[row] = json.dumps(changed(value, chosen, chance))
    path.write_text("".join(f"{line}\n" for line in lines))


def edit_file(path, others, chance):
    """Change a file of records in any way; `others` are those it may be swapped with."""
    what = chance.random()
    if what < 0.93 and path.suffix == ".safetensors":
        path.write_bytes(broken(path.read_bytes(), chance))
    elif what < 0.75:
        (edit_lines if path.suffix == ".jsonl" else edit_json)(path, chance)
    elif what < 0.93:
        path.write_bytes(broken(path.read_bytes(), chance))
    elif what < 0.97:
        path.write_bytes(chance.choice(others).read_bytes())
    else:
        path.unlink()
        if chance.random() < 0.5:
            path.mkdir()


def seeded(number):
    return random.Random(f"edit {number}")


def ends_well_or_in_one_line(*arguments, stops_at=None):
    """Run a command over edited records: it ends well (0), or says one short line (2); return its code.

    An error of the kind `stops_at`, which a test raises where it has seen enough, is a good end.
    """
    with in_seconds(60):
        ended = run_command(*arguments)
    if stops_at is not None and stops_at.__name__ in ended.errors:
        return 0
    assert ended.code in (0, 2), (arguments, ended.errors)
    if ended.code:
        assert len(ended.errors.splitlines()) == 1, (arguments, ended.errors)
        assert len(ended.errors) < 1000, (arguments, ended.errors)
    return ended.code
