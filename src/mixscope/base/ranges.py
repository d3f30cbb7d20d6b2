"""Ranges of options: the numbers that work stand once, beside the option; everything else is refused there."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_type_hints

from mixscope.base.errors import UserError


@dataclass(frozen=True)
class Range:
    """The numbers an option may be, as `Annotated[float, Range(0, 1)]`; each number of a tuple, and None besides.

    From `low` to `high`, but those of the two in `excludes`.
    """

    low: float
    high: float
    excludes: tuple[float, ...] = ()

    def __contains__(self, value: float) -> bool:
        """Return whether the number works (NaN does not)."""
        return self.low <= value <= self.high and value not in self.excludes

    def __str__(self) -> str:
        """Return the range in words."""
        without = f" ({' and '.join(f'{value:.10g}' for value in self.excludes)} excluded)" if self.excludes else ""
        return f"between {self.low:.10g} and {self.high:.10g}{without}"


ALPHAS = Range(1e-3, 1e4)  # concentrations of Beta and Dirichlet laws whose draws are neither all corners nor all equal
SEEDS = Range(0, 2**62)
COUNTS = Range(1, 10**9)
EPOCHS = Range(1, 10**6)


def check_ranges(options: object) -> None:
    """Raise a `UserError` unless every number of a dataclass of options lies in the range of its annotation."""
    for name, limits in _ranges(type(options)).items():  # type: ignore[arg-type]
        given = getattr(options, name)
        for value in given if isinstance(given, tuple) else (given,):
            if isinstance(value, (int, float)) and value not in limits:
                words = f"{value:.10g}" if isinstance(value, float) else str(value)
                raise UserError(f"{name.replace('_', '-')} must lie {limits}, got {words}")


@cache
def _ranges(kind: type[Any]) -> dict[str, Range]:
    hints = get_type_hints(kind, include_extras=True)
    found = {item.name: getattr(hints[item.name], "__metadata__", ()) for item in fields(kind)}
    return {name: part for name, metadata in found.items() for part in metadata if isinstance(part, Range)}
