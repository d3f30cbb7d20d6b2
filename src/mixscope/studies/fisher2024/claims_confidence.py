"""Claims on Fisher et al. 2024 about test images: calibration, confidence where it is wrong, accuracy."""

from functools import partial

from mixscope.studies.engine.claim_checks import RECALLED, Source, at_least, at_most, between, claim_check
from mixscope.studies.engine.evidence_sources import difference, percent, ratio
from mixscope.studies.engine.results import read_number
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.evidence import PREDICTED, READ, settings_with
from mixscope.studies.fisher2024.runs import ERM, FIXED, MIXUP

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
