"""Findings on methods against one another: which ends with the lowest test error, whose layers bend more."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from mixscope.report.figures.layer_figure import layer_spread, linearity_sites
from mixscope.report.runs.confidence_findings import share_error
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import Finding, error_words, few_words, span_words, spread_words
from mixscope.stats.intervals import difference_interval, student_quantile

NUM_ENDS = 4  # methods that the brief form names
SEEDS_TO_COMPARE = 3  # with 2 + 2 seeds, ranges of equal methods part once in 3 comparisons; with 3 + 3 once in 10
JUDGED = {  # smaller differences between layers are rounding, not bending; how they are said
    "relative_defect": (0.01, "relative defect", ".3f", ""),
    "angle_degrees": (0.5, "angle", ".1f", "°"),
}
Pair = tuple[Spread, Spread]  # of the method and of plain training


def find_lowest(methods: Sequence[Method], *, paired: Collection[str] = ()) -> list[Finding]:
    """Say which method ends with the lowest test error, of those measured on the same data, and which others it beats.

    Data on which all methods are among `paired`, which were compared image by image, are passed over. A method is
    beaten where both have at least 3 seeds and every seed of one ends below every seed of the other; anything inside
    the spread is said to be so, with the interval of the difference to the next.
    """
    groups = by_data([method for method in methods if method.final("test/error") is not None])
    found = [
        _on_data(finding, group, of=groups)
        for group in groups
        if not {method.name for method in group} <= set(paired) and (finding := _lowest(group)) is not None
    ]
    if not found and len(groups) > 1 and not paired:
        text = "The methods were measured on different data and are not compared."
        return [Finding("comparison", "", "different data", text)]
    return found


def by_data(methods: Sequence[Method]) -> list[list[Method]]:
    """Group methods by the data they were measured on, in the order in which the data appear."""
    groups: dict[frozenset[tuple[object, object]], list[Method]] = {}
    for method in methods:
        groups.setdefault(frozenset(data_of([method])), []).append(method)
    return list(groups.values())


def _on_data(finding: Finding, group: Sequence[Method], *, of: Sequence[Sequence[Method]]) -> Finding:
    """Return the finding with the data's name before it, where there are several."""
    if len(of) == 1:
        return finding
    name, num_test = next(iter(data_of(group)))
    names = [next(iter(data_of(other)))[0] for other in of]
    where = f"On {name}" + (f" ({num_test} test images)" if names.count(name) > 1 else "")
    return replace(finding, text=f"{where}: {finding.text}", brief=finding.brief and f"{where}: {finding.brief}")


