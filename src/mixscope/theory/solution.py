"""Solution of a solver: the value, how far off it is, and whether it converged."""

import warnings
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


class NotConvergedWarning(UserWarning):
    """A solver stopped before its tolerance; the solution it returned says why."""


@dataclass(frozen=True)
class Solution(Generic[Value]):
    """The answer of a solver, with its certificate.

    Attributes:
        value: The best value found.
        residual: How far the value is from satisfying its equation, at least 0; the solver says in which norm.
        iterations: Steps taken.
        is_converged: Whether the residual is within the solver's tolerance.
        reason: Why not, in one line; empty when it converged.
    """

    value: Value
    residual: float
    iterations: int
    is_converged: bool
    reason: str = ""


def solved(
    value: Value, *, residual: float, iterations: int, tolerance: float, solver: str, reason: str = ""
) -> Solution[Value]:
    """Return a solution that has converged if its residual is within the tolerance (NaN is not); warn if it has not.

    `solver` is the name that a warning gives; a `reason` says that it has not converged, whatever the residual.
    """
    if not reason and residual <= tolerance:
        return Solution(value, residual, iterations, True)
    reason = reason or f"the residual {residual:.3g} is above the tolerance {tolerance:.3g} after {iterations} steps"
    warnings.warn(f"{solver} did not converge: {reason}", NotConvergedWarning, stacklevel=3)
    return Solution(value, residual, iterations, False, reason)
