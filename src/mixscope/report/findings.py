"""What the numbers say, in sentences: every rule with its thresholds, every sentence with its numbers."""

import math
from collections.abc import Sequence

from mixscope.records.store import Run
from mixscope.report.groups import Method, Spread, group_runs
from mixscope.report.layers import find_bending
from mixscope.report.words import Finding, error_words, join_words, number_words, range_words, spread_words

OVERTRAINED_POINTS = 0.5  # percentage points of test error; below it a rise is not worth a name
CONFIDENCE_GAP = 0.02  # |mean confidence - accuracy| that counts as over- or under-confident
CHANNEL_AMPLIFICATION = 1.2  # digits: 1.03 after plain training, 1.9 after mixup; Fisher et al. 2024 give no number
SEEDS_TO_COMPARE = 3  # with 2 + 2 seeds, ranges of equal methods part once in 3 comparisons; with 3 + 3 once in 10


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Say what the runs show, by the rules of this module; a rule without its numbers says nothing.

    Raises:
        ValueError: If there are no runs.
    """
    return method_findings(group_runs(runs))


def headline(runs: Sequence[Run]) -> str:
    """Return the most important finding or two as one line.

    Raises:
        ValueError: If there are no runs.
    """
    return lead(findings(runs))


def method_findings(methods: Sequence[Method]) -> list[Finding]:
    """Return the findings about methods already grouped: comparison first, then each topic method by method."""
    each = [rule(method) for rule in (find_overtraining, find_confidence, find_channels) for method in methods]
    compared = [find_lowest(methods), find_changed_order(methods)]
    return [finding for finding in (*compared, *each, *find_bending(methods)) if finding is not None]


def lead(found: Sequence[Finding]) -> str:
    """Join the findings that have a brief form into one line; failing those, take the first one whole."""
    return " ".join([finding.brief for finding in found if finding.brief] or [finding.text for finding in found[:1]])


def find_overtraining(method: Method) -> Finding | None:
    """Judge whether training went on too long.

    Errors are averaged over a twentieth of training, so that one noisy epoch decides nothing. With e the epoch where
    the mean of these is lowest (the first of equals), a seed's rise is its error at the end minus that at e.
    Over-trained: the mean rise is at least 0.5 percentage points and every seed's rise is above 0. Not over-trained:
    the mean rise and every seed's rise are below 0.5 points. Undecided: anything else, and one seed. As e is chosen by
    the same errors, the mean rise is never negative: small rises come by chance.
    """
    curve = method.curve("test/error").smoothed()
    if len(curve.epochs) < 2:
        return None
    averaged = f", averaged over {curve.window} measurements," if curve.window > 1 else ""
    best, end = curve.spreads[curve.turn], curve.spreads[-1]
    rises = Spread(tuple(100 * (last - first) for first, last in zip(best.values, end.values, strict=True)))
    best_epoch, end_epoch = curve.epochs[curve.turn], curve.epochs[-1]
    if best_epoch == end_epoch:
        course = f"its test error{averaged} is lowest at the end, {100 * end.mean:.2f}% at epoch {end_epoch}"
    else:
        course = (
            f"its test error{averaged} is lowest at epoch {best_epoch}, {100 * best.mean:.2f}%, and ends at "
            f"{100 * end.mean:.2f}% (epoch {end_epoch}), {rises.mean:.2f} points higher"
        )
    if rises.num_seeds == 1:
        return Finding(
            "over-training",
            method.name,
            "undecided",
            f"One seed cannot say whether {method.name} is over-trained: {course}.",
        )
    change = range_words(rises, "+.2f") or number_words(rises.mean, "+.2f")
    seeds = f"over {rises.num_seeds} seeds the change is {change} points"
    # The tolerance keeps a rise of exactly the threshold on its side of it despite binary fractions.
    if rises.mean >= OVERTRAINED_POINTS - 1e-9 and rises.low > 0:
        verdict, says = "over-trained", f"{method.name} is over-trained"
    elif rises.mean < OVERTRAINED_POINTS and rises.high < OVERTRAINED_POINTS:
        verdict, says = "not over-trained", f"{method.name} is not over-trained"
    else:
        verdict, says = "undecided", f"Whether {method.name} is over-trained is undecided"
    brief = (
        f"{says}: +{rises.mean:.2f} points of test error since epoch {best_epoch}." if verdict == "over-trained" else ""
    )
    return Finding("over-training", method.name, verdict, f"{says}: {course}; {seeds}.", brief)


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
    name, lowest = min(ends.items(), key=lambda item: item[1].mean)
    others = {other: end for other, end in ends.items() if other != name}
    few = {other for other, end in others.items() if min(end.num_seeds, lowest.num_seeds) < SEEDS_TO_COMPARE}
    beaten = {other for other, end in others.items() if other not in few and lowest.high < end.low}

    def named(chosen: set[str]) -> str:
        return join_words([f"{other}, {error_words(end)}" for other, end in others.items() if other in chosen], "; ")

    if not beaten:
        no_method = "No method can be said to end lowest"
        why = (
            f"with fewer than {SEEDS_TO_COMPARE} seeds a side the difference decides nothing"
            if few == set(others)
            else "the difference lies inside the spread of the seeds"
        )
        return Finding(
            "comparison",
            "",
            "undecided",
            f"{no_method}: {name} ends at {error_words(lowest)}, against {named(set(others))}; {why}.",
            f"{no_method}: {_ends(ends)}; {why}.",
        )
    chance = min(math.comb(lowest.num_seeds + ends[other].num_seeds, lowest.num_seeds) // 2 for other in beaten)
    text = (
        f"{name} ends lowest, at {error_words(lowest)} test error, below {named(beaten)}: every seed lies below every "
        f"one of theirs (between two equal methods that happens once in {chance} comparisons)."
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
    best = {name: curve.spreads[curve.turn].mean for name, curve in curves.items()}
    end = {name: curve.spreads[-1].mean for name, curve in curves.items()}
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


def find_confidence(method: Method) -> Finding | None:
    """Judge over- and under-confidence by the signed gap, mean confidence minus accuracy.

    Over-confident: the mean gap is above +0.02 and every seed's gap above 0; under-confident: below -0.02 and every
    seed's below 0; neither: within 0.02; undecided: beyond 0.02 with seeds on both sides of 0.
    """
    gap, ece = method.final("test/signed_gap"), method.final("test/ece")
    if gap is None:
        return None
    if abs(gap.mean) <= CONFIDENCE_GAP + 1e-12:
        verdict, says = "neither", f"{method.name} is neither over- nor under-confident on average"
    elif gap.mean > 0 and gap.low > 0:
        verdict, says = "over-confident", f"{method.name} is over-confident"
    elif gap.mean < 0 and gap.high < 0:
        verdict, says = "under-confident", f"{method.name} is under-confident"
    else:
        verdict, says = "undecided", f"Whether {method.name} is over- or under-confident is undecided"
    brief = f"{says} by {abs(gap.mean):.3f}." if verdict in ("over-confident", "under-confident") else ""
    text = f"{says}: mean confidence minus accuracy is {spread_words(gap, '+.3f')}"
    text += f", expected calibration error {spread_words(ece, '.3f')}." if ece else "."
    if method.is_squared_loss:
        text += " It was trained with the squared loss, whose outputs are not made to be probabilities."
    return Finding("calibration", method.name, verdict, text, brief)


def find_channels(method: Method) -> Finding | None:
    """Judge whether blends of two classes gather in channels along the decision boundary (Fisher et al. 2024).

    A seed shows channels where the amplification against class means is above 1.2 and the mean of (x1 + x2) / 2 rises
    from uneven to even blends (three bins of min(weight, 1 - weight)). Forms channels: every seed does; no channels:
    none does; undecided: some do.
    """
    keys = ("channels/amplification_means", "channels/order_low", "channels/order_middle", "channels/order_high")
    spreads = [method.final(key) for key in keys]
    if any(spread is None or spread.num_seeds != len(method.runs) for spread in spreads):
        return None
    amplification, low, middle, high = (spread for spread in spreads if spread is not None)
    shown = [
        a > CHANNEL_AMPLIFICATION and first < second < third
        for a, first, second, third in zip(amplification.values, low.values, middle.values, high.values, strict=True)
    ]
    order = f"{low.mean:.2f}, {middle.mean:.2f}, {high.mean:.2f}"
    numbers = (
        f"halfway between two classes the features reach {spread_words(amplification, '.2f')} times as far as the line "
        f"between class means (above {CHANNEL_AMPLIFICATION} expected of channels), and (x1 + x2)/2 goes {order} from "
        "uneven to even blends (rising expected)"
    )
    if all(shown):
        verdict, says = "forms channels", f"{method.name} forms channels"
    elif not any(shown):
        verdict, says = "no channels", f"{method.name} forms no channels"
    else:
        verdict, says = "undecided", f"{method.name} forms channels in {sum(shown)} of {len(shown)} seeds only"
    text = f"{says}: {numbers}."
    if method.is_squared_loss:
        text += " It was trained with the squared loss, for which theory expects the straight line: amplification 1."
    return Finding("channels", method.name, verdict, text)


def _ends(ends: dict[str, Spread]) -> str:
    """Return 'mixup 5.27%, erm 6.33%', lowest first."""
    ordered = sorted(ends.items(), key=lambda item: item[1].mean)
    return ", ".join(f"{name} {100 * end.mean:.2f}%" for name, end in ordered)


def data_of(methods: Sequence[Method]) -> set[tuple[object, object]]:
    """Return the (name, number of test examples) of the data sets the runs were measured on."""
    return {
        ((data := run.record.get("data") or {}).get("name"), data.get("num_test"))
        for method in methods
        for run in method.runs
    }
