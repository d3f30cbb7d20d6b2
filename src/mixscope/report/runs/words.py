"""Words of a finding: numbers over seeds, and lists of names."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixscope.report.runs.spread import Spread

HUGE = 1e9  # numbers from here on are not written out


@dataclass(frozen=True)
class Finding:
    """One sentence or two about the runs.

    Attributes:
        topic: One of the topics in sections.toml.
        method: The one it is about, or "" where it is about all.
        verdict: The rule's outcome in a word or two.
        text: The sentence, with its numbers.
        brief: The same in few words, for the head of the page; "" if it does not belong there.
        size: How large the effect is; of one topic the head of the page has the largest first.
    """

    topic: str
    method: str
    verdict: str
    text: str
    brief: str = ""
    size: float = 0.0


def number_words(value: float, form: str) -> str:
    """Return the number in this format with proper minus signs, no sign on a zero, and huge ones with an exponent."""
    text = format(value, form.replace("f", "g") if abs(value) >= HUGE else form)
    if not text.strip("+-0.%"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def range_words(spread: Spread, form: str) -> str:
    """Return '0.075 to 0.080', or nothing where the seeds do not differ in these digits."""
    low, high = number_words(spread.low, form), number_words(spread.high, form)
    return "" if low == high else f"{low} to {high}"


def span_words(low: float, high: float, form: str) -> str:
    """Return '−0.01 to 0.03'."""
    return f"{number_words(low, form)} to {number_words(high, form)}"


def spread_words(spread: Spread, form: str, unit: str = "") -> str:
    """Return '0.077 (0.075 to 0.080)', or the number alone where the seeds do not differ."""
    mean, span = f"{number_words(spread.mean, form)}{unit}", range_words(spread, form)
    return f"{mean} ({span})" if span else mean


def error_words(error: Spread, noun: str = "seed") -> str:
    """Return '5.40% (5.10 to 5.80, 3 seeds)'."""
    percent = error.times(100)
    span, seeds = range_words(percent, ".2f"), counted(error.num_seeds, noun)
    return f"{number_words(percent.mean, '.2f')}% ({f'{span}, ' if span else ''}{seeds})"


def interval_words(spread: Spread, form: str) -> str:
    """Return '[0.075, 0.080]', Student's 95% interval; nothing of one seed, or where both ends have these digits."""
    if spread.interval is None:
        return ""
    low, high = (number_words(end, form) for end in spread.interval)
    return "" if low == high else f"[{low}, {high}]"


def counted(number: int, noun: str) -> str:
    """Return 'one seed' or '1,437 seeds'."""
    return f"one {noun}" if number == 1 else f"{number:,} {noun}s"


def join_words(words: Sequence[str], separator: str = ", ") -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    return words[0] if len(words) == 1 else f"{separator.join(words[:-1])} and {words[-1]}"


def few_words(words: Sequence[str], separator: str = ", ", *, limit: int = 6) -> str:
    """Join words as `join_words` does, but at most `limit` of them: 'a, b and 38 more'."""
    hidden = len(words) - limit
    return join_words([*words[:limit], f"{hidden} more"] if hidden > 0 else words, separator)
