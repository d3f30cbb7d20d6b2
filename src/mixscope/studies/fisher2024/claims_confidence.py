"""Claims on Fisher et al. 2024 about test images: calibration, confidence where it is wrong, accuracy."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import RECALLED, difference, percent, ratio
from mixscope.studies.engine.results import read_number
from mixscope.studies.engine.study_definition import Check
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


CHECKS = (
    Check(
        Claim(
            "fisher2024.15a",
            "derived",
            "Where a fifth of the labels is wrong, mixup is much better calibrated than plain training.",
            f"{PREDICTED}, and the paper's tables on calibration were not seen",
            "expected calibration error on test images (15 bins, as noisy as those trained on), plain training less "
            "mixup, seed by seed; mean over seeds",
            "a gain below 0.05",
            low=0.05,
        ),
        NOISY,
        difference(ERM, MIXUP, "test/ece"),
    ),
    Check(
        Claim(
            "fisher2024.15b",
            "derived",
            "Where a fifth of the labels is wrong, mixup halves the test loss.",
            PREDICTED,
            "cross-entropy on test images, mixup over plain training, seed by seed; mean over seeds",
            "a ratio above one half",
            high=0.5,
        ),
        NOISY,
        ratio(MIXUP, ERM, "test/loss"),
    ),
    Check(
        Claim(
            "fisher2024.15c",
            "paper",
            "Mixup improves calibration.",
            "Fisher et al. 2024, as read in its abstract; the numbers of its tables were not seen",
            "expected calibration error on test images (15 bins), plain training less mixup, seed by seed; mean over "
            "seeds",
            "no gain",
            low=0.0,
        ),
        IMAGES,
        difference(ERM, MIXUP, "test/ece"),
    ),
    Check(
        Claim(
            "fisher2024.17a",
            "recalled",
            "Misclassified test images are predicted with less confidence under mixup.",
            RECALLED,
            "mean confidence where the class is wrong, mixup less plain training, seed by seed; mean over seeds",
            "a confidence that is no lower",
            high=0.0,
        ),
        CLEAN,
        difference(MIXUP, ERM, "test/confidence_wrong"),
    ),
    Check(
        Claim(
            "fisher2024.17b",
            "derived",
            "Under mixup the confidence of right predictions stands out more above that of wrong ones.",
            PREDICTED,
            "(mean confidence where right less that where wrong) over the latter, mixup less plain training, seed by "
            "seed; mean over seeds",
            "a gap that is no wider",
            low=0.0,
        ),
        CLEAN,
        difference(MIXUP, ERM, _relative_gap),
    ),
    Check(
        Claim(
            "fisher2024.18b",
            "paper",
            "Fixing the classifier to a simplex frame costs no accuracy.",
            READ,
            "test accuracy, fixed less learned classifier, both with mixup, seed by seed; mean over seeds",
            "a difference of more than 1 percentage point",
            low=-1.0,
            high=1.0,
            unit="percentage points",
        ),
        settings_with(MIXUP, FIXED),
        difference(FIXED, MIXUP, percent("test/accuracy")),
    ),
)
