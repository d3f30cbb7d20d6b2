"""Claims on Liu et al. 2023 about trained networks: what long training with mixup does, and what a switch repairs."""

from mixscope.records.claims import Claim
from mixscope.records.samples import Sample, paired
from mixscope.studies.engine.evidence_sources import RECALLED, difference, ratio, ratio_within, value
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import Check
from mixscope.studies.liu2023.evidence import (
    ABSTRACT,
    PILOT,
    SUMMARY,
    best_error,
    between,
    decay,
    decay_by,
    last_error,
    loss_rise,
    sharpness_rise,
)
from mixscope.studies.liu2023.settings import ALPHAS, DIGITS_EPOCHS, ERM, MIXUP, NETWORK_SETTINGS, SIDE_EPOCHS, switched

POINTS = "percentage points"
DECAY = "test error at the end less the lowest, the curve averaged over three looks"
APPENDIX = (
    "recalled that an appendix has other alphas, not checked against the paper; this value and the limit are ours"
)
MIDDLE = ("digits-200",)
OFF = switched(200)


def protocol_gap(results: Results, setting: str) -> Sample:
    """Return mixup's test error less plain training's at the end, less the same of each run's best look."""
    last, best = (results.difference(setting, MIXUP, ERM, number) for number in (last_error, best_error))
    return paired(last, best)


def halved_decay(results: Results, setting: str) -> Sample:
    """Return the decay under a strong penalty less half of that without."""
    strong = results.sample(setting, "mixup-decay-0.001", decay)
    return paired(strong, results.sample(setting, "mixup-decay-0", lambda outcome: decay(outcome) / 2))


