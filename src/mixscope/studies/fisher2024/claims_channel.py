"""Claims on Fisher et al. 2024 about where networks put blends: along the classifier, or along a channel."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import RECALLED, difference, excess, quotient, ratio, value
from mixscope.studies.engine.results import picture, read_number
from mixscope.studies.engine.study_definition import Check
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


CHECKS = (
    Check(
        Claim(
            "fisher2024.2b",
            "derived",
            "Under mixup, blends within one class lie as far out whatever their weight.",
            f"{DERIVED} and the paper's finding that the optimum ignores the weight; the limit is ours",
            f"standard deviation over five bins of the weight of their mean coordinate, over its mean; {PAIRS}",
            "a spread above 0.2",
            high=0.2,
        ),
        MIXED,
        value(MIXUP, "channels/spread_same"),
    ),
    Check(
        Claim(
            "fisher2024.2c",
            "derived",
            "Under mixup, the weight moves blends within one class much less than blends of two.",
            f"{DERIVED}; that much less means half is ours",
            "spread over five bins of the weight (standard deviation of their means over its mean): that of same-class "
            f"blends' coordinate over that of the height (x1 + x2) / 2 of blends of two classes; {PAIRS}",
            "a ratio above 0.5",
            high=0.5,
        ),
        MIXED,
        value(MIXUP, quotient("channels/spread_same", "channels/spread_different")),
    ),
    Check(
        Claim(
            "fisher2024.2d",
            "paper",
            "Under mixup, blends within one class align with their classifier.",
            READ,
            f"mean cosine between a same-class blend's feature and its classifier row, both centred; {PAIRS}",
            "a mean cosine below 0.8",
            low=0.8,
        ),
        MIXED,
        value(MIXUP, "channels/alignment_same"),
    ),
    Check(
        Claim(
            "fisher2024.6b",
            "paper",
            "Cross-entropy with mixup leaves the straight line between two classes, squared error with mixup does not.",
            ABSTRACT,
            "distance of blends with weights from 0.3 to 0.7 from the line between their own two examples, over the "
            f"class means' length: cross-entropy over squared error, seed by seed; {PAIRS}",
            "a ratio below 3",
            low=3.0,
        ),
        settings_with(MIXUP, SQUARED),
        ratio(MIXUP, SQUARED, "channels/deviation_different_middle"),
    ),
    Check(
        Claim(
            "fisher2024.7a",
            "paper",
            "Near the decision boundary mixup amplifies: blends lie further out than the line between their examples.",
            READ,
            f"mean length over that on the line, blends of two classes with weights from 0.3 to 0.7; {PAIRS}",
            "a factor below 1.4",
            low=1.4,
        ),
        MIXED,
        value(MIXUP, "channels/amplification"),
    ),
    Check(
        Claim(
            "fisher2024.7b",
            "derived",
            "With squared error mixup does not amplify: blends lie about as far out as the line between their "
            "examples.",
            f"{DERIVED}; the limits are ours",
            f"mean length over that on the line, blends of two classes with weights from 0.3 to 0.7; {PAIRS}",
            "a factor below 0.85 or above 1.1",
            low=0.85,
            high=1.1,
        ),
        settings_with(SQUARED),
        value(SQUARED, "channels/amplification"),
    ),
    Check(
        Claim(
            "fisher2024.8",
            "paper",
            "Mixup brings blends of two classes to a channel along their decision boundary.",
            ABSTRACT,
            "mean cosine between blends with weights from 0.3 to 0.7 and the boundary's direction w_i + w_j: mixup "
            f"less plain training, seed by seed; {PAIRS}",
            "a gain below 0.05",
            low=0.05,
        ),
        COMPARED,
        difference(MIXUP, ERM, "channels/alignment_channel"),
    ),
    Check(
        Claim(
            "fisher2024.9a",
            "derived",
            "Under mixup blends stand higher in the channel at smaller weights 0.1 to 0.3 than below 0.1.",
            DERIVED,
            f"difference of the mean heights (x1 + x2) / 2, blends of two classes; {PAIRS}",
            "a height that does not rise",
            low=0.0,
            unit="nats",
        ),
        MIXED,
        value(MIXUP, excess("channels/order_middle", "channels/order_low")),
    ),
    Check(
        Claim(
            "fisher2024.9b",
            "derived",
            "Under mixup blends stand higher in the channel at smaller weights above 0.3 than from 0.1 to 0.3.",
            DERIVED,
            f"difference of the mean heights (x1 + x2) / 2, blends of two classes; {PAIRS}",
            "a height that does not rise",
            low=0.0,
            unit="nats",
        ),
        MIXED,
        value(MIXUP, excess("channels/order_high", "channels/order_middle")),
    ),
    Check(
        Claim(
            "fisher2024.10a",
            "derived",
            "Under mixup the way across the channel follows the log-odds of the weight.",
            f"{DERIVED}; the limit is ours",
            f"correlation of x1 - x2 with log(w / (1 - w)), blends of two classes; {PAIRS}",
            "a correlation below 0.9",
            low=0.9,
        ),
        MIXED,
        value(MIXUP, "channels/logit_correlation"),
    ),
    Check(
        Claim(
            "fisher2024.10b",
            "derived",
            "Under mixup a nat of log-odds is 1.2 to 2.5 nats across the channel.",
            f"{DERIVED} (1 for small penalties); the limits are ours",
            f"least-squares slope of x1 - x2 on log(w / (1 - w)), blends of two classes; {PAIRS}",
            "a slope below 1.2 or above 2.5",
            low=1.2,
            high=2.5,
        ),
        MIXED,
        value(MIXUP, "channels/logit_slope"),
    ),
    Check(
        Claim(
            "fisher2024.11a",
            "recalled",
            "Under mixup blends of two classes gather in the middle of the channel, though weights are spread evenly.",
            RECALLED,
            "density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even spread's; "
            f"{PAIRS}",
            "a density below that of an even spread",
            low=1.0,
        ),
        MIXED,
        value(MIXUP, "channels/middle_density"),
    ),
    Check(
        Claim(
            "fisher2024.11b",
            "derived",
            "Blends of two classes gather in the middle of the channel more under mixup than without it.",
            DERIVED,
            "density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even spread's: "
            f"mixup less plain training, seed by seed; {PAIRS}",
            "a density that is no higher",
            low=0.0,
        ),
        COMPARED,
        difference(MIXUP, ERM, "channels/middle_density"),
    ),
    Check(
        Claim(
            "fisher2024.18a",
            "paper",
            "With the classifier fixed to a simplex frame, features lie closer to the theoretical optimum.",
            READ,
            "relative distance of blends of two classes from the curve of the unconstrained model with its gain fitted "
            f"to them: fixed less learned classifier, both with mixup, seed by seed; {PAIRS}",
            "a distance that is no smaller",
            high=0.0,
        ),
        settings_with(MIXUP, FIXED),
        difference(FIXED, MIXUP, "channels/theory_residual"),
    ),
    Check(
        Claim(
            "fisher2024.19",
            "paper",
            "Under mixup earlier layers are closer to manifold mixup: their features of blends stay nearer the line.",
            "Fisher et al. 2024, abstract in one of its two versions; the quantity is ours",
            "relative defect of linearity on test images, first layer less the last before the classifier; mean over "
            "seeds",
            "a first layer that bends blends as much as the last",
            high=0.0,
        ),
        MIXED,
        value(MIXUP, _bend_gained),
    ),
)
