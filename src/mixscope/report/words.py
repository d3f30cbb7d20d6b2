"""A finding, and how numbers over seeds are put into words."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixscope.report.groups import Spread


@dataclass(frozen=True)
class Finding:
    """One sentence or two about the runs.

    Attributes:
        topic: "over-training", "comparison", "calibration", "channels" or "layers".
        method: The method it is about, or "" where it is about all.
        verdict: The rule's outcome in a word or two.
        text: The sentence, with its numbers.
        brief: The same in few words, for the head of the page; "" if it does not belong there.
    """

    topic: str
    method: str
    verdict: str
    text: str
    brief: str = ""


def number_words(value: float, form: str) -> str:
    """Return the number in this format with a proper minus sign, and no sign on a zero."""
    text = format(value, form)
    if text.startswith("-"):
        text = f"−{text[1:]}" if text.strip("-0.%") else text[1:]
    return text


def range_words(spread: Spread, form: str) -> str:
    """Return '0.075 to 0.080', or nothing where the seeds do not differ in these digits."""
    low, high = number_words(spread.low, form), number_words(spread.high, form)
    return "" if low == high else f"{low} to {high}"


def spread_words(spread: Spread, form: str, unit: str = "") -> str:
    """Return '0.077 (0.075 to 0.080)', or the number alone where the seeds do not differ."""
    mean, span = f"{number_words(spread.mean, form)}{unit}", range_words(spread, form)
    return f"{mean} ({span})" if span else mean


def error_words(error: Spread) -> str:
    """Return '5.40% (5.10 to 5.80, 3 seeds)'."""
    percent = Spread(tuple(100 * value for value in error.values))
    span = range_words(percent, ".2f")
    seeds = "one seed" if error.num_seeds == 1 else f"{error.num_seeds} seeds"
    return f"{number_words(percent.mean, '.2f')}% ({f'{span}, ' if span else ''}{seeds})"


def join_words(words: Sequence[str], separator: str = ", ") -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    return words[0] if len(words) == 1 else f"{separator.join(words[:-1])} and {words[-1]}"
