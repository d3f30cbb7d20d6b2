"""Claims on Chaudhry et al. 2022 about what images without labels are good for: 13, 15, 16 and 19a."""

from functools import partial
from typing import Any

from mixscope.studies.chaudhry2022.evidence import (
    PILOT,
    accuracy_of,
    every_run,
    gain,
    is_collapsed,
    labels_needed,
    shrinking_gain,
)
from mixscope.studies.chaudhry2022.runs import SETTINGS
from mixscope.studies.engine.claim_checks import (
    DERIVED,
    Check,
    Source,
    at_least,
    at_most,
    between,
    claim_check,
    exactly,
)

PAPER = Source("paper", "Chaudhry et al. 2022, experiments (text on the figures of accuracy)")
ASKED_AFTER = PAPER.noting("; asked after the runs")
ALL = tuple(SETTINGS)
WITH_EVERY_K = tuple(name for name in ALL if name != "fashion-mnist-250")  # of the moving average
AVERAGED = "with a moving average as the teacher, compared by its probabilities"
SEEN = (
    " With 50 labels, the fewest run, every seed has that accuracy already: all ratios are 50 over 100, and the true "
    "ones are no larger."
)
NOT_MIXUP = " Mixup's accuracy would not tell them apart: both have it with 50 labels in all seeds but one at most."

claim = partial(claim_check, study="chaudhry2022", source=PAPER, settings=ALL)
control = partial(claim, is_control=True)


def name(method: str) -> str:
    """Return "ICT[2]" of "ict2-ema"."""
    others = {"erm": "ERM", "logistic": "logistic regression", "mixup": "mixup"}
    return others.get(method) or f"ICT[{method[3]}]"


def full_name(method: str) -> str:
    """Return the name of ICT[K] with its form."""
    return f"{name(method)} {AVERAGED}," if method.endswith("-ema") else f"{name(method)} as printed (Eq. 2)"


def more_accurate(key: str, first: str, second: str, *, words: str = "", **options: Any) -> Check:
    """Return the claim that one method is more accurate than another; `words` are added to it."""
    return claim(
        key=key,
        statement=f"{full_name(first)} is more accurate than {name(second)}{words}.",
        measured="Difference of test accuracies at the end of training, seed by seed.",
        test=at_least(0.0, gain(first, second), unit="percentage points"),
        **options,
    )


def shrinking(key: str, first: str, second: str, *, words: str) -> Check:
    """Return the claim that a gain in accuracy shrinks with more labels."""
    return claim(
        key=key,
        statement=f"What K = 4 gains over K = 2 shrinks with more labels, {words}.",
        measured="Gain in test accuracy with 50 labels less that with 200, seed by seed.",
        settings=("digits-200",),
        test=at_least(0.0, shrinking_gain(first, second, fewest="digits-50"), unit="percentage points"),
    )


def fewer_labels(
    key: str, first: str, second: str, *, target: str = "mixup", words: str = "", seen: str = "", **options: Any
) -> Check:
    """Return the claim that one method needs fewer labels than another for the accuracy that `target` has."""
    whose = "the second" if target == second else target
    return claim(
        key=key,
        statement=f"{full_name(first)} needs fewer labels than {name(second)}{words}.",
        measured=f"Labels that the first needs for the accuracy that {whose} has with 100, over those that the second "
        "needs, seed by seed; interpolated in their logarithm between 50, 100 and 200. Outside these sizes the nearest "
        f"is taken, which brings the ratio nearer to 1.{seen}",
        settings=("digits-100",),
        test=at_most(1.0, labels_needed(first, second, target=target)),
        **options,
    )


CHECKS = (
    more_accurate("15a", "ict2", "erm"),
    more_accurate("15b", "ict2", "mixup"),
    more_accurate("15c", "ict2", "logistic", words=": its gain is more than that of becoming linear", source=DERIVED),
    more_accurate("15d", "ict2-ema", "mixup"),
    more_accurate("15e", "ict2-ema", "logistic", source=DERIVED),
    more_accurate("15f", "ict4", "ict2"),
    more_accurate("15g", "ict4-ema", "ict2-ema", settings=WITH_EVERY_K),
    shrinking("15h", "ict4", "ict2", words="as printed (Eq. 2)"),
    shrinking("15i", "ict4-ema", "ict2-ema", words=AVERAGED),
    fewer_labels("16a", "ict4", "mixup", words=" (the paper, at 70% on CIFAR-10: 500 against 1,800)"),
    fewer_labels("16b", "ict4", "ict2"),
    fewer_labels("16c", "ict4-ema", "mixup", seen=SEEN),
    fewer_labels("16d", "ict2", "mixup", source=ASKED_AFTER),
    fewer_labels("16e", "ict4-ema", "ict2-ema", target="ict2-ema", source=ASKED_AFTER, seen=NOT_MIXUP),
    fewer_labels("16f", "ict5", "ict4", source=ASKED_AFTER),
    fewer_labels("16g", "ict5-ema", "ict4-ema", target="ict4-ema", source=ASKED_AFTER, seen=NOT_MIXUP),
    more_accurate("19a", "ict2-ema", "erm"),
    control(
        key="13a",
        statement="With the network as its own teacher, targets detached, on logits, every run collapses to a "
        "constant.",
        source=PILOT,
        measured="1 for a run whose outputs do not depend on the image, run by run.",
        is_exact=True,
        settings=("digits-50",),
        test=exactly(1.0, every_run(is_collapsed, ("ict2-detached",))),
    ),
    control(
        key="13b",
        statement="With the network as its own teacher, targets detached, on logits, the accuracy is that of guessing.",
        source=PILOT,
        measured="Test accuracy at the end of training; limits ours, five points about 10%.",
        settings=("digits-50",),
        test=between(0.05, 0.15, every_run(accuracy_of, ("ict2-detached",))),
    ),
    control(
        key="13c",
        statement=f"{full_name('ict2-ema')} does not collapse.",
        source=PILOT,
        measured="1 for a run whose outputs do not depend on the image, run by run.",
        is_exact=True,
        test=exactly(0.0, every_run(is_collapsed, ("ict2-ema",))),
    ),
)
