"""What images without labels are good for: claims 13, 15, 16 and 19a of the study of Chaudhry et al. 2022."""

from mixscope.records.claims import Claim, Group
from mixscope.studies.chaudhry2022.evidence import (
    PILOT,
    SETTINGS,
    accuracy_of,
    every_run,
    gain,
    is_collapsed,
    labels_needed,
    shrinking_gain,
)
from mixscope.studies.engine.evidence_sources import DERIVED
from mixscope.studies.engine.study_definition import Check

PAPER = "Chaudhry et al. 2022, experiments (text on the figures of accuracy)"
ALL = tuple(SETTINGS)
WITH_EVERY_K = tuple(name for name in ALL if name != "fashion-mnist-250")  # of the moving average
POINTS = "percentage points"
PAIRED = "Difference of test accuracies at the end of training, seed by seed."
NO_GAIN = "The mean difference is at most 0."
EMA_WORDS = "with a moving average as the teacher, compared by its probabilities"
ASKED_AFTER = f"{PAPER}; asked after the runs"
NOT_MIXUP = " Mixup's accuracy would not tell them apart: both have it with 50 labels in all seeds but one at most."


def _gain(
    number: str,
    statement: str,
    first: str,
    second: str,
    *,
    source: str = PAPER,
    group: Group = "paper",
    settings: tuple[str, ...] = ALL,
) -> Check:
    claim = Claim(f"chaudhry2022.{number}", group, statement, source, PAIRED, NO_GAIN, low=0.0, unit=POINTS)
    return Check(claim, settings, gain(first, second))


def _labels(
    number: str, statement: str, first: str, second: str, *, target: str = "mixup", source: str = PAPER, seen: str = ""
) -> Check:
    """Return a claim on the labels that one method needs over those that another needs, for what `target` has."""
    measured = (
        f"Labels that the first needs for the accuracy that {'the second' if target == second else target} has with "
        "100, over those that the second needs, seed by seed; interpolated in their logarithm between 50, 100 and "
        f"200. Outside these sizes the nearest is taken, which brings the ratio nearer to 1.{seen}"
    )
    claim = Claim(
        f"chaudhry2022.{number}", "paper", statement, source, measured, "The mean ratio is at least 1.", high=1.0
    )
    return Check(claim, ("digits-100",), labels_needed(first, second, target=target))


COLLAPSE_CHECKS = (
    Check(
        Claim(
            "chaudhry2022.13a",
            "control",
            "With the network as its own teacher, targets detached, on logits, every run collapses to a constant.",
            PILOT,
            "1 for a run whose outputs do not depend on the image, run by run.",
            "Any run does not collapse.",
            low=1.0,
            high=1.0,
            is_exact=True,
        ),
        ("digits-50",),
        every_run(is_collapsed, ("ict2-detached",)),
    ),
    Check(
        Claim(
            "chaudhry2022.13b",
            "control",
            "With the network as its own teacher, targets detached, on logits, the accuracy is that of guessing.",
            PILOT,
            "Test accuracy at the end of training; limits ours, five points about 10%.",
            "The mean lies outside.",
            low=0.05,
            high=0.15,
        ),
        ("digits-50",),
        every_run(accuracy_of, ("ict2-detached",)),
    ),
    Check(
        Claim(
            "chaudhry2022.13c",
            "control",
            f"ICT[2] {EMA_WORDS}, does not collapse.",
            PILOT,
            "1 for a run whose outputs do not depend on the image, run by run.",
            "Any run collapses.",
            low=0.0,
            high=0.0,
            is_exact=True,
        ),
        ALL,
        every_run(is_collapsed, ("ict2-ema",)),
    ),
)

GAIN_CHECKS = (
    _gain("15a", "ICT[2] as printed (Eq. 2) is more accurate than ERM.", "ict2", "erm"),
    _gain("15b", "ICT[2] as printed (Eq. 2) is more accurate than mixup.", "ict2", "mixup"),
    _gain(
        "15c",
        "ICT[2] as printed (Eq. 2) is more accurate than logistic regression: its gain is more than that of becoming "
        "linear.",
        "ict2",
        "logistic",
        source=DERIVED,
        group="derived",
    ),
    _gain("15d", f"ICT[2] {EMA_WORDS}, is more accurate than mixup.", "ict2-ema", "mixup"),
    _gain(
        "15e",
        f"ICT[2] {EMA_WORDS}, is more accurate than logistic regression.",
        "ict2-ema",
        "logistic",
        source=DERIVED,
        group="derived",
    ),
    _gain("15f", "ICT[4] as printed (Eq. 2) is more accurate than ICT[2].", "ict4", "ict2"),
    _gain("15g", f"ICT[4] {EMA_WORDS}, is more accurate than ICT[2].", "ict4-ema", "ict2-ema", settings=WITH_EVERY_K),
    *(
        Check(
            Claim(
                f"chaudhry2022.15{letter}",
                "paper",
                f"What K = 4 gains over K = 2 shrinks with more labels, {words}.",
                PAPER,
                "Gain in test accuracy with 50 labels less that with 200, seed by seed.",
                NO_GAIN,
                low=0.0,
                unit=POINTS,
            ),
            ("digits-200",),
            shrinking_gain(first, second, fewest="digits-50"),
        )
        for letter, first, second, words in (
            ("h", "ict4", "ict2", "as printed (Eq. 2)"),
            ("i", "ict4-ema", "ict2-ema", EMA_WORDS),
        )
    ),
    _labels(
        "16a",
        "ICT[4] as printed (Eq. 2) needs fewer labels than mixup (the paper, at 70% on CIFAR-10: 500 against 1,800).",
        "ict4",
        "mixup",
    ),
    _labels(
        "16b",
        "ICT[4] as printed (Eq. 2) needs fewer labels than ICT[2].",
        "ict4",
        "ict2",
    ),
    _labels(
        "16c",
        f"ICT[4] {EMA_WORDS}, needs fewer labels than mixup.",
        "ict4-ema",
        "mixup",
        seen=" With 50 labels, the fewest run, every seed has that accuracy already: all ratios are 50 over 100, and "
        "the true ones are no larger.",
    ),
    _labels("16d", "ICT[2] as printed (Eq. 2) needs fewer labels than mixup.", "ict2", "mixup", source=ASKED_AFTER),
    _labels(
        "16e",
        f"ICT[4] {EMA_WORDS}, needs fewer labels than ICT[2].",
        "ict4-ema",
        "ict2-ema",
        target="ict2-ema",
        source=ASKED_AFTER,
        seen=NOT_MIXUP,
    ),
    _labels("16f", "ICT[5] as printed (Eq. 2) needs fewer labels than ICT[4].", "ict5", "ict4", source=ASKED_AFTER),
    _labels(
        "16g",
        f"ICT[5] {EMA_WORDS}, needs fewer labels than ICT[4].",
        "ict5-ema",
        "ict4-ema",
        target="ict4-ema",
        source=ASKED_AFTER,
        seen=NOT_MIXUP,
    ),
    _gain(
        "19a",
        f"ICT[2] {EMA_WORDS}, is more accurate than ERM.",
        "ict2-ema",
        "erm",
    ),
)
