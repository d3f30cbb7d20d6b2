"""Findings on a method's confidence: over or under by how many points, and which temperature mends it."""

import math
from collections.abc import Mapping

from mixscope.metrics.catalogue import GROUPS
from mixscope.report.runs.groups import Method
from mixscope.report.runs.spread import Spread
from mixscope.report.runs.words import Finding, counted, number_words, range_words, span_words, spread_words
from mixscope.stats.intervals import student_quantile

CONFIDENCE_GAP = 0.02  # |mean confidence - accuracy| that counts as over- or under-confident
SCALING = tuple(card.key for card in GROUPS["Temperature scaling"])
TINY = 1e-9  # a temperature below is 0
USUAL = (0.01, 100)  # temperatures; ends of intervals beyond are not written out
STANDARD_ERRORS = 2  # of the accuracy, where a record has none of the gap itself


def find_confidence(method: Method) -> Finding | None:
    """Judge over- and under-confidence by the signed gap, mean confidence minus accuracy.

    Its 95% interval (`gap_margin`) comes from the choice of test images: all seeds share them, so more seeds do not
    help. The gap must exceed both 0.02 and the margin. Over-confident: the mean gap is above that and every seed's gap
    above 0; under-confident: below minus that and every seed's below 0; neither: within 0.02, and the margin is too;
    undecided: beyond 0.02 with seeds on both sides of 0, or within a margin of more than 0.02, where so few test images
    cannot tell.
    """
    gap, ece = method.final("test/signed_gap"), method.final("test/ece")
    if gap is None:
        return None
    margin = gap_margin(method)
    interval = "" if margin is None else f"95% interval {points_span(gap.mean, margin)}"
    if margin is not None and margin > CONFIDENCE_GAP and abs(gap.mean) <= margin:
        verdict, num_test = "undecided", method.data.get("num_test")
        images = counted(num_test, "test image") if isinstance(num_test, int) else "these test images"
        says = f"Whether {method.name} is over- or under-confident cannot be told from {images}"
    elif abs(gap.mean) <= CONFIDENCE_GAP + 1e-12:
        verdict, says = "neither", f"{method.name} is neither over- nor under-confident on average"
    elif (gap.mean > 0 and gap.low > 0) or (gap.mean < 0 and gap.high < 0):
        verdict = "over-confident" if gap.mean > 0 else "under-confident"
        says = f"{method.name} is {verdict}"
    else:
        verdict, says = "undecided", f"Whether {method.name} is over- or under-confident is undecided"
    points, brief = gap.times(100), ""
    if verdict in ("over-confident", "under-confident"):
        turned = points.times(1 if gap.mean > 0 else -1)
        if margin is not None:
            interval = f"95% interval {points_span(abs(gap.mean), margin)}"
        details = "; ".join(part for part in (interval, _seeds(turned, method, ".1f")) if part)
        says += f" by {number_words(turned.mean, '.1f')} points{f' ({details})' if details else ''}"
        brief, text = f"{says}.", f"{says}{_sides(method)}"
    else:
        details = "; ".join(part for part in (interval, _seeds(points, method, "+.1f")) if part)
        mean = number_words(points.mean, "+.1f")
        text = f"{says}: mean confidence minus accuracy is {mean} points{f' ({details})' if details else ''}"
    text += f"; expected calibration error {spread_words(ece, '.3f')}." if ece else "."
    if method.is_squared_loss:
        text += " It was trained with the squared loss, whose outputs are not made to be probabilities."
    return Finding("calibration", method.name, verdict, text, brief, abs(gap.mean))


def gap_margin(method: Method) -> float | None:
    """Return how far the 95% interval of the signed gap reaches to either side, or None where nobody knows.

    Student's, from the standard error of the paired differences; for records that lack it, two standard errors of the
    accuracy (`accuracy_error`), which is more.
    """
    error, num_test = method.final("test/signed_gap_error"), method.data.get("num_test")
    if error is None:
        return accuracy_error(method)
    degrees = num_test + 3 if isinstance(num_test, int) else math.inf  # four answers more, as in the error itself
    return student_quantile(degrees) * error.mean


def accuracy_error(method: Method) -> float | None:
    """Return two standard errors of the mean accuracy on one seed's test images, or None where these are unknown.

    2 sqrt(p (1 - p) / n), after adding two right and two wrong answers to the n test images (Agresti and Coull 1998),
    so that an accuracy of 0 or 1 on a handful of images has an error too; with many images they change nothing.
    """
    error = method.final("test/error")
    num_test = method.data.get("num_test")
    if error is None or not isinstance(num_test, int) or num_test < 1:
        return None
    return STANDARD_ERRORS * share_error(error.mean, num_test)


