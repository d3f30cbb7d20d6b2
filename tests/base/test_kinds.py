"""The decorator of public functions: what counts as which kind, what it says, and that it changes nothing else."""

import copy
import inspect
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mixscope
from mixscope.base.kinds import checked
from mixscope.mixing.mixture import Mixture, blend


@checked
@dataclass(frozen=True)
class Point:
    x: float
    names: tuple[str, ...] = ()


@checked
def everything(
    tensor: Tensor,
    count: int = 1,
    *,
    size: float = 1.0,
    is_on: bool = False,
    name: str = "x",
    word: Literal["a", "b"] = "a",
    maybe: Tensor | None = None,
    weight: Tensor | float = 0.5,
    counts: Sequence[int] = (),
    rows: Sequence[Sequence[float]] = (),
    three: tuple[int, int, int] = (0, 1, 2),
    shares: Mapping[str, float] | None = None,
    function: Callable[[int], int] = abs,
    batches: Iterable[Tensor] = (),
    model: nn.Module | None = None,
    point: Point | None = None,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> str:
    """Say that all is well."""
    return "taken"


ONES = torch.ones(2)
MIXTURE = Mixture(torch.tensor([[0, 1], [1, 0]]), torch.full((2, 2), 0.5))


@pytest.mark.parametrize(
    "arguments",
    [
        {"count": np.int64(3)},
        {"size": 1},
        {"size": np.float32(0.5)},
        {"size": np.int64(1)},
        {"size": float("nan")},
        {"is_on": np.bool_(True)},
        {"tensor": nn.Parameter(ONES)},
        {"weight": 1},
        {"weight": ONES},
        {"counts": range(3)},
        {"counts": [np.int64(1)]},
        {"rows": [[0.5, 1], (2, 3)]},
        {"three": [1, 2, 3]},
        {"batches": iter([])},
        {"model": nn.Linear(1, 1)},
        {"point": Point(1.0)},
        {"device": torch.device("cpu")},
        {"generator": torch.Generator()},
    ],
    ids=", ".join,
)
def test_what_is_of_its_kind_is_taken(arguments):
    assert everything(**({"tensor": ONES} | arguments)) == "taken"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tensor": np.ones((2, 3))}, "tensor must be a torch.Tensor, got a numpy array of shape (2, 3): pass"),
        ({"tensor": [1.0, 2.0]}, "tensor must be a torch.Tensor, got [1.0, 2.0]: pass torch.as_tensor(tensor)"),
        ({"tensor": None}, "tensor must be a torch.Tensor, got None"),
        ({"tensor": ONES.to_sparse()}, "tensor must be a torch.Tensor, got a tensor of torch.float32 and shape (2,) ("),
        ({"tensor": 1j * ONES}, "tensor must be a torch.Tensor, got a tensor of torch.complex64 and shape (2,)"),
        ({"count": True}, "count must be an integer, got True"),
        ({"count": 1.0}, "count must be an integer, got 1.0"),
        ({"count": ONES}, "count must be an integer, got a tensor of torch.float32 and shape (2,)"),
        ({"count": 2**63}, "count must be an integer, got 9223372036854775808, which 64 bits cannot hold"),
        ({"size": "1"}, "size must be a number, got '1'"),
        ({"size": False}, "size must be a number, got False"),
        ({"size": 10**400}, "size must be a number, got 1000"),
        ({"is_on": 1}, "is_on must be True or False, got 1"),
        ({"name": b"x"}, "name must be a string, got b'x'"),
        ({"word": "c"}, "word must be one of a, b, got 'c'"),
        ({"maybe": 1.0}, "maybe must be a torch.Tensor or None, got 1.0"),
        ({"weight": "x"}, "weight must be a torch.Tensor or a number, got 'x'"),
        ({"counts": [1, 2.5]}, "counts must be a sequence of integers, got [1, 2.5]"),
        ({"counts": ONES}, "counts must be a sequence of integers, got a tensor"),
        ({"counts": "12"}, "counts must be a sequence of integers, got '12'"),
        ({"rows": [1.0]}, "rows must be a sequence of sequences of numbers, got [1.0]"),
        ({"three": (1, 2)}, "three must be a sequence of 3 integers, got (1, 2)"),
        ({"shares": {1: 0.5}}, "shares must be a mapping of strings to numbers or None, got {1: 0.5}"),
        ({"shares": {"a": None}}, "shares must be a mapping of strings to numbers or None, got {'a': None}"),
        ({"function": 3}, "function must be a function, got 3"),
        ({"batches": 3}, "batches must be an iterable, got 3"),
        ({"model": abs}, "model must be a torch.nn.Module or None, got a builtin_function_or_method"),
        ({"point": (1.0,)}, "point must be a Point or None, got (1.0,)"),
        ({"device": "gpu"}, 'device must be a device such as "cpu" or "cuda:0", got \'gpu\''),
        ({"generator": 0}, "generator must be a torch.Generator on the CPU or None, got 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else ", ".join(value),
)
def test_what_is_not_is_refused_by_name_on_one_line(arguments, message):
    with pytest.raises(ValueError, match="must be") as raised:
        everything(**({"tensor": ONES} | arguments))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_arguments_without_names_are_checked_too():
    with pytest.raises(ValueError, match="count must be an integer, got 'x'"):
        everything(ONES, "x")


def test_a_name_that_does_not_exist_is_python_s_own_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'tensr'"):
        everything(tensr=ONES)


def test_constructors_and_methods_are_checked_and_copies_of_objects_work():
    with pytest.raises(ValueError, match="x must be a number, got 'a'"):
        Point("a")
    with pytest.raises(ValueError, match="names must be a sequence of strings, got 'ab'"):
        replace(Point(1.0), names="ab")
    point = Point(1.0, names=("a",))
    assert pickle.loads(pickle.dumps(point)) == copy.deepcopy(point) == point
    assert repr(point) == "Point(x=1.0, names=('a',))"


def test_signature_name_and_docstring_are_those_of_the_function():
    assert list(inspect.signature(mixscope.blend).parameters) == ["values", "mixture"]
    assert list(inspect.signature(mixscope.Mixup).parameters) == ["alpha", "num_points", "per_example"]
    assert everything.__name__ == "everything"
    assert everything.__doc__ == "Say that all is well."


def test_a_compiled_step_that_blends_stays_one_graph():
    def step(values: Tensor) -> Tensor:
        return 2 * blend(values, MIXTURE)

    values = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    assert torch.equal(torch.compile(step, backend="eager", fullgraph=True)(values), step(values))


def test_a_network_that_blends_is_exported():
    class Net(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return blend(values, MIXTURE)

    exported = torch.export.export(Net(), (torch.ones(2, 3),))
    assert torch.equal(exported.module()(torch.ones(2, 3)), torch.ones(2, 3))
