"""Claims on Fisher et al. 2024 about test images, calibration, confidence, accuracy; and negative controls."""

from functools import partial

from mixscope.studies.engine.claim_checks import RECALLED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import difference, excess, percent, ratio, value
from mixscope.studies.engine.results import read_number
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.evidence import DERIVED, PAIRS, PREDICTED, READ, settings_with
from mixscope.studies.fisher2024.runs import ERM, FIXED, LABELS, MIXUP

CLEAN = settings_with(ERM, MIXUP)
NOISY = settings_with(ERM, MIXUP, is_noisy=True)
IMAGES = tuple(name for name in CLEAN if not name.startswith("digits"))


def _relative_gap(outcome: Outcome) -> float:
    """Return how much more confident the network is where it is right, over its confidence where it is wrong."""
    wrong = read_number(outcome, "test/confidence_wrong")
    return (read_number(outcome, "test/confidence_right") - wrong) / wrong


claim = partial(claim_check, study="fisher2024", source=READ, settings=CLEAN)

CHECKS = (
    claim(
        key="15a",
        statement="Where a fifth of the labels is wrong, mixup is much better calibrated than plain training.",
        source=PREDICTED.noting(", and the paper's tables on calibration were not seen"),
        measured="expected calibration error on test images (15 bins, as noisy as those trained on), plain training "
        "less mixup, seed by seed; mean over seeds",
        settings=NOISY,
        test=at_least(0.05, difference(ERM, MIXUP, "test/ece")),
    ),
    claim(
        key="15b",
        statement="Where a fifth of the labels is wrong, mixup halves the test loss.",
        source=PREDICTED,
        measured="cross-entropy on test images, mixup over plain training, seed by seed; mean over seeds",
        settings=NOISY,
        test=at_most(0.5, ratio(MIXUP, ERM, "test/loss")),
    ),
    claim(
        key="15c",
        statement="Mixup improves calibration.",
        source=Source("paper", "Fisher et al. 2024, as read in its abstract; the numbers of its tables were not seen"),
        measured="expected calibration error on test images (15 bins), plain training less mixup, seed by seed; mean "
        "over seeds",
        settings=IMAGES,
        test=at_least(0.0, difference(ERM, MIXUP, "test/ece")),
    ),
    claim(
        key="17a",
        statement="Misclassified test images are predicted with less confidence under mixup.",
        source=RECALLED,
        measured="mean confidence where the class is wrong, mixup less plain training, seed by seed; mean over seeds",
        test=at_most(0.0, difference(MIXUP, ERM, "test/confidence_wrong")),
    ),
    claim(
        key="17b",
        statement="Under mixup the confidence of right predictions stands out more above that of wrong ones.",
        source=PREDICTED,
        measured="(mean confidence where right less that where wrong) over the latter, mixup less plain training, "
        "seed by seed; mean over seeds",
        test=at_least(0.0, difference(MIXUP, ERM, _relative_gap)),
    ),
    claim(
        key="18b",
        statement="Fixing the classifier to a simplex frame costs no accuracy.",
        measured="test accuracy, fixed less learned classifier, both with mixup, seed by seed; mean over seeds",
        settings=settings_with(MIXUP, FIXED),
        test=between(-1.0, 1.0, difference(FIXED, MIXUP, percent("test/accuracy")), unit="percentage points"),
    ),
)

# What must not be seen without mixup, or where it cannot help.
EASY = settings_with(ERM, MIXUP, data="digits")
control = partial(claim_check, study="fisher2024", source=PREDICTED, is_control=True)

CONTROLS = (
    control(
        key="9c",
        statement="Without mixup blends do not stand higher in the channel the more even they are.",
        measured=f"mean height at smaller weights above 0.3 less that below 0.1, plain training; {PAIRS}",
        settings=settings_with(ERM),
        test=at_most(0.0, value(ERM, excess("channels/order_high", "channels/order_low")), unit="nats"),
    ),
    control(
        key="10c",
        statement="Without mixup a nat of log-odds is several nats across the channel.",
        measured=f"least-squares slope of x1 - x2 on log(w / (1 - w)), plain training; {PAIRS}",
        settings=settings_with(ERM),
        test=at_least(4.0, value(ERM, "channels/logit_slope")),
    ),
    control(
        key="11c",
        statement="Without mixup blends of two classes are spread evenly or stay with their classes.",
        measured="density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even "
        f"spread's, plain training; {PAIRS}",
        settings=settings_with(ERM),
        test=at_most(1.0, value(ERM, "channels/middle_density")),
    ),
    control(
        key="16a",
        statement="On clean and easy images, where plain training is calibrated already, mixup makes calibration "
        "worse.",
        source=DERIVED.noting(", where the best predictions for blends are spread, whatever the images"),
        measured="expected calibration error on test images (15 bins), mixup less plain training, seed by seed; mean "
        "over seeds",
        settings=EASY,
        test=at_least(0.0, difference(MIXUP, ERM, "test/ece")),
    ),
    control(
        key="16b",
        statement="On clean and easy images networks trained with mixup are under-confident.",
        source=DERIVED.noting(", where the best predictions for blends are spread, whatever the images"),
        measured="mean confidence less accuracy on test images; mean over seeds",
        settings=EASY,
        test=at_most(0.0, value(MIXUP, "test/signed_gap")),
    ),
    control(
        key="20a",
        statement="Mixing labels alone does not amplify: blends do not lie much further out than the line between "
        "their examples.",
        measured=f"mean length over that on the line, weights from 0.3 to 0.7, inputs unmixed in training; {PAIRS}",
        settings=settings_with(LABELS),
        test=at_most(1.4, value(LABELS, "channels/amplification")),
    ),
    control(
        key="20b",
        statement="Mixing labels alone does not bring blends to a channel along the decision boundary as mixup does.",
        measured="mean cosine between blends with weights from 0.3 to 0.7 and the boundary's direction w_i + w_j: "
        f"mixup less label mixup, seed by seed; {PAIRS}",
        settings=settings_with(MIXUP, LABELS),
        test=at_least(0.05, difference(MIXUP, LABELS, "channels/alignment_channel")),
    ),
)
