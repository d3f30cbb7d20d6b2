"""Negative controls on Fisher et al. 2024: what must not be seen without mixup, or where it cannot help."""

from mixscope.records.claims import Claim
from mixscope.studies.engine.evidence_sources import difference, excess, value
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.fisher2024.evidence import DERIVED, PAIRS, PREDICTED, settings_with
from mixscope.studies.fisher2024.runs import ERM, LABELS, MIXUP

EASY = settings_with(ERM, MIXUP, data="digits")


CHECKS = (
    Check(
        Claim(
            "fisher2024.9c",
            "control",
            "Without mixup blends do not stand higher in the channel the more even they are.",
            PREDICTED,
            f"mean height at smaller weights above 0.3 less that below 0.1, plain training; {PAIRS}",
            "a height that rises",
            high=0.0,
            unit="nats",
        ),
        settings_with(ERM),
        value(ERM, excess("channels/order_high", "channels/order_low")),
    ),
    Check(
        Claim(
            "fisher2024.10c",
            "control",
            "Without mixup a nat of log-odds is several nats across the channel.",
            PREDICTED,
            f"least-squares slope of x1 - x2 on log(w / (1 - w)), plain training; {PAIRS}",
            "a slope below 4",
            low=4.0,
        ),
        settings_with(ERM),
        value(ERM, "channels/logit_slope"),
    ),
    Check(
        Claim(
            "fisher2024.11c",
            "control",
            "Without mixup blends of two classes are spread evenly or stay with their classes.",
            PREDICTED,
            "density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even spread's, "
            f"plain training; {PAIRS}",
            "a density above that of an even spread",
            high=1.0,
        ),
        settings_with(ERM),
        value(ERM, "channels/middle_density"),
    ),
    Check(
        Claim(
            "fisher2024.16a",
            "control",
            "On clean and easy images, where plain training is calibrated already, mixup makes calibration worse.",
            f"{DERIVED}, where the best predictions for blends are spread, whatever the images",
            "expected calibration error on test images (15 bins), mixup less plain training, seed by seed; mean over "
            "seeds",
            "mixup no worse",
            low=0.0,
        ),
        EASY,
        difference(MIXUP, ERM, "test/ece"),
    ),
    Check(
        Claim(
            "fisher2024.16b",
            "control",
            "On clean and easy images networks trained with mixup are under-confident.",
            f"{DERIVED}, where the best predictions for blends are spread, whatever the images",
            "mean confidence less accuracy on test images; mean over seeds",
            "a confidence above the accuracy",
            high=0.0,
        ),
        EASY,
        value(MIXUP, "test/signed_gap"),
    ),
    Check(
        Claim(
            "fisher2024.20a",
            "control",
            "Mixing labels alone does not amplify: blends do not lie much further out than the line between their "
            "examples.",
            PREDICTED,
            f"mean length over that on the line, weights from 0.3 to 0.7, inputs unmixed in training; {PAIRS}",
            "the factor 1.4 that is asked of mixup",
            high=1.4,
        ),
        settings_with(LABELS),
        value(LABELS, "channels/amplification"),
    ),
    Check(
        Claim(
            "fisher2024.20b",
            "control",
            "Mixing labels alone does not bring blends to a channel along the decision boundary as mixup does.",
            PREDICTED,
            "mean cosine between blends with weights from 0.3 to 0.7 and the boundary's direction w_i + w_j: mixup "
            f"less label mixup, seed by seed; {PAIRS}",
            "a gain of mixup below 0.05",
            low=0.05,
        ),
        settings_with(MIXUP, LABELS),
        difference(MIXUP, LABELS, "channels/alignment_channel"),
    ),
)
