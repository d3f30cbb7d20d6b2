"""The runs of the study of Liu et al. 2023 at each scale: simulations, digits, and the images of another module."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from mixscope.bench.options import MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_setting import NetworkSetting
from mixscope.studies.engine.run_grid import call_grid
from mixscope.studies.engine.setups import digits
from mixscope.studies.engine.trial import Trial
from mixscope.studies.liu2023 import flow_checks, label_checks, risk_simulations
from mixscope.studies.liu2023.image_runs import IMAGES, methods_of
from mixscope.studies.liu2023.settings import (
    ALPHAS,
    AUTO,
    DIGITS_EPOCHS,
    ERM,
    FEATURES,
    MIXUP,
    OUTSIDE,
    SIDE_EPOCHS,
    SWITCHES,
    WEIGHT_DECAY,
    MixingOff,
    switched,
)
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

SQUARED_RATE = 0.02  # at 0.05 the squared error diverges
GEOMETRY_AT = (20, 100, 200, 500, 1000)  # and at the end: gradient and sharpness
NUM_DRAWS = 20
MANY_DRAWS = 100  # of those whose shares are judged: of 20 draws, even 20 hits do not show a share of 0.9
SIMULATED = (
    ("liu2023_flow", flow_checks.closed_form, FEATURES, NUM_DRAWS),
    ("liu2023_flow", flow_checks.bound_and_modes, FEATURES, NUM_DRAWS),
    ("liu2023_flow", flow_checks.outside_bound, OUTSIDE, NUM_DRAWS),
    ("liu2023_simulations", risk_simulations.random_features, FEATURES, MANY_DRAWS),
    ("liu2023_simulations", risk_simulations.outside_teacher, OUTSIDE, MANY_DRAWS),
    ("liu2023_simulations", risk_simulations.sizes, FEATURES, NUM_DRAWS),
    ("liu2023_labels", label_checks.drawn_labels, "gaussian-classes", NUM_DRAWS),
    ("liu2023_labels", label_checks.blended_labels, "blended-labels", NUM_DRAWS),
    ("liu2023_labels", label_checks.known_teachers, "known-teachers", NUM_DRAWS),
    ("liu2023_labels", label_checks.digits_intrusion, "digits-all", NUM_DRAWS),
    ("liu2023_labels", label_checks.iris_intrusion, "iris", NUM_DRAWS),
)  # where records have it, what, the setting, and how many seeds
NOT_IN_SMOKE = ("sizes",)


def liu_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return all runs of a scale, given the number of seeds; None is the scale's own."""
    trials = []
    for home, function, setting, num_draws in SIMULATED:
        if scale != "smoke" or function.__name__ not in NOT_IN_SMOKE:
            num_seeds = seeds or (2 if scale == "smoke" else num_draws)
            trials += call_grid(setting, {function.__name__: partial(computation, home, function)}, num_seeds)
    for network in DIGITS[scale]:
        trials += network.trials("small", seeds)  # steps this small wait longer for a GPU than they compute
    for network in IMAGES[scale]:
        trials += network.trials(scale, seeds)
    return trials


def digits_setting(
    name: str,
    switches: Mapping[str, MixingOff],
    *,
    epochs: int | None = None,
    num_seeds: int = 6,
    has_geometry: bool = False,
) -> NetworkSetting:
    """Return long trainings of the MLP on few digits.

    Args:
        name: "digits-N".
        switches: Methods, with the epochs after which mixing stops.
        epochs: Passes; left out: the setting's own.
        num_seeds: Of every method.
        has_geometry: Whether the gradient's length and the sharpness are measured along the way.
    """
    epochs = epochs or DIGITS_EPOCHS[name]
    recipe = Recipe(epochs, 50, learning_rate=0.05, weight_decay=WEIGHT_DECAY, schedule="constant")  # our pilot's
    return NetworkSetting(
        name=name,
        images=partial(digits, int(name.removeprefix("digits-"))),
        options=TrainOptions(mixing=MixingOptions("mixup"), training=recipe),
        methods=methods_of(recipe, switches),
        num_seeds=num_seeds,
        curve_every=10,
        measure_at=tuple(epoch for epoch in GEOMETRY_AT if epoch < epochs) if has_geometry else (),
        instruments=("objective-gradient", "flatness") if has_geometry else (),
    )


def _digits_settings(num_seeds: int) -> list[NetworkSetting]:
    settings = []
    for name in DIGITS_EPOCHS:
        make, is_middle = partial(digits_setting, name, num_seeds=num_seeds), name == "digits-200"
        settings += [make({ERM: None, MIXUP: None}, has_geometry=is_middle), make({AUTO: "auto"})]
        if is_middle:
            settings += [make({switched(epoch): epoch for epoch in SWITCHES}), _sides(make({}, epochs=SIDE_EPOCHS))]
    return settings


def _sides(setting: NetworkSetting) -> NetworkSetting:
    """Return a setting's runs with other alphas, penalties and the squared error."""
    recipe = setting.options.training
    squared = replace(recipe, loss="squared-error", learning_rate=SQUARED_RATE)
    methods: dict[str, dict[str, Any]] = {
        **{f"mixup-alpha-{alpha:g}": {"mixing": MixingOptions("mixup", alpha=alpha)} for alpha in ALPHAS},
        **{f"mixup-decay-{decay:g}": {"training": replace(recipe, weight_decay=decay)} for decay in (0.0, 1e-3)},
        "erm-squared": {"mixing": MixingOptions("none"), "training": squared},
        "mixup-squared": {"training": squared},
    }
    return replace(setting, methods=methods)


_smoke = partial(digits_setting, "digits-200", epochs=30, num_seeds=1)
DIGITS: dict[Scale, list[NetworkSetting]] = {
    "smoke": [_smoke({ERM: None, MIXUP: None, switched(20): 20}, has_geometry=True), _smoke({AUTO: "auto"})],
    "small": _digits_settings(6),
    "medium": _digits_settings(3),
    "paper": [],
}
