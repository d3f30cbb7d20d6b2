"""Claims on Liu et al. 2023 about trained networks: what long training with mixup does, and what a switch repairs."""

from functools import partial

from mixscope.records.claims import Sample, combined, paired
from mixscope.studies.engine.claim_checks import RECALLED, Source, at_least, at_most, claim_check
from mixscope.studies.engine.evidence_sources import difference, ratio, ratio_within, value
from mixscope.studies.engine.results import Results
from mixscope.studies.liu2023.evidence import (
    ABSTRACT,
    PILOT,
    SUMMARY,
    best_error,
    between,
    decay,
    last_error,
    loss_rise,
    sharpness_rise,
)
from mixscope.studies.liu2023.settings import ALPHAS, DIGITS_EPOCHS, ERM, MIXUP, NETWORK_SETTINGS, SIDE_EPOCHS, switched

POINTS = "percentage points"
DECAY = "test error at the end less the lowest, the curve averaged over three looks"
APPENDIX = Source(
    "recalled",
    "recalled that an appendix has other alphas, not checked against the paper; this value and the limit are ours",
)
MIDDLE = ("digits-200",)
OFF = switched(200)


def protocol_gap(results: Results, setting: str) -> Sample:
    """Return mixup's test error less plain training's at the end, less the same of each run's best look."""
    last, best = (results.difference(setting, MIXUP, ERM, number) for number in (last_error, best_error))
    return paired(last, best)


def halved_decay(results: Results, setting: str) -> Sample:
    """Return the decay under a strong penalty less half of that without."""
    strong, none = (results.sample(setting, f"mixup-decay-{penalty}", decay) for penalty in ("0.001", "0"))
    return combined(lambda with_penalty, without: with_penalty - without / 2, strong, none)


claim = partial(claim_check, study="liu2023", source=PILOT, settings=MIDDLE)

CHECKS = (
    claim(
        key="13a",
        statement="Trained for long with mixup, the test error rises again (200 digits).",
        source=ABSTRACT,
        measured=f"{DECAY}; alpha 1, 2,000 epochs",
        test=at_least(1, value(MIXUP, decay), unit=POINTS),
    ),
    claim(
        key="13b",
        statement="In 2,000 epochs of plain training the test error does not rise (200 digits).",
        source=SUMMARY,
        measured=f"{DECAY}; 2,000 epochs",
        is_control=True,
        test=at_most(0.2, value(ERM, decay), unit=POINTS),
    ),
    claim(
        key="13c",
        statement="On a number of standard data sets long training hurts mixup more than plain training.",
        source=ABSTRACT,
        measured=f"{DECAY}: mixup less plain training",
        settings=NETWORK_SETTINGS,
        test=at_least(0, difference(MIXUP, ERM, decay), unit=POINTS),
    ),
    claim(
        key="13d",
        statement="Trained for long with the squared error, the test error rises more under mixup than without it "
        "(200 digits).",
        source=RECALLED,
        measured=f"{DECAY}: mixup less plain training, both with the squared error, {SIDE_EPOCHS:,} epochs",
        test=at_least(0, difference("mixup-squared", "erm-squared", decay), unit=POINTS),
    ),
    *(
        claim(
            key=f"13{letter}",
            statement=f"Trained for long with alpha {alpha:g}, the test error rises more under mixup than without it "
            "(200 digits).",
            source=APPENDIX,
            measured=f"{DECAY}: mixup with alpha {alpha:g} less plain training, both up to epoch {SIDE_EPOCHS:,}",
            test=at_least(0, difference(f"mixup-alpha-{alpha:g}", ERM, partial(decay, until=SIDE_EPOCHS)), unit=POINTS),
        )
        for letter, alpha in zip("ef", ALPHAS, strict=True)
    ),
    *(
        claim(
            key=f"14{letter}",
            statement=f"With fewer images the test error under mixup rises more: {few} digits against {many}.",
            source=ABSTRACT,
            measured=f"{DECAY}; mixup, {few} digits ({DIGITS_EPOCHS[f'digits-{few}']:,} epochs) less {many} "
            f"({DIGITS_EPOCHS[f'digits-{many}']:,})",
            settings=(f"digits-{few}",),
            test=at_least(0, between(MIXUP, f"digits-{few}", f"digits-{many}", decay), unit=POINTS),
        )
        for letter, few, many in (("a", 100, 200), ("b", 200, 500))
    ),
    claim(
        key="15a",
        statement="Mixup that stops after 200 of 2,000 epochs ends with a lower test error than plain training.",
        measured="test error at the end, mixup with the switch less plain training",
        test=at_most(0, difference(OFF, ERM, last_error), unit=POINTS),
    ),
    claim(
        key="15b",
        statement="Switching from mixup to plain training in time prevents the damage: the test error ends below "
        "mixup's.",
        source=SUMMARY,
        measured="test error at the end, mixup that stops after 200 of 2,000 epochs less mixup throughout",
        test=at_most(0, difference(OFF, MIXUP, last_error), unit=POINTS),
    ),
    claim(
        key="15c",
        statement="After a switch from mixup to plain training in time the test error rises less than under mixup.",
        source=SUMMARY.noting("; asked after the runs"),
        measured=f"{DECAY}: mixup that stops after 200 of 2,000 epochs less mixup throughout",
        test=at_most(0, difference(OFF, MIXUP, decay), unit=POINTS),
    ),
    claim(
        key="16",
        statement="Trained for long with mixup, the test cross-entropy rises by more than a quarter (200 digits).",
        measured="test loss at the end over the lowest, the curve averaged over three looks",
        test=at_least(1.25, ratio_within(MIXUP, loss_rise)),
    ),
    claim(
        key="18a",
        statement="Reporting the best epoch instead of the last flatters mixup against plain training.",
        measured="test error of mixup less that of plain training, at the end less at each run's best look",
        test=at_least(0, protocol_gap, unit=POINTS),
    ),
    claim(
        key="18b",
        statement="By each run's best epoch mixup is better than plain training.",
        measured="lowest test error of all looks, mixup less plain training",
        test=at_most(0, difference(MIXUP, ERM, best_error), unit=POINTS),
    ),
    claim(
        key="18c",
        statement="By the last epoch mixup is worse than plain training.",
        measured="test error at the end, mixup less plain training",
        test=at_least(0, difference(MIXUP, ERM, last_error), unit=POINTS),
    ),
    claim(
        key="19",
        statement="Under mixup the gradient of the full objective does not vanish, as it does under plain training.",
        source=RECALLED,
        measured="its length at the end, mixup over plain training, each of its own objective over all training images",
        test=at_least(10, ratio(MIXUP, ERM, "train/objective_gradient_norm")),
    ),
    claim(
        key="20",
        statement="Over-training with mixup ends in a sharper minimum.",
        source=RECALLED,
        measured="filter-normalised sharpness of the loss on clean training images, at the end over that at the "
        "measured epoch nearest to the lowest test error",
        test=at_least(1, ratio_within(MIXUP, sharpness_rise)),
    ),
    claim(
        key="21",
        statement="A weight decay of 0.001 at least halves the rise of the test error that mixup has without any.",
        measured=f"{DECAY}, with weight decay 0.001 less half of that with none, {SIDE_EPOCHS:,} epochs",
        test=at_most(0, halved_decay, unit=POINTS),
    ),
)
