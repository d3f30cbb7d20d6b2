"""Who may import whom, read off the source; and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mixscope"
BASE = {"_errors", "_files", "_folder_lock", "_ranges", "_reading", "_seal", "_text"}  # only one another, and no torch
FLOOR = BASE | {"_checks", "_kinds", "_random", "mixture", "simplex", "sites", "loss_floor"}
ALLOWED = {
    **dict.fromkeys(FLOOR, FLOOR),
    **{room: FLOOR | {room} for room in ("data", "mixing", "models", "metrics", "theory")},
    "training": FLOOR | {"training", "mixing"},
    "capturing": FLOOR | {"mixing"},
    "measuring": FLOOR | {"mixing", "metrics", "capturing", "measuring"},
    "records": BASE | {"records"},
    "report": BASE | {"records", "report", "metrics.catalogue", "metrics.entry"},
    "experiment": FLOOR
    | {
        "data",
        "mixing",
        "models",
        "metrics",
        "training",
        "capturing",
        "measuring",
        "theory",
        "records",
        "report",
        "experiment",
    },
    "papers": FLOOR
    | {
        "data",
        "mixing",
        "models",
        "metrics",
        "training",
        "capturing",
        "measuring",
        "theory",
        "records",
        "report",
        "experiment",
        "papers",
    },
    "integrations": FLOOR | {"mixing", "metrics", "capturing", "measuring", "integrations"},
    "cli": BASE | {"experiment", "data", "records", "report", "papers", "cli"},
    "__main__": {"_errors", "_text", "cli", "experiment"},
    "__init__": FLOOR | {"capturing", "measuring", "metrics", "mixing", "theory"},
}
NO_TORCH = BASE | {"records", "report"}


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
    for name in imports(path):
        if name.startswith("mixscope."):
            inside = name.removeprefix("mixscope.")
            assert {inside, inside.split(".")[0]} & ALLOWED[room], f"{room} must not import {name}"
        elif name.split(".")[0] == "torch":
            assert room not in NO_TORCH, f"{room} must not import torch"


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_mixscope_loads_no_heavy_library():
    heavy = ["torch", "accelerate", "sklearn", "scipy", "plotly", "pooch", "PIL", "rich", "tyro"]
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
