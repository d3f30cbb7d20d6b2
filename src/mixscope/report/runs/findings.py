"""Findings in sentences: every rule with its thresholds, every sentence with its numbers."""

import math
from collections.abc import Sequence

from mixscope.records.store import Run
from mixscope.report.runs.comparison import find_bending, find_changed_order, find_lowest
from mixscope.report.runs.groups import Method, group_runs
from mixscope.report.runs.words import Finding, number_words, range_words, spread_words

OVERTRAINED_POINTS = 0.5  # percentage points of test error; below it a rise is not worth a name
CONFIDENCE_GAP = 0.02  # |mean confidence - accuracy| that counts as over- or under-confident
STANDARD_ERRORS = 2  # of the accuracy; a gap within so many may come from the choice of test images
CHANNEL_AMPLIFICATION = 1.2  # digits: 1.03 after plain training, 1.9 after mixup; Fisher et al. 2024 give no number
NUM_BRIEFS = 3  # that the line at the head of the page holds


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Say what the runs show, by the rules of this module; a rule without its numbers says nothing.

    Raises:
        ValueError: If there are no runs.
    """
    return method_findings(group_runs(runs))


def headline(runs: Sequence[Run]) -> str:
    """Return the most important of `findings`, up to three, as one line."""
    return lead(findings(runs))


def method_findings(methods: Sequence[Method]) -> list[Finding]:
    """Return the findings about methods already grouped: comparison first, then each topic method by method.

    Methods of which only the untrained network was measured (epoch 0) are passed over: nothing of it is the method's.
    """
    methods = [method for method in methods if not method.is_untrained]
    each = [rule(method) for rule in (find_overtraining, find_confidence, find_channels) for method in methods]
    compared = [find_lowest(methods), find_changed_order(methods)]
    return [finding for finding in (*compared, *each, *find_bending(methods)) if finding is not None]


def lead(found: Sequence[Finding]) -> str:
    """Join three findings that have a brief form, of a topic the largest first; failing those, take the first whole."""
    topics = list(dict.fromkeys(finding.topic for finding in found))
    ordered = sorted(found, key=lambda finding: (topics.index(finding.topic), -finding.size))
    briefs = [finding.brief for finding in ordered if finding.brief]
    rest = [f"And {len(briefs) - NUM_BRIEFS} more below."] if len(briefs) > NUM_BRIEFS else []
    return " ".join([*briefs[:NUM_BRIEFS], *rest] or [finding.text for finding in found[:1]])


def find_overtraining(method: Method) -> Finding | None:
    """Judge whether training went on too long.

    By end minus best (`mixscope.stats.curves`, which averages neighbours so that no noisy epoch decides), seed by seed.
    Over-trained: the mean rise is at least 0.5 percentage points and every seed's rise is above 0. Not over-trained:
    the mean rise and every seed's rise are below 0.5 points. Undecided: anything else, and one seed. As e is chosen by
    the same errors, the mean rise is never negative: small rises come by chance.
    """
    curve = method.curve("test/error")
    if len(curve.epochs) < 2:
        return None
    turn = curve.end_minus_best
    course = "its test error" + (f", averaged over {turn.window} measurements," if turn.window > 1 else "")
    best, rises, best_epoch, end_epoch = turn.best.times(100), turn.rise.times(100), turn.epoch, curve.epochs[-1]
    end = best.mean + rises.mean
    if best_epoch == end_epoch:
        course += f" is lowest at the end, {end:.2f}% at epoch {end_epoch}"
    elif not number_words(rises.mean, ".2f").strip("0."):
        course += f" ends where it is lowest, at {end:.2f}% (epoch {end_epoch}; first reached at epoch {best_epoch})"
    else:
        course += f" is lowest at epoch {best_epoch}, {best.mean:.2f}%, and ends at {end:.2f}% (epoch {end_epoch}), "
        course += f"{rises.mean:.2f} points higher"
    if rises.num_seeds == 1:
        text = f"One seed cannot say whether {method.name} is over-trained: {course}."
        return Finding("over-training", method.name, "undecided", text)
    change = range_words(rises, "+.2f") or number_words(rises.mean, "+.2f")
    seeds = f"over {rises.num_seeds} seeds the change is {change} points"
    brief = ""
    # The tolerance keeps a rise of exactly the threshold on its side of it despite binary fractions.
    if rises.mean >= OVERTRAINED_POINTS - 1e-9 and rises.low > 0:
        verdict, says = "over-trained", f"{method.name} is over-trained"
        brief = f"{says}: +{rises.mean:.2f} points of test error since epoch {best_epoch}."
    elif rises.mean < OVERTRAINED_POINTS and rises.high < OVERTRAINED_POINTS:
        verdict, says = "not over-trained", f"{method.name} is not over-trained"
    else:
        verdict, says = "undecided", f"Whether {method.name} is over-trained is undecided"
    return Finding("over-training", method.name, verdict, f"{says}: {course}; {seeds}.", brief, rises.mean)


def find_confidence(method: Method) -> Finding | None:
    """Judge over- and under-confidence by the signed gap, mean confidence minus accuracy.

    The gap must exceed both 0.02 and two standard errors of the accuracy (`accuracy_error`), which comes from the
    number of test images: all seeds share them, so more seeds do not help. Over-confident: the mean gap is above that
    and every seed's gap above 0; under-confident: below minus that and every seed's below 0; neither: within 0.02, and
    two standard errors are too; undecided: beyond 0.02 with seeds on both sides of 0, or within two standard errors
    that are more than 0.02, where so few test images cannot tell.
    """
    gap, ece = method.final("test/signed_gap"), method.final("test/ece")
    if gap is None:
        return None
    chance = accuracy_error(method)
    num_test = method.data.get("num_test")
    if chance is not None and chance > CONFIDENCE_GAP and abs(gap.mean) <= chance:
        verdict = "undecided"
        says = f"Whether {method.name} is over- or under-confident cannot be told from {num_test} test images"
    elif abs(gap.mean) <= CONFIDENCE_GAP + 1e-12:
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
    return Finding("calibration", method.name, verdict, text, brief, abs(gap.mean))


def accuracy_error(method: Method) -> float | None:
    """Return two standard errors of the mean accuracy on one seed's test images, or None where these are unknown.

    2 sqrt(p (1 - p) / n), after adding two right and two wrong answers to the n test images (Agresti and Coull 1998),
    so that an accuracy of 0 or 1 on a handful of images has an error too; with many images they change nothing.
    """
    error = method.final("test/error")
    num_test = method.data.get("num_test")
    if error is None or not isinstance(num_test, int) or num_test < 1:
        return None
    share = (num_test * error.mean + 2) / (num_test + 4)
    return STANDARD_ERRORS * math.sqrt(share * (1 - share) / (num_test + 4))


def find_channels(method: Method) -> Finding | None:
    """Judge whether blends of two classes gather in channels along the decision boundary (Fisher et al. 2024).

    A seed shows channels where the amplification against class means is above 1.2 and the mean of (x1 + x2) / 2 rises
    from uneven to even blends (three bins of min(weight, 1 - weight)). Forms channels: every seed does; no channels:
    none does; undecided: some do. With two classes (x1 + x2) / 2 is always 0 and nothing is said.
    """
    if method.num_classes == 2:
        return None
    keys = ("channels/amplification_means", "channels/order_low", "channels/order_middle", "channels/order_high")
    spreads = [method.final(key) for key in keys]
    if any(spread is None or spread.num_seeds != len(method.runs) for spread in spreads):
        return None
    amplification, low, middle, high = (spread for spread in spreads if spread is not None)
    shown = [
        a > CHANNEL_AMPLIFICATION and first < second < third
        for a, first, second, third in zip(amplification.values, low.values, middle.values, high.values, strict=True)
    ]
    order = ", ".join(number_words(spread.mean, ".2f") for spread in (low, middle, high))
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
