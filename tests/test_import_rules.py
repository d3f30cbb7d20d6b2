"""Who may import whom, read off the source; and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mixscope"
BASE = {f"base.{name}" for name in ("errors", "files", "folder_lock", "ranges", "reading", "text")}
FLOOR = {
    "base",
    "mixing.mixture",
    "mixing.loss_floor",
    "capturing.sites",
    "capturing.outputs",
}  # torch, and everyone may import it
SIBLINGS = {"data", "mixing", "models", "metrics", "theory"}
ALLOWED = {
    "base": {"base"},
    "stats": {"stats"},
    **{room: FLOOR | {"stats", room} for room in SIBLINGS},
    "training": FLOOR | {"training", "mixing", "metrics"},
    "capturing": FLOOR | {"mixing", "capturing"},
    "measuring": FLOOR | {"mixing", "metrics", "capturing", "measuring"},
    "records": BASE | {"stats", "records"},
    "report": BASE | {"stats", "records", "report", "metrics.catalogue", "metrics.cards"},
    "bench": FLOOR | SIBLINGS | {"stats", "training", "capturing", "measuring", "records", "report", "bench"},
    "integrations": FLOOR | {"mixing", "metrics", "capturing", "measuring", "report", "models.heads", "integrations"},
    "__init__": FLOOR | {"stats", "bench", "capturing", "measuring", "metrics", "mixing", "theory"},
}
ALLOWED["figures"] = ALLOWED["report"]
ALLOWED["theory_pages"] = ALLOWED["bench"] - {"bench"} | {"theory_pages"}
ALLOWED["studies"] = ALLOWED["bench"] | {"theory_pages", "studies"}
ALLOWED["cli"] = BASE | {"bench", "theory_pages", "data", "records", "report", "stats", "studies", "cli"}
ALLOWED["__main__"] = {"base.errors", "base.text", "cli", "bench"}
NO_TORCH = {"stats", "records", "report", "figures", *BASE}  # rooms, or modules of one


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} must import absolutely"
            yield node.module


MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_imports_only_what_its_room_may(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    allowed = BASE if module in BASE else ALLOWED[room]
    for name in imports(path):
        if name.startswith("mixscope."):
            inside = name.removeprefix("mixscope.")
            above = {".".join(inside.split(".")[:depth]) for depth in (1, 2, 3)}
            assert above & allowed, f"{module} must not import {name}"
        elif name.split(".")[0] == "torch":
            assert not {room, module} & NO_TORCH, f"{module} must not import torch"


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_mixscope_loads_no_heavy_library():
    heavy = ["torch", "accelerate", "sklearn", "scipy", "plotly", "requests", "PIL", "rich", "tyro"]
    code = f"import sys, mixscope; print(*[name for name in {heavy} if name in sys.modules])"
    assert run_python(code) == []


def test_reading_the_command_line_loads_no_torch():
    code = "import sys; from mixscope.cli.parsing import parse; parse(['train', '--epochs', '2']);"
    assert run_python(code + "print('torch' in sys.modules)") == ["False"]


def test_every_public_name_is_there():
    import mixscope

    for name in mixscope.__all__:
        assert getattr(mixscope, name).__name__.removeprefix("mixscope.") == name
    assert set(mixscope.__all__) == {*mixscope._HOME_OF, *mixscope._ROOMS}
    assert set(mixscope.__all__) <= set(dir(mixscope))
    with pytest.raises(AttributeError, match="module 'mixscope' has no attribute 'mixpu'"):
        mixscope.mixpu  # noqa: B018