def share_error(share: float, num: int) -> float:
    """Return the standard error of a share of `num` images, two of either kind added (Agresti and Coull 1998)."""
    share = (num * min(max(share, 0.0), 1.0) + 2) / (num + 4)
    return math.sqrt(share * (1 - share) / (num + 4))


def find_scaling(method: Method) -> Finding | None:
    """Say which temperature the logits are best divided by, and what ECE and loss become.

    Mends: every seed's loss falls, by its 95% interval over the test images; worse: every one's rises; little to gain:
    anything else. The temperature is fitted on one half of the test images and judged on the other, both ways.
    """
    keys = (*SCALING, "test/ece", "test/loss")
    known = {key: spread for key in keys if (spread := method.final(key)) is not None}
    if len(known) < len(keys):
        return _no_temperature(method)
    temperature = known["scaling/temperature"]
    is_one = temperature.num_seeds == 1
    divided = f"the logits of {method.name} by {number_words(temperature.mean, '.2f')}"
    if is_one:
        ends = (known["scaling/temperature_low"].mean, known["scaling/temperature_high"].mean)
        divided += f" (95% interval {' to '.join(temperature_ends(*ends))})"
    elif span := range_words(temperature, ".2f"):
        divided += f" ({span} over {temperature.num_seeds} seeds)"
    ece, loss = _change("ece", known), _change("loss", known)
    numbers = f"{''.join(ece)}, {''.join(loss)}"
    brief = ""
    if known["scaling/loss_change_high"].high < 0:
        verdict, says = "mends", f"Divide {divided}: {numbers}"
        falls = known["scaling/ece"].mean < known["test/ece"].mean
        says += "" if falls else "; the loss falls, the ECE does not"
        brief = f"Divide {divided}: {ece[0] if falls else loss[0]}."
    elif known["scaling/loss_change_low"].low > 0:
        verdict, says = "worse", f"No one temperature mends {method.name}; dividing {divided} does harm: {numbers}"
    else:
        verdict, says = "little to gain", f"Dividing {divided} would not lower the loss for certain: {numbers}"
    how = "each half of the test images was judged by the other's temperature"
    how += ", intervals are 95%" if is_one else ""
    size = abs(math.log(max(temperature.mean, TINY)))
    return Finding("scaling", method.name, verdict, f"{says}; {how}.", brief, size)


def temperature_ends(low: float, high: float) -> tuple[str, str]:
    """Return '0.90' and '1.20', and of an end that no logits are divided by only on which side it lies."""
    least, most = USUAL
    first = f"below {least}" if low < least else number_words(low, ".2f")
    return first, f"above {most}" if high > most else number_words(high, ".2f")


def _change(name: str, known: Mapping[str, Spread]) -> tuple[str, str]:
    """Return 'ECE 0.051 → 0.012', and ' (change −0.045 to −0.030)' of one seed."""
    low, high = known[f"scaling/{name}_change_low"], known[f"scaling/{name}_change_high"]
    before, after = (number_words(known[f"{group}/{name}"].mean, ".3f") for group in ("test", "scaling"))
    span = f" (change {span_words(low.mean, high.mean, '+.3f')})" if low.num_seeds == 1 else ""
    return f"{name.upper() if name == 'ece' else name} {before} → {after}", span


def _no_temperature(method: Method) -> Finding | None:
    """Say that no temperature was found, of a checkpoint for which one was sought.

    It was where the error of the gap is known; in a training's last measurement only, so of that nothing is said.
    """
    error, was_sought = method.final("test/error"), method.final("test/signed_gap_error") is not None
    if error is None or method.final("scaling/temperature") or not (method.is_measured and was_sought):
        return None
    why = "the test images, or one half of them, have no best one"
    if error.high == 0:
        why = "every answer is right, so the loss falls the smaller it is"
    return Finding("scaling", method.name, "none", f"No temperature was fitted for {method.name}: {why}.")


def points_span(middle: float, margin: float) -> str:
    """Return '2.9 to 5.3', in points, of the interval of a difference of shares, which ends at -100 and 100."""
    return span_words(100 * max(middle - margin, -1.0), 100 * min(middle + margin, 1.0), ".1f")


def _sides(method: Method) -> str:
    """Return ': mean confidence 89.0%, accuracy 84.9%', where they are known."""
    confidence, accuracy = method.final("test/mean_confidence"), method.final("test/accuracy")
    if confidence is None or accuracy is None:
        return ""
    return f": its mean confidence is {100 * confidence.mean:.1f}%, its accuracy {100 * accuracy.mean:.1f}%"


def _seeds(points: Spread, method: Method, form: str) -> str:
    span = range_words(points, form)
    return f"{span} over {points.num_seeds} {method.noun}s" if span else ""
