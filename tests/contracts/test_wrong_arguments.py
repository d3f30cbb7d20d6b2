"""The door of the package: a wrong argument of a public function ends in a `ValueError` that names it."""

import ast
import importlib
import inspect
import math
import random
import resource
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import GeneratorType

import pytest
import torch
from helpers.valid_calls import CALLS, GENERATOR, Call
from helpers.wrong_values import GENERATORS, wrong_values

import mixscope
from mixscope import measuring, theory

SOURCE = Path(__file__).parents[2] / "src" / "mixscope"
CALLS_EACH = 8  # wrong calls of a public function, of some eighty: over 1,800 in all
HEADROOM = 2 << 30  # bytes that a wrong call may ask for

# Modules whose every public function and class is documented: where arguments are checked at the door. Of the rooms not
# named here, what `__all__` names.
ROOMS = ("base/simplex.py", "capturing/*.py", "mixing/*.py", "metrics/**/*.py", "integrations/**/*.py")
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for pattern in ROOMS
    for path in SOURCE.glob(pattern)
    if "import checked" in path.read_text()
)
# What other modules share: called with arguments that are checked already.
SHARED = {
    "check_not_empty", "check_output", "draw_for_inputs", "check_targets", "check_batch",
    "draw_members", "draw_mixture", "spans_plane", "Mixture.check_fits",
    "check_every_class", "check_head", "split_label", "example_scores", "binned_gaps",
    "CenteredMeans.of", "BinnedCalibration", "ClassSums", "single_precision",
}  # fmt: skip
# Called by Lightning, torchmetrics and transformers, not by users.
CALLED_BY_FRAMEWORKS = (
    "forward",
    "make_of",
    "load_state_dict",
    "on_fit_start",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_epoch_end",
    "on_train_end",
    "on_validation_start",
    "on_validation_batch_start",
    "on_exception",
    "on_train_batch_start",
    "on_train_begin",
    "on_epoch_begin",
    "on_evaluate",
    "on_epoch_end",
    "__call__",
    "plot",
)


def is_called(full: str, name: str) -> bool:
    return full == name or full.endswith(f".{name}")


def is_shared(full: str) -> bool:
    return any(is_called(full, name) for name in SHARED)


def short(function) -> str:
    return f"{function.__module__}.{function.__qualname__}".removeprefix("mixscope.")


def public_objects():
    """Every public function and class, by its home and name."""
    found = [
        value
        for name in MODULES
        for value in vars(importlib.import_module(f"mixscope.{name}")).values()
        if getattr(value, "__module__", "") == f"mixscope.{name}"
    ]
    for room in (mixscope, theory, measuring):
        found += [getattr(room, name) for name in room.__all__]
    return {short(value): value for value in found if inspect.isfunction(value) or inspect.isclass(value)}


def takes_arguments(function) -> bool:
    return len(inspect.signature(function).parameters) > ("." in function.__qualname__)


def expected_names():
    """Names of public functions, methods and constructors that take arguments."""
    for name, value in public_objects().items():
        if name.rpartition(".")[2].startswith("_"):
            continue
        if inspect.isfunction(value):
            if takes_arguments(value):
                yield name
            continue
        if hasattr(value.__init__, "__wrapped__"):  # results are made by the library: no constructor is checked
            yield name
        if getattr(value, "_is_protocol", False):  # for users to write
            continue
        for method_name, method in vars(value).items():
            if name.startswith("integrations.") and method_name in CALLED_BY_FRAMEWORKS:
                continue
            method = inspect.unwrap(getattr(method, "__func__", method))
            is_public = not method_name.startswith("_") or method_name == "__call__"
            if inspect.isfunction(method) and is_public and takes_arguments(method):
                yield f"{name}.{method_name}"


def wrong_of(call: Call) -> list[tuple[str, str]]:
    """Pairs of an argument and the name of a wrong value for it."""
    return [(argument, name) for argument in call.arguments for name in wrongs(call, argument)]


def wrongs(call: Call, argument: str) -> dict[str, object]:
    right = call.arguments[argument]
    return GENERATORS if right is GENERATOR else wrong_values(right)


