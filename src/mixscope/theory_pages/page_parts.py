"""Parts of theory's pages: numbers in words, levels to hold lines against, what did not converge."""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mixscope.report.figures.line_figure import Line
from mixscope.report.runs.words import number_words
from mixscope.theory.solution import NotConvergedWarning, Solution


def number(value: float, *, digits: int = 4) -> str:
    """Write a number in so many significant digits; infinity and what is undefined as signs."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = number_words(value, f".{digits}g")
    if "e+" in text and abs(value) < 1e6:
        return number_words(float(text.replace("−", "-")), ",.0f")
    return re.sub("e([+−])0", r"e\1", text)


def numbers(values: Iterable[float], *, digits: int = 4) -> list[str]:
    """Write several, as `number` does."""
    return [number(value, digits=digits) for value in values]


def level(name: str, ends: Sequence[float], value: float) -> Line:
    """Return a level line over a range of x, to hold others against."""
    return Line(name, [ends[0], ends[-1]], [value, value], is_reference=True)


@contextmanager
def told_on_the_page() -> Iterator[None]:
    """Silence the warnings of solvers that stopped early, where the page says so itself: see `shortcomings`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        yield


def shortcomings(**solutions: Solution) -> list[str]:
    """Return a sentence for every solution that did not converge."""
    return [
        f"Not converged: {name.replace('_', ' ')}: {solution.reason}."
        for name, solution in solutions.items()
        if not solution.is_converged
    ]