CHECKS = (
    Check(
        Claim(
            "liu2023.13a",
            "paper",
            "Trained for long with mixup, the test error rises again (200 digits).",
            ABSTRACT,
            f"{DECAY}; alpha 1, 2,000 epochs",
            "a mean rise below 1 percentage point",
            low=1,
            unit=POINTS,
        ),
        MIDDLE,
        value(MIXUP, decay),
    ),
    Check(
        Claim(
            "liu2023.13b",
            "control",
            "In 2,000 epochs of plain training the test error does not rise (200 digits).",
            SUMMARY,
            f"{DECAY}; 2,000 epochs",
            "a mean rise above 0.2 percentage points",
            high=0.2,
            unit=POINTS,
        ),
        MIDDLE,
        value(ERM, decay),
    ),
    Check(
        Claim(
            "liu2023.13c",
            "paper",
            "On a number of standard data sets long training hurts mixup more than plain training.",
            ABSTRACT,
            f"{DECAY}: mixup less plain training",
            "a mean difference below 0",
            low=0,
            unit=POINTS,
        ),
        NETWORK_SETTINGS,
        difference(MIXUP, ERM, decay),
    ),
    Check(
        Claim(
            "liu2023.13d",
            "recalled",
            "Trained for long with the squared error, the test error rises more under mixup than without it (200 "
            "digits).",
            RECALLED,
            f"{DECAY}: mixup less plain training, both with the squared error, {SIDE_EPOCHS:,} epochs",
            "a mean difference below 0",
            low=0,
            unit=POINTS,
        ),
        MIDDLE,
        difference("mixup-squared", "erm-squared", decay),
    ),
    *(
        Check(
            Claim(
                f"liu2023.13{letter}",
                "recalled",
                f"Trained for long with alpha {alpha:g}, the test error rises more under mixup than without it (200 "
                "digits).",
                APPENDIX,
                f"{DECAY}: mixup with alpha {alpha:g} less plain training, both up to epoch {SIDE_EPOCHS:,}",
                "a mean difference below 0",
                low=0,
                unit=POINTS,
            ),
            MIDDLE,
            difference(f"mixup-alpha-{alpha:g}", ERM, decay_by(SIDE_EPOCHS)),
        )
        for letter, alpha in zip("ef", ALPHAS, strict=True)
    ),
    *(
        Check(
            Claim(
                f"liu2023.14{letter}",
                "paper",
                f"With fewer images the test error under mixup rises more: {few} digits against {many}.",
                ABSTRACT,
                f"{DECAY}; mixup, {few} digits ({DIGITS_EPOCHS[f'digits-{few}']:,} epochs) less {many} "
                f"({DIGITS_EPOCHS[f'digits-{many}']:,})",
                "a mean difference below 0",
                low=0,
                unit=POINTS,
            ),
            (f"digits-{few}",),
            between(MIXUP, f"digits-{few}", f"digits-{many}", decay),
        )
        for letter, few, many in (("a", 100, 200), ("b", 200, 500))
    ),
    Check(
        Claim(
            "liu2023.15a",
            "derived",
            "Mixup that stops after 200 of 2,000 epochs ends with a lower test error than plain training.",
            PILOT,
            "test error at the end, mixup with the switch less plain training",
            "a mean difference above 0",
            high=0,
            unit=POINTS,
        ),
        MIDDLE,
        difference(OFF, ERM, last_error),
    ),
    Check(
        Claim(
            "liu2023.15b",
            "paper",
            "Switching from mixup to plain training in time prevents the damage: the test error ends below mixup's.",
            SUMMARY,
            "test error at the end, mixup that stops after 200 of 2,000 epochs less mixup throughout",
            "a mean difference above 0",
            high=0,
            unit=POINTS,
        ),
        MIDDLE,
        difference(OFF, MIXUP, last_error),
    ),
    Check(
        Claim(
            "liu2023.15c",
            "paper",
            "After a switch from mixup to plain training in time the test error rises less than under mixup.",
            f"{SUMMARY}; asked after the runs",
            f"{DECAY}: mixup that stops after 200 of 2,000 epochs less mixup throughout",
            "a mean difference above 0",
            high=0,
            unit=POINTS,
        ),
        MIDDLE,
        difference(OFF, MIXUP, decay),
    ),
    Check(
        Claim(
            "liu2023.16",
            "derived",
            "Trained for long with mixup, the test cross-entropy rises by more than a quarter (200 digits).",
            PILOT,
            "test loss at the end over the lowest, the curve averaged over three looks",
            "a mean ratio below 1.25",
            low=1.25,
        ),
        MIDDLE,
        ratio_within(MIXUP, loss_rise),
    ),
    Check(
        Claim(
            "liu2023.18a",
            "derived",
            "Reporting the best epoch instead of the last flatters mixup against plain training.",
            PILOT,
            "test error of mixup less that of plain training, at the end less at each run's best look",
            "a mean difference below 0",
            low=0,
            unit=POINTS,
        ),
        MIDDLE,
        protocol_gap,
    ),
    Check(
        Claim(
            "liu2023.18b",
            "derived",
            "By each run's best epoch mixup is better than plain training.",
            PILOT,
            "lowest test error of all looks, mixup less plain training",
            "a mean difference above 0",
            high=0,
            unit=POINTS,
        ),
        MIDDLE,
        difference(MIXUP, ERM, best_error),
    ),
    Check(
        Claim(
            "liu2023.18c",
            "derived",
            "By the last epoch mixup is worse than plain training.",
            PILOT,
            "test error at the end, mixup less plain training",
            "a mean difference below 0",
            low=0,
            unit=POINTS,
        ),
        MIDDLE,
        difference(MIXUP, ERM, last_error),
    ),
    Check(
        Claim(
            "liu2023.19",
            "recalled",
            "Under mixup the gradient of the full objective does not vanish, as it does under plain training.",
            RECALLED,
            "its length at the end, mixup over plain training, each of its own objective over all training images",
            "a mean ratio below 10",
            low=10,
        ),
        MIDDLE,
        ratio(MIXUP, ERM, "train/objective_gradient_norm"),
    ),
    Check(
        Claim(
            "liu2023.20",
            "recalled",
            "Over-training with mixup ends in a sharper minimum.",
            RECALLED,
            "filter-normalised sharpness of the loss on clean training images, at the end over that at the measured "
            "epoch nearest to the lowest test error",
            "a mean ratio below 1",
            low=1,
        ),
        MIDDLE,
        ratio_within(MIXUP, sharpness_rise),
    ),
    Check(
        Claim(
            "liu2023.21",
            "derived",
            "A weight decay of 0.001 at least halves the rise of the test error that mixup has without any.",
            PILOT,
            f"{DECAY}, with weight decay 0.001 less half of that with none, {SIDE_EPOCHS:,} epochs",
            "a mean difference above 0",
            high=0,
            unit=POINTS,
        ),
        MIDDLE,
        halved_decay,
    ),
)
