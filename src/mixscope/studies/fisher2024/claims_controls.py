"""Negative controls on Fisher et al. 2024: what must not be seen without mixup, or where it cannot help."""

from functools import partial

from mixscope.studies.engine.claim_checks import at_least, at_most, claim_check
from mixscope.studies.engine.evidence_sources import difference, excess, value
from mixscope.studies.fisher2024.evidence import DERIVED, PAIRS, PREDICTED, settings_with
from mixscope.studies.fisher2024.runs import ERM, LABELS, MIXUP

EASY = settings_with(ERM, MIXUP, data="digits")


claim = partial(claim_check, study="fisher2024", source=PREDICTED, is_control=True)

CHECKS = (
    claim(
        key="9c",
        statement="Without mixup blends do not stand higher in the channel the more even they are.",
        measured=f"mean height at smaller weights above 0.3 less that below 0.1, plain training; {PAIRS}",
        settings=settings_with(ERM),
        test=at_most(0.0, value(ERM, excess("channels/order_high", "channels/order_low")), unit="nats"),
    ),
    claim(
        key="10c",
        statement="Without mixup a nat of log-odds is several nats across the channel.",
        measured=f"least-squares slope of x1 - x2 on log(w / (1 - w)), plain training; {PAIRS}",
        settings=settings_with(ERM),
        test=at_least(4.0, value(ERM, "channels/logit_slope")),
    ),
    claim(
        key="11c",
        statement="Without mixup blends of two classes are spread evenly or stay with their classes.",
        measured="density in the middle third of the way across (to the 90% quantile of |x1 - x2|) over an even "
        f"spread's, plain training; {PAIRS}",
        settings=settings_with(ERM),
        test=at_most(1.0, value(ERM, "channels/middle_density")),
    ),
    claim(
        key="16a",
        statement="On clean and easy images, where plain training is calibrated already, mixup makes calibration "
        "worse.",
        source=DERIVED.noting(", where the best predictions for blends are spread, whatever the images"),
        measured="expected calibration error on test images (15 bins), mixup less plain training, seed by seed; mean "
        "over seeds",
        settings=EASY,
        test=at_least(0.0, difference(MIXUP, ERM, "test/ece")),
    ),
    claim(
        key="16b",
        statement="On clean and easy images networks trained with mixup are under-confident.",
        source=DERIVED.noting(", where the best predictions for blends are spread, whatever the images"),
        measured="mean confidence less accuracy on test images; mean over seeds",
        settings=EASY,
        test=at_most(0.0, value(MIXUP, "test/signed_gap")),
    ),
    claim(
        key="20a",
        statement="Mixing labels alone does not amplify: blends do not lie much further out than the line between "
        "their examples.",
        measured=f"mean length over that on the line, weights from 0.3 to 0.7, inputs unmixed in training; {PAIRS}",
        settings=settings_with(LABELS),
        test=at_most(1.4, value(LABELS, "channels/amplification")),
    ),
    claim(
        key="20b",
        statement="Mixing labels alone does not bring blends to a channel along the decision boundary as mixup does.",
        measured="mean cosine between blends with weights from 0.3 to 0.7 and the boundary's direction w_i + w_j: "
        f"mixup less label mixup, seed by seed; {PAIRS}",
        settings=settings_with(MIXUP, LABELS),
        test=at_least(0.05, difference(MIXUP, LABELS, "channels/alignment_channel")),
    ),
)
