"""What a page of theory is made of, before it is a file or a table in a terminal; and how its numbers are written."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mixscope.report.document import Chapter, Listing, write_document
from mixscope.report.runs.words import number_words
from mixscope.theory.solution import NotConvergedWarning, Solution


@dataclass(frozen=True)
class TheoryPage:
    """A page, and the tables of it that a terminal shows.

    Attributes:
        title: Of the page.
        lead: What it comes to.
        facts: What it was computed from, in small print.
        chapters: Text, figures and tables.
        tables: Titles and tables for the terminal.
    """

    title: str
    lead: str
    facts: str
    chapters: Sequence[Chapter]
    tables: Sequence[tuple[str, Listing]]


def write_theory_page(path: Path, page: TheoryPage) -> None:
    """Write the page as one HTML file, which appears whole or not at all.

    Args:
        path: Where to write; missing folders are made.
        page: What one of the `..._page` functions returned.
    """
    write_document(path, page.chapters, title=page.title, lead=page.lead, facts=page.facts)


def number(value: float, *, digits: int = 4) -> str:
    """Write a number in so many significant digits; infinity and what is undefined as signs.

    Example:
        >>> number(-0.99923), number(12345.0, digits=3), number(1.2e-6), number(float("inf")), number(float("nan"))
        ('−0.9992', '12,300', '1.2e−6', '∞', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = number_words(value, f".{digits}g")
    if "e+" in text and abs(value) < 1e6:
        return number_words(float(text.replace("−", "-")), ",.0f")
    return re.sub("e([+−])0", r"e\1", text)


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
