"""Findings in sentences: every rule with its thresholds, every sentence with its numbers."""

import math
from collections.abc import Sequence

from mixscope.records.store import Run
from mixscope.report.runs.checkpoint_findings import find_collapse, find_course, find_layers
from mixscope.report.runs.comparison import by_data, find_bending, find_changed_order, find_lowest
from mixscope.report.runs.confidence_findings import find_confidence, find_scaling, share_error
from mixscope.report.runs.groups import Method, group_runs
from mixscope.report.runs.paired_findings import ComparedPair, find_pairs
from mixscope.report.runs.spread import Turn
from mixscope.report.runs.words import Finding, interval_words, number_words, range_words, span_words, spread_words
from mixscope.stats.intervals import student_interval, student_quantile

OVERTRAINED_POINTS = 0.5  # percentage points of test error; below it a rise is not worth a name
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


def method_findings(methods: Sequence[Method], pairs: Sequence[ComparedPair] = ()) -> list[Finding]:
    """Return the findings about methods already grouped: comparison first, then each topic method by method.

    Of one method alone it is also said where its layers bend, and what one checkpoint cannot tell. Methods are compared
    with those measured on the same data; those that `pairs` compares image by image are compared by that alone.

    Methods of which only the untrained network was measured (epoch 0) are passed over: nothing of it is the method's.
    """
    methods = [method for method in methods if not method.is_untrained]
    rules = (find_overtraining, find_confidence, find_scaling, find_collapse, find_channels)
    alone = (find_layers, find_course) if len(methods) == 1 else ()
    each = [rule(method) for rule in (*rules, *alone) for method in methods]
    paired = {name for pair in pairs for name in (pair.first, pair.second)}
    compared = [*find_pairs(pairs), *find_lowest(methods, paired=paired), *find_changed_order(methods)]
    bent = [finding for group in by_data(methods) for finding in find_bending(group)]
    return [finding for finding in (*compared, *each, *bent) if finding is not None]


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
    interval = _rise_interval(method, turn)
    if rises.num_seeds == 1:
        text = f"One seed cannot say whether {method.name} is over-trained: {course}{interval}."
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
        seeds += interval
    return Finding("over-training", method.name, verdict, f"{says}: {course}; {seeds}.", brief, rises.mean)


def _rise_interval(method: Method, turn: Turn) -> str:
    """Return the 95% interval of end minus best: over the seeds, or of one seed over the choice of test images.

    The latter treats the two measurements as if of separate images.
    """
    points, num_test = turn.rise.times(100), method.data.get("num_test")
    if points.num_seeds > 1:
        return f" (95% interval {span_words(*student_interval(points.values), '+.2f')})"
    if not isinstance(num_test, int) or num_test < 1:
        return ""
    ends = (turn.best.mean, turn.best.mean + turn.rise.mean)
    # The two are measured on the same images, so that this is too wide.
    margin = 100 * student_quantile(num_test) * math.hypot(*(share_error(end, num_test) for end in ends))
    span = span_words(points.mean - margin, points.mean + margin, "+.2f")
    return f"; the 95% interval of the rise over test images is no wider than {span} points"


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
        numbers += f"; 95% interval of the mean amplification {interval_words(amplification, '.2f')}"
    text = f"{says}: {numbers}."
    if method.is_squared_loss:
        text += " It was trained with the squared loss, for which theory expects the straight line: amplification 1."
    return Finding("channels", method.name, verdict, text)