def _lowest(methods: Sequence[Method]) -> Finding | None:
    ends = {m.name: end for m in methods if (end := m.final("test/error")) is not None}
    if len(ends) < 2:
        return None
    nouns = {m.name: m.noun for m in methods}
    none_lowest, has, seeds = "No method can be said to end lowest", "ends at", "seeds"
    if all(m.is_measured for m in methods):
        none_lowest, has, seeds = "No checkpoint can be said to be lowest", "has", "checkpoints"
    name, lowest = min(ends.items(), key=lambda item: item[1].mean)
    others = {other: end for other, end in ends.items() if other != name}
    few = {other for other, end in others.items() if min(end.num_seeds, lowest.num_seeds) < SEEDS_TO_COMPARE}
    beaten = {other for other, end in others.items() if other not in few and lowest.high < end.low}

    def named(chosen: set[str]) -> str:
        words = [f"{other}, {error_words(end, nouns[other])}" for other, end in others.items() if other in chosen]
        return few_words(words, "; ")

    if not beaten:
        why = f"the difference lies inside the spread of the {seeds}"
        if few == set(others):
            why = f"with fewer than {SEEDS_TO_COMPARE} {seeds} a side the difference decides nothing"
        why += _difference_words(methods, name, min(others, key=lambda other: others[other].mean))
        text = f"{none_lowest}: {name} {has} {error_words(lowest, nouns[name])}, against {named(set(others))}; {why}."
        return Finding("comparison", "", "undecided", text, f"{none_lowest}: {_ends(ends)}; {why}.")
    chance = min(math.comb(lowest.num_seeds + ends[other].num_seeds, lowest.num_seeds) // 2 for other in beaten)
    text = (
        f"{name} ends lowest, at {error_words(lowest, nouns[name])} test error, below {named(beaten)}: every "
        f"seed lies below every one of theirs (between two equal methods that happens once in {chance} comparisons)."
    )
    if within := set(others) - beaten:
        text += f" From {named(within)} it cannot be told apart: inside the spread of the seeds, or too few seeds."
    return Finding("comparison", name, "lowest", text, f"{name} ends with the lowest test error: {_ends(ends)}.")


def _difference_words(methods: Sequence[Method], lowest: str, next_lowest: str) -> str:
    """Return the 95% interval of the difference of two methods' errors: over seeds, else over separate test images."""
    first, second = (next(m for m in methods if m.name == name) for name in (lowest, next_lowest))
    ends, num_test = [method.final("test/error") for method in (first, second)], first.data.get("num_test")
    spreads = [end for end in ends if end is not None]
    if min(end.num_seeds for end in spreads) > 1:
        low, high = (100 * end for end in difference_interval(*(end.values for end in spreads)))
    elif isinstance(num_test, int) and num_test > 0:
        difference = spreads[1].mean - spreads[0].mean
        margin = student_quantile(num_test) * math.hypot(*(share_error(end.mean, num_test) for end in spreads))
        low, high = 100 * (difference - margin), 100 * (difference + margin)
    else:
        return ""
    of = "" if len(methods) == 2 else f" of {next_lowest}"
    return f" (95% interval of the difference{of} {span_words(low, high, '+.2f')} points)"


def find_changed_order(methods: Sequence[Method]) -> list[Finding]:
    """Say so where the method that ends lowest is not the one whose best epoch is lowest, of those on the same data."""
    groups = by_data([method for method in methods if len(method.curve("test/error").epochs) > 1])
    return [_on_data(found, group, of=groups) for group in groups if (found := _changed_order(group)) is not None]


def _changed_order(methods: Sequence[Method]) -> Finding | None:
    curves = {m.name: curve for m in methods if len((curve := m.curve("test/error")).epochs) > 1}
    if len(curves) < 2:
        return None
    best = {name: curve.end_minus_best.best.mean for name, curve in curves.items()}
    end = {name: curve.end_minus_best.rise.mean + best[name] for name, curve in curves.items()}
    first, last = min(best, key=best.__getitem__), min(end, key=end.__getitem__)
    if first == last:
        return None
    text = (
        f"The order depends on when one looks: at their best epochs {first} has the lowest mean "
        f"({100 * best[first]:.2f}%, {last} {100 * best[last]:.2f}%), at the end {last} has "
        f"({100 * end[last]:.2f}%, {first} {100 * end[first]:.2f}%). The best epochs were found with the test data."
    )
    return Finding("comparison", "", "order changes", text)


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


def find_bending(methods: Sequence[Method]) -> list[Finding]:
    """Say whether mixing bends or straightens layers, against the one method that never mixed (Chaudhry et al. 2022).

    A layer is bent more where both the relative defect and the angle are higher, by more than 0.01 and 0.5 degrees and,
    with two or more seeds a side, with every seed above every one of the other's; straightened where both are lower in
    the same way. The nonlinearity alone decides nothing: its floor moves with the spread of the classes.
    """
    references = [method for method in methods if method.never_mixed and linearity_sites([method])]
    if len(references) != 1:
        return []
    found = [_compare_layers(method, references[0]) for method in methods if method is not references[0]]
    return [finding for finding in found if finding is not None]


def _compare_layers(method: Method, reference: Method) -> Finding | None:
    """Compare the layers that both methods measured."""
    known = set(linearity_sites([reference]))
    layers: dict[str, list[Pair]] = {}
    for site in (site for site in linearity_sites([method]) if site in known):
        pairs = [pair for quantity in JUDGED if (pair := _pair(site, quantity, method, reference))]
        if len(pairs) == len(JUDGED):
            layers[site] = pairs
    if not layers:
        return None
    signs = {}
    for site, pairs in layers.items():
        sides = {_apart(*pair, least) for pair, (least, *_) in zip(pairs, JUDGED.values(), strict=True)}
        signs[site] = sides.pop() if len(sides) == 1 else 0
    bent, straight = (sum(sign == side for sign in signs.values()) for side in (1, -1))
    if bent and straight:
        verdict, says = "mixed", f"bends {bent} and straightens {straight} of {len(signs)} layers"
    elif bent or straight:
        verdict = "bends" if bent else "straightens"
        says = f"{verdict} {bent or straight} of {len(signs)} layers"
    else:
        verdict, says = "no clear change", f"neither bends nor straightens any of {len(signs)} layers clearly"
    clear = [site for site, sign in signs.items() if sign] or list(signs)
    site = max(clear, key=lambda name: abs(layers[name][0][0].mean - layers[name][0][1].mean))
    changes = "; ".join(
        f"{label} {spread_words(ours, form, unit)} against {spread_words(plain, form, unit)}"
        for (ours, plain), (_, label, form, unit) in zip(layers[site], JUDGED.values(), strict=True)
    )
    text = f"{method.name} {says} compared with {reference.name}, by relative defect and angle together."
    text += f" The largest change is at {site}: {changes}.{_floor_words(site, method, reference)}"
    return Finding("layers", method.name, verdict, text)


def _floor_words(site: str, method: Method, reference: Method) -> str:
    """Say how much of the difference in nonlinearity at a site is the floor's."""
    levels = _pair(site, "nonlinearity", method, reference)
    floors = _pair(site, "floor", method, reference)
    if levels is None or floors is None:
        return ""
    (ours, plain), (floor, plain_floor) = ([spread.mean for spread in pair] for pair in (levels, floors))
    text = f" Its nonlinearity there is {ours:.3f} against {plain:.3f}, its floor {floor:.3f} against {plain_floor:.3f}"
    change, floor_change = ours - plain, floor - plain_floor
    if abs(change) > 0.005 and 0 <= floor_change / change <= 1:
        text += f": the floor explains {100 * floor_change / change:.0f}% of that difference"
    return f"{text}."


def _pair(site: str, quantity: str, method: Method, reference: Method) -> Pair | None:
    ours, plain = layer_spread(method, site, quantity), layer_spread(reference, site, quantity)
    return None if ours is None or plain is None else (ours, plain)


def _apart(ours: Spread, other: Spread, least: float) -> int:
    """Return 1 if ours is higher by more than `least` with no overlap of the seeds, -1 if lower so, else 0."""
    if ours.mean - other.mean > least and ours.low > other.high:
        return 1
    return -1 if other.mean - ours.mean > least and ours.high < other.low else 0
