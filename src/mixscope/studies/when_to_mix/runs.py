"""The runs of the question beyond the papers: those of Liu et al. 2023 that it asks about, and a few fixed switches."""

from mixscope.studies.engine.trial import Trial
from mixscope.studies.liu2023.image_runs import small_image_trial
from mixscope.studies.liu2023.runs import digits_trial, liu_trials
from mixscope.studies.liu2023.settings import (
    AUTO,
    DIGITS_EPOCHS,
    ERM,
    MEDIUM_SETTINGS,
    MIXUP,
    SWITCHES,
    switched,
)
from mixscope.studies.names import Scale

EXTRA_SWITCHES = {
    "digits-100": (50, 200),
    "digits-500": (50, 200),
    "fashion-mnist-500": (60,),
    "cifar10-500": (45,),
    "cifar10-500-augmented": (45,),
}
SETTINGS = (*DIGITS_EPOCHS, "fashion-mnist-500", "cifar10-500", "cifar10-500-augmented", *MEDIUM_SETTINGS)
METHODS = (ERM, MIXUP, AUTO, *(switched(epoch) for epoch in SWITCHES))


def beyond_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return all runs of a scale, given the number of seeds; None is the scale's own."""
    shared = [trial for trial in liu_trials(scale, seeds) if trial.setting in SETTINGS and trial.method in METHODS]
    return [*shared, *_extra(scale, seeds)] if scale in ("small", "medium") else shared


def _extra(scale: Scale, seeds: int | None) -> list[Trial]:
    """Return mixup with fixed switches on the sets where the other study has none."""
    trials = []
    for setting, epochs in EXTRA_SWITCHES.items():
        if setting in DIGITS_EPOCHS:
            for seed in range(seeds or (6 if scale == "small" else 3)):
                trials += [
                    digits_trial(
                        setting,
                        switched(epoch),
                        seed,
                        epochs=DIGITS_EPOCHS[setting],
                        mixing_off=epoch,
                    )
                    for epoch in epochs
                ]
        elif scale == "small":
            trials += [
                small_image_trial(setting, switched(epoch), seed, mixing_off=epoch)
                for seed in range(seeds or 3)
                for epoch in epochs
            ]
    return trials
