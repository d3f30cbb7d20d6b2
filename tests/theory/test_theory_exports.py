import ast
import doctest
import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

from mixscope import theory

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "src" / "mixscope" / "theory"

# What modules of the room share with each other and no user needs.
INTERNAL = {
    "all_blends", "check_class_counts", "checked_ends", "checked_points", "checked_times", "checked_weights",
    "curve_through", "follow", "gram_deviation", "increasing_root", "joint_objective", "labels_of_counts",
    "log_beta_peak", "log_odds_density", "margins", "mean_blend", "mixup_points", "pair_rises", "record_path",
    "rise_slopes", "row_weights", "solve_rises", "solved", "stack", "stacked_loss", "StackedLoss", "unstack",
    "weight_at_offset",
}  # fmt: skip
FROM_THE_FLOOR = {"loss_floor_gap", "mixup_loss_floor", "soft_target_entropy"}
CONSTANTS = {"PREDICTED_RATES"}


MODULES = sorted(ROOM.rglob("*.py"))


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def defined_names() -> set[str]:
    names = set()
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                names.add(node.name)
    return names


def test_every_public_function_and_dataclass_is_exported_or_known_to_be_internal():
    assert defined_names() - set(theory.__all__) - INTERNAL == set()
    assert defined_names() >= INTERNAL
    assert set(theory.__all__) - defined_names() == FROM_THE_FLOOR | CONSTANTS


@pytest.mark.parametrize("name", theory.__all__)
def test_every_exported_name_is_what_it_says(name):
    value = getattr(theory, name)
    assert not isinstance(value, types.ModuleType)
    if name not in CONSTANTS:
        assert value.__name__ == name
        assert value.__doc__


def test_exported_names_are_listed_once_and_known_to_dir():
    assert len(set(theory.__all__)) == len(theory.__all__)
    assert set(theory.__all__) <= set(dir(theory))


def test_no_module_is_named_like_a_function_whose_place_it_would_take():
    assert {path.stem for path in MODULES} & set(theory.__all__) == set()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'mixup_faetures'"):
        theory.mixup_faetures  # noqa: B018


def test_importing_the_room_loads_no_solver_library():
    assert run_python("import sys, mixscope.theory; print({'scipy', 'torch'} & {*sys.modules})") == "set()"


def test_every_module_of_the_room_can_be_loaded_on_its_own():
    for path in MODULES:
        parts = path.relative_to(ROOM).with_suffix("").parts
        importlib.import_module(".".join(["mixscope.theory", *parts]).removesuffix(".__init__"))


def test_the_examples_in_the_guide_come_out_as_written():
    failures, examples = doctest.testfile(str(ROOT / "docs" / "theory.md"), module_relative=False)
    assert examples > 35
    assert failures == 0
