"""Findings on pairs of checkpoints that predicted the same images: errors, loss and calibration in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixscope.report.page import Cell, Table
from mixscope.report.runs.words import Finding, number_words, span_words
from mixscope.stats.intervals import Interval
from mixscope.stats.paired import PairedComparison, holm

SURE = 0.05  # of p-values; after Holm's correction where there are several pairs
SMALLEST = 1e-4  # p-values below are only said to be
HOW = (
    "McNemar's exact test of the images that one alone gets wrong; intervals of the differences, second minus first, "
    "from resampling images, both checkpoints' answers together."
)


@dataclass(frozen=True)
class ComparedPair:
    """Two methods that predicted the same images, by their names on the page, and how the second differs.

    Attributes:
        by_labels: Whether the images are taken for the same because their labels are, in their order.
    """

    first: str
    second: str
    comparison: PairedComparison
    by_labels: bool = False


def find_pairs(pairs: Sequence[ComparedPair]) -> list[Finding]:
    """Say of each pair by how much the second's errors, loss and calibration error differ, and what is undecided."""
    corrected = holm([pair.comparison.p_value for pair in pairs])
    return [_finding(pair, p, num=len(pairs)) for pair, p in zip(pairs, corrected, strict=True)]


def pair_table(pairs: Sequence[ComparedPair]) -> Table | None:
    """Return the numbers behind those sentences, or None without pairs."""
    headings: list[str | Cell] = [
        Cell("second against first", meaning=HOW),
        *("images", "only first wrong", "only second wrong", "McNemar p"),
        *(["p after Holm"] if len(pairs) > 1 else []),
        *("loss", "ECE"),
    ]
    rows: list[list[str | Cell]] = []
    for pair, p in zip(pairs, holm([pair.comparison.p_value for pair in pairs]), strict=True):
        found = pair.comparison
        counts = (found.num_examples, found.only_first_wrong, found.only_second_wrong)
        p_values = [found.p_value, p][: 1 + (len(pairs) > 1)]
        rows.append(
            [
                Cell(pair.second, f"against {pair.first}"),
                *(f"{count:,}" for count in counts),
                *(_p_words(value) for value in p_values),
                *(
                    Cell(number_words(each.value, "+.4f"), f"[{number_words(each.low, '.4f')}, {_end(each)}]")
                    for each in (found.loss, found.ece)
                ),
            ]
        )
    return Table(headings, rows) if rows else None


def _end(interval: Interval) -> str:
    return number_words(interval.high, ".4f")


def _finding(pair: ComparedPair, corrected: float, *, num: int) -> Finding:
    found, first, second = pair.comparison, pair.first, pair.second
    fewer, is_sure = found.only_first_wrong - found.only_second_wrong, corrected < SURE
    p = f"McNemar's exact p {_p_words(found.p_value, sign='= ')}"
    if num > 1:
        p += f", {_p_words(corrected)} after Holm's correction for {num} comparisons"
    errors = f"{100 * found.second_error:.2f}% against {100 * found.first_error:.2f}%"
    if fewer:
        count = f"{abs(fewer):,} {'fewer' if fewer > 0 else 'more'} of {found.num_examples:,} images than {first}"
    else:
        count = f"as many of {found.num_examples:,} images as {first}"
    says = f"{second} errs on {count} ({errors}; {p}{'' if is_sure else ': undecided'})"
    text = f"{says}; its loss is {_difference(found.loss)}, its ECE {_difference(found.ece)}."
    if pair.by_labels:
        text += " The images are taken for the same because their labels are, in their order."
    verdict = "undecided" if not is_sure else "better" if fewer > 0 else "worse"
    return Finding("pairs", second, verdict, text, f"{says}.", abs(fewer))


def _difference(interval: Interval) -> str:
    """Return '0.021 lower (95% interval 0.008 to 0.034)', the interval turned the same way, and whether it is open."""
    is_lower = interval.value < 0
    ends = (-interval.high, -interval.low) if is_lower else (interval.low, interval.high)
    is_open = interval.low <= 0 <= interval.high
    size = number_words(abs(interval.value), ".3f")
    span = f"95% interval {span_words(*ends, '.3f')}{': undecided' if is_open else ''}"
    return f"{size} {'lower' if is_lower else 'higher'} ({span})"


def _p_words(p: float, *, sign: str = "") -> str:
    """Return a p-value in two digits, or in as many as tell on which side of `SURE` it lies."""
    if p < SMALLEST:
        return f"< {SMALLEST:.4f}"
    shown = [f"{p:.{digits}g}" for digits in (2, 3, 4, 17)]
    return sign + next((words for words in shown if float(words) != SURE), shown[0])
