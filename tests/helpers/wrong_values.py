"""Wrong values for an argument, made from a right one: another type, shape, dtype, size, sign or NaN."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Of another kind than any argument's. `None` and a few more are added where the right value is not of their kind.
STRANGERS: dict[str, Any] = {
    "object": object(),
    "bytes": b"x",
    "complex": 1 + 2j,
    "set": {1},
    "numpy array": np.ones((3, 4)),
    "numpy of strings": np.array(["x"]),
    "type": int,
    "sparse": torch.eye(3).to_sparse(),
    "complex tensor": torch.ones(3, 3, dtype=torch.complex64),
}
NUMBERS: dict[str, Any] = {
    "text": "3",
    "true": True,
    "list of it": [3],
    "tensor": torch.ones(3),
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "1e9": 10**9,
    "1e12": 10**12,
    "1e400": 10**400,
    "1e308": 1e308,
    "1e-308": 1e-308,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}
TENSORS: dict[str, Callable[[Tensor], Any]] = {
    "number": lambda right: 3,
    "list": lambda right: right.tolist(),
    "array": lambda right: right.numpy(),
    "text": lambda right: "x",
    "no rows": lambda right: right[:0] if right.ndim else right,
    "one row less": lambda right: right[1:] if right.ndim else right,
    "one row": lambda right: right[:1] if right.ndim else right,
    "scalar": lambda right: right.flatten()[0],
    "flat": lambda right: right.flatten(),
    "one dimension more": lambda right: right[..., None],
    "one dimension before": lambda right: right[None],
    "transposed": lambda right: right.mT.contiguous() if right.ndim > 1 else right,
    "last column lost": lambda right: right[..., :-1] if right.ndim else right,
    "no columns": lambda right: right[..., :0] if right.ndim else right,
    "int64": lambda right: right.long(),
    "uint8": lambda right: right.to(torch.uint8),
    "float32": lambda right: right.float(),
    "float64": lambda right: right.double(),
    "float16": lambda right: right.half(),
    "bool": lambda right: right > 0.5,
    "negative": lambda right: -1 - right.abs() if right.dtype != torch.bool else right,
    "huge": lambda right: right * 10**9 if right.dtype != torch.bool else right,
    "1e300": lambda right: right.double() * 1e300,
    "nan": lambda right: _with(right.double(), math.nan),
    "inf": lambda right: _with(right.double(), math.inf),
    "-inf": lambda right: _with(right.double(), -math.inf),
    "zeros": torch.zeros_like,
    "needs a gradient": lambda right: right.double().clone().requires_grad_(),
}
SEQUENCES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "text": lambda right: "x",
    "number": lambda right: 3,
    "mapping": lambda right: {},
    "empty": lambda right: [],
    "nested": lambda right: [list(right)],
    "reversed": lambda right: list(reversed(right)),
    "twice": lambda right: [*right, *right],
    "of None": lambda right: [None, *right],
    "of text": lambda right: ["x", *right],
    "of objects": lambda right: [object()],
    "of nan": lambda right: [*right, math.nan],
    "of -1": lambda right: [*right, -1],
    "of 1e12": lambda right: [10**12] * max(1, len(right)),
    "of 1e400": lambda right: [10**400] * max(1, len(right)),
    "tensor": lambda right: torch.ones(3),
    "array": lambda right: np.ones(3),
    "generator": lambda right: (value for value in right),
}
MAPPINGS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "text": lambda right: "x",
    "list": list,
    "empty": lambda right: {},
    "other names": lambda right: {f"no {name}": value for name, value in right.items()},
    "of None": lambda right: dict.fromkeys(right),
    "of text": lambda right: dict.fromkeys(right, "x"),
    "of nan": lambda right: dict.fromkeys(right, math.nan),
    "of tensors": lambda right: dict.fromkeys(right, torch.ones(2, 2)),
    "of negative tensors": lambda right: dict.fromkeys(right, -torch.ones(3)),
    "numbered": lambda right: dict(enumerate(right.values())),
}
FUNCTIONS: dict[str, Any] = {
    "number": 3,
    "text": "x",
    "gives None": lambda *values, **named: None,
    "gives text": lambda *values, **named: "x",
    "gives nan": lambda *values, **named: math.nan,
    "gives a tensor": lambda *values, **named: torch.ones(2, 2),
    "gives tensors": lambda *values, **named: (torch.ones(2, 2), torch.ones(7)),
}
TEXTS: dict[str, Any] = {"empty": "", "unknown": "no such name", "number": 3, "list": ["x"], "tensor": torch.ones(3)}
BATCHES: dict[str, Any] = {
    "number": 3,
    "none at all": [],
    "of None": [None],
    "of tensors": [torch.ones(2, 1, 6, 6)],
    "of lists": [[[1.0], [0]]],
    "empty": [(torch.ones(0, 1, 6, 6), torch.zeros(0, dtype=torch.int64))],
    "labels too large": [(torch.ones(2, 1, 6, 6), torch.tensor([0, 99]))],
    "labels negative": [(torch.ones(2, 1, 6, 6), torch.tensor([0, -1]))],
    "labels float": [(torch.ones(2, 1, 6, 6), torch.ones(2))],
    "labels short": [(torch.ones(2, 1, 6, 6), torch.tensor([0]))],
    "nan": [(torch.full((2, 1, 6, 6), math.nan), torch.tensor([0, 1]))],
    "scalar inputs": [(torch.tensor(1.0), torch.tensor(1))],
}
GENERATORS: dict[str, Any] = {"none": None, "seed": 0, "text": "cpu", "type": torch.Generator, "tensor": torch.ones(1)}


def wrong_values(right: Any) -> dict[str, Any]:
    """Return values that may be wrong in the place of a right one, by a name for each."""
    of_its_kind: dict[str, Any]
    if isinstance(right, bool):
        of_its_kind = {"text": "yes", "2": 2, "tensor": torch.ones(3), "none": None}
    elif isinstance(right, (int, float)):
        of_its_kind = {**NUMBERS, "none": None}
    elif isinstance(right, Tensor):
        of_its_kind = {name: change(right) for name, change in TENSORS.items()} | {"none": None}
    elif isinstance(right, str):
        of_its_kind = {**TEXTS, "none": None}
    elif isinstance(right, Mapping):
        of_its_kind = {name: change(right) for name, change in MAPPINGS.items()} | {"none": None}
    elif isinstance(right, list) and right and isinstance(right[0], tuple):
        of_its_kind = {**BATCHES, "none": None}
    elif isinstance(right, (list, tuple)):
        of_its_kind = {name: change(right) for name, change in SEQUENCES.items()} | {"none": None}
    elif isinstance(right, nn.Module):
        of_its_kind = {"text": "x", "function": len, "no parameters": nn.Identity(), "none": None}
    elif callable(right):
        of_its_kind = {**FUNCTIONS, "none": None}
    else:
        of_its_kind = {"text": "x", "number": 3, "tensor": torch.ones(3), "list": [1], "none": None}
    strangers = {name: value for name, value in STRANGERS.items() if not (callable(right) and callable(value))}
    return of_its_kind | strangers


def _with(tensor: Tensor, value: float) -> Tensor:
    """Return a copy whose last entry is `value`."""
    changed = tensor.clone()
    changed.view(-1)[-1:] = value
    return changed