def run(call: Call, **changes) -> object:
    """Call with some arguments changed; go through what is lazy."""
    arguments = {
        name: torch.Generator().manual_seed(1) if value is GENERATOR else value
        for name, value in (call.arguments | changes).items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what does not converge says so
        result = call.make()(**arguments)
        if isinstance(result, GeneratorType):
            return list(result)
        if isinstance(result, AbstractContextManager):
            with result:
                pass
        return result


def complaint(call: Call, argument: str, wrong: object, *, must_refuse: bool = False) -> str:
    """Say what is wrong with the answer to a wrong argument; nothing if nothing is."""
    state = torch.get_rng_state()
    try:
        run(call, **{argument: wrong})
        problem = "was taken" if must_refuse else ""
    except ValueError as error:
        problem = "" if argument in str(error) and "\n" not in str(error) else f"said: {error}"
    except Exception as error:
        problem = f"ended in {type(error).__name__}: {error}"
    if not torch.equal(torch.get_rng_state(), state):
        problem += " and changed the global random state"
    return problem and f"{argument} = {wrong!r:.60} {problem}"


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch) -> None:
    """What takes any text for a path writes here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """What asks for gigabytes fails instead of getting them."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = Path("/proc/self/statm")
    if used.exists():
        size = int(used.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + HEADROOM, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@cache
def names_of_calls() -> frozenset[str]:
    return frozenset(call.name.removeprefix("mixscope.") for call in CALLS)


EACH_CALL = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name.removeprefix("mixscope."))


def test_every_public_function_has_a_valid_call():
    assert sorted(name for name in set(expected_names()) - names_of_calls() if not is_shared(name)) == []


def test_everything_that_is_shared_exists():
    assert [name for name in SHARED if not any(is_called(found, name) for found in expected_names())] == []


@EACH_CALL
def test_a_valid_call_is_valid_and_leaves_the_global_random_state_alone(call):
    state = torch.get_rng_state()
    run(call)
    assert torch.equal(torch.get_rng_state(), state)


@EACH_CALL
def test_a_wrong_argument_is_named_or_taken_for_what_it_is(call):
    chosen = random.Random(call.name)
    pairs = chosen.sample(wrong_of(call), min(CALLS_EACH, len(wrong_of(call))))
    assert [text for pair in pairs if (text := complaint(call, pair[0], wrongs(call, pair[0])[pair[1]]))] == []


@EACH_CALL
def test_what_is_no_argument_at_all_is_refused_for_every_argument(call):
    assert [text for name in call.arguments if (text := complaint(call, name, object(), must_refuse=True))] == []


# Values that may be missing: a statistic that could not be computed.
NAN_IS_KNOWN = {
    ("accuracy", "is_constant_classifier"),
    ("spread", "is_constant_classifier"),
    ("gain", "FiniteLaw.nodes"),
}


@EACH_CALL
def test_nan_is_refused_for_every_number(call):
    numbers = [name for name, right in call.arguments.items() if isinstance(right, (int, float))]
    numbers = [name for name in numbers if not any((name, end) in NAN_IS_KNOWN for end in _ends(call.name))]
    assert [text for name in numbers if (text := complaint(call, name, math.nan, must_refuse=True))] == []


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [parts[-1], ".".join(parts[-2:])]


@pytest.mark.parametrize("wrong", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize(
    "call", [call for call in CALLS if GENERATOR in call.arguments.values()], ids=lambda call: call.name
)
def test_only_a_generator_on_the_cpu_is_taken_for_one(call, wrong):
    assert complaint(call, "generator", wrong, must_refuse=True) == ""


def test_no_function_takes_a_generator_unchecked():
    # The one of `MixingScheme` is for users to write.
    unchecked = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if any(argument.arg == "generator" for argument in (*node.args.args, *node.args.kwonlyargs))
        if not any(isinstance(mark, ast.Name) and mark.id == "checked" for mark in node.decorator_list)
    ]
    assert unchecked == ["mixing/schemes.py: draw"]
