"""The runs of the question beyond the papers: those of Liu et al. 2023 that it asks about, and a few fixed switches."""

from mixscope.studies.engine.trial import Trial
from mixscope.studies.liu2023.runs import digits_setting, liu_trials, small_image_setting
from mixscope.studies.liu2023.settings import (
    AUTO,
    DIGITS_EPOCHS,
    ERM,
    MEDIUM_SETTINGS,
    MIXUP,
    SWITCHES,
    MixingOff,
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
    for name, epochs in EXTRA_SWITCHES.items():
        switches: dict[str, MixingOff] = {switched(epoch): epoch for epoch in epochs}
        if name in DIGITS_EPOCHS:
            setting = digits_setting(name, switches, num_seeds=6 if scale == "small" else 3)
        elif scale == "small":
            setting = small_image_setting(name, switches)
        else:
            continue
        trials += setting.trials("small", seeds)
    return trials
