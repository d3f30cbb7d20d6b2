"""Claims on Fisher et al. 2024 about where networks put blends: along the classifier, or along a channel."""

from functools import partial

from mixscope.studies.engine.claim_checks import RECALLED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import difference, excess, quotient, ratio, value
from mixscope.studies.engine.results import picture, read_number
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.evidence import ABSTRACT, DERIVED, PAIRS, READ, settings_with
from mixscope.studies.fisher2024.runs import ERM, FIXED, MIXUP, SQUARED

MIXED = settings_with(MIXUP)
COMPARED = settings_with(ERM, MIXUP)


def _bend_gained(outcome: Outcome) -> float:
    """Return the relative defect of the first layer less that of the last one before the classifier."""
    sites = picture(outcome, "sites")
    first, last = (read_number(outcome, f"linearity/{site}/relative_defect") for site in (sites[0], sites[-2]))
    return first - last


claim = partial(claim_check, study="fisher2024", source=DERIVED, settings=MIXED)

CHECKS = (
    claim(
        key="2b",
        statement="Under mixup, blends within one class lie as far out whatever their weight.",
        source=DERIVED.noting(" and the paper's finding that the optimum ignores the weight; the limit is ours"),
        measured=f"standard deviation over five bins of the weight of their mean coordinate, over its mean; {PAIRS}",
        test=at_most(0.2, value(MIXUP, "channels/spread_same")),
    ),
    claim(
        key="2c",
        statement="Under mixup, the weight moves blends within one class much less than blends of two.",
        source=DERIVED.noting("; that much less means half is ours"),
        measured="spread over five bins of the weight (standard deviation of their means over its mean): that of "
        f"same-class blends' coordinate over that of the height (x1 + x2) / 2 of blends of two classes; {PAIRS}",
        test=at_most(0.5, value(MIXUP, quotient("channels/spread_same", "channels/spread_different"))),
    ),
    claim(
        key="2d",
        statement="Under mixup, blends within one class align with their classifier.",
        source=READ,
        measured=f"mean cosine between a same-class blend's feature and its classifier row, both centred; {PAIRS}",
        test=at_least(0.8, value(MIXUP, "channels/alignment_same")),
    ),
    claim(
        key="6b",
        statement="Cross-entropy with mixup leaves the straight line between two classes, squared error with mixup "
        "does not.",
        source=ABSTRACT,
        measured="distance of blends with weights from 0.3 to 0.7 from the line between their own two examples, over "
        f"the class means' length: cross-entropy over squared error, seed by seed; {PAIRS}",
        settings=settings_with(MIXUP, SQUARED),
        test=at_least(3.0, ratio(MIXUP, SQUARED, "channels/deviation_different_middle")),
    ),
    claim(
        key="7a",
        statement="Near the decision boundary mixup amplifies: blends lie further out than the line between their "
        "examples.",
        source=READ,
        measured=f"mean length over that on the line, blends of two classes with weights from 0.3 to 0.7; {PAIRS}",
        test=at_least(1.4, value(MIXUP, "channels/amplification")),
    ),
    claim(
        key="7b",
        statement="With squared error mixup does not amplify: blends lie about as far out as the line between their "
        "examples.",
        source=DERIVED.noting("; the limits are ours"),
        measured=f"mean length over that on the line, blends of two classes with weights from 0.3 to 0.7; {PAIRS}",
        settings=settings_with(SQUARED),
        test=between(0.85, 1.1, value(SQUARED, "channels/amplification")),
    ),
    claim(
        key="8",
        statement="Mixup brings blends of two classes to a channel along their decision boundary.",
        source=ABSTRACT,
        measured="mean cosine between blends with weights from 0.3 to 0.7 and the boundary's direction w_i + w_j: "
        f"mixup less plain training, seed by seed; {PAIRS}",
        settings=COMPARED,
        test=at_least(0.05, difference(MIXUP, ERM, "channels/alignment_channel")),
    ),
    claim(
        key="9a",
        statement="Under mixup blends stand higher in the channel at smaller weights 0.1 to 0.3 than below 0.1.",
        measured=f"difference of the mean heights (x1 + x2) / 2, blends of two classes; {PAIRS}",
        test=at_least(0.0, value(MIXUP, excess("channels/order_middle", "channels/order_low")), unit="nats"),
    ),
    claim(
        key="9b",
        statement="Under mixup blends stand higher in the channel at smaller weights above 0.3 than from 0.1 to 0.3.",
        measured=f"difference of the mean heights (x1 + x2) / 2, blends of two classes; {PAIRS}",
        test=at_least(0.0, value(MIXUP, excess("channels/order_high", "channels/order_middle")), unit="nats"),
    ),
    claim(
        key="10a",
        statement="Under mixup the way across the channel follows the log-odds of the weight.",
        source=DERIVED.noting("; the limit is ours"),
        measured=f"correlation of x1 - x2 with log(w / (1 - w)), blends of two classes; {PAIRS}",
        test=at_least(0.9, value(MIXUP, "channels/logit_correlation")),
    ),
    claim(
        key="10b",
        statement="Under mixup a nat of log-odds is 1.2 to 2.5 nats across the channel.",
        source=DERIVED.noting(" (1 for small penalties); the limits are ours"),
        measured=f"least-squares slope of x1 - x2 on log(w / (1 - w)), blends of two classes; {PAIRS}",
        test=between(1.2, 2.5, value(MIXUP, "channels/logit_slope")),
    ),
    claim(
        key="11a",
        statement="Under mixup blends of two classes gather in the middle of the channel, though weights are spread "
        "evenly.",
        source=RECALLED,
        measured="density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even "
        f"spread's; {PAIRS}",
        test=at_least(1.0, value(MIXUP, "channels/middle_density")),
    ),
    claim(
        key="11b",
        statement="Blends of two classes gather in the middle of the channel more under mixup than without it.",
        measured="density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even "
        f"spread's: mixup less plain training, seed by seed; {PAIRS}",
        settings=COMPARED,
        test=at_least(0.0, difference(MIXUP, ERM, "channels/middle_density")),
    ),
    claim(
        key="18a",
        statement="With the classifier fixed to a simplex frame, features lie closer to the theoretical optimum.",
        source=READ,
        measured="relative distance of blends of two classes from the curve of the unconstrained model with its gain "
        f"fitted to them: fixed less learned classifier, both with mixup, seed by seed; {PAIRS}",
        settings=settings_with(MIXUP, FIXED),
        test=at_most(0.0, difference(FIXED, MIXUP, "channels/theory_residual")),
    ),
    claim(
        key="19",
        statement="Under mixup earlier layers are closer to manifold mixup: their features of blends stay nearer the "
        "line.",
        source=Source("paper", "Fisher et al. 2024, abstract in one of its two versions; the quantity is ours"),
        measured="relative defect of linearity on test images, first layer less the last before the classifier; mean "
        "over seeds",
        test=at_most(0.0, value(MIXUP, _bend_gained)),
    ),
)
