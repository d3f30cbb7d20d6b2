"""Findings on the lowest test error: which method ends with it, and whether that can be said at all."""

import math
from collections.abc import Sequence

from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import Finding, error_words, few_words

NUM_ENDS = 4  # methods that the brief form names
SEEDS_TO_COMPARE = 3  # with 2 + 2 seeds, ranges of equal methods part once in 3 comparisons; with 3 + 3 once in 10


def find_lowest(methods: Sequence[Method]) -> Finding | None:
    """Say which method ends with the lowest test error, and which others it beats.

    A method is beaten where both have at least 3 seeds and every seed of one ends below every seed of the other;
    anything inside the spread is said to be so. Methods measured on different data are not compared.
    """
    ends = {m.name: end for m in methods if (end := m.final("test/error")) is not None}
    if len(ends) < 2:
        return None
    if len(data_of(methods)) > 1:
        return Finding(
            "comparison", "", "different data", "The methods were measured on different data and are not compared."
        )
    nouns = {m.name: m.noun for m in methods}
    none_lowest, has, seeds = "No method can be said to end lowest", "ends at", "seeds"
    if all(m.is_measured for m in methods):
        none_lowest, has, seeds = "No checkpoint can be said to be lowest", "has", "checkpoints"
    name, lowest = min(ends.items(), key=lambda item: item[1].mean)
    others = {other: end for other, end in ends.items() if other != name}
    few = {other for other, end in others.items() if min(end.num_seeds, lowest.num_seeds) < SEEDS_TO_COMPARE}
    beaten = {other for other, end in others.items() if other not in few and lowest.high < end.low}

    def named(chosen: set[str]) -> str:
        return few_words(
            [f"{other}, {error_words(end, nouns[other])}" for other, end in others.items() if other in chosen], "; "
        )

    if not beaten:
        why = (
            f"with fewer than {SEEDS_TO_COMPARE} {seeds} a side the difference decides nothing"
            if few == set(others)
            else f"the difference lies inside the spread of the {seeds}"
        )
        return Finding(
            "comparison",
            "",
            "undecided",
            f"{none_lowest}: {name} {has} {error_words(lowest, nouns[name])}, against {named(set(others))}; {why}.",
            f"{none_lowest}: {_ends(ends)}; {why}.",
        )
    chance = min(math.comb(lowest.num_seeds + ends[other].num_seeds, lowest.num_seeds) // 2 for other in beaten)
    text = (
        f"{name} ends lowest, at {error_words(lowest, nouns[name])} test error, below {named(beaten)}: every "
        f"seed lies below every one of theirs (between two equal methods that happens once in {chance} comparisons)."
    )
    within = set(others) - beaten
    if within:
        text += f" From {named(within)} it cannot be told apart: inside the spread of the seeds, or too few seeds."
    return Finding("comparison", name, "lowest", text, f"{name} ends with the lowest test error: {_ends(ends)}.")


def find_changed_order(methods: Sequence[Method]) -> Finding | None:
    """Say so where the method that ends lowest is not the one whose best epoch is lowest."""
    curves = {m.name: curve for m in methods if len((curve := m.curve("test/error")).epochs) > 1}
    if len(curves) < 2 or len(data_of(methods)) > 1:
        return None
    best = {name: curve.end_minus_best.best.mean for name, curve in curves.items()}
    end = {name: curve.end_minus_best.rise.mean + best[name] for name, curve in curves.items()}
    first, last = min(best, key=best.__getitem__), min(end, key=end.__getitem__)
    if first == last:
        return None
    return Finding(
        "comparison",
        "",
        "order changes",
        f"The order depends on when one looks: at their best epochs {first} has the lowest mean "
        f"({100 * best[first]:.2f}%, {last} {100 * best[last]:.2f}%), at the end {last} has "
        f"({100 * end[last]:.2f}%, {first} {100 * end[first]:.2f}%). The best epochs were found with the test data.",
    )


def _ends(ends: dict[str, Spread]) -> str:
    """Return 'mixup 5.27% and erm 6.33%', lowest first, of many methods the first four."""
    ordered = sorted(ends.items(), key=lambda item: item[1].mean)
    return few_words([f"{name} {100 * end.mean:.2f}%" for name, end in ordered], limit=NUM_ENDS)


def data_of(methods: Sequence[Method]) -> set[tuple[object, object]]:
    """Return the (name, number of test examples) of the data sets the runs were measured on."""
    return {
        ((data := run.record.get("data") or {}).get("name"), data.get("num_test"))
        for method in methods
        for run in method.runs
    }
