"""The runs of the study of Liu et al. 2023 at each scale: simulations, digits, Fashion-MNIST, CIFAR, SVHN."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from mixscope.bench.options import AugmentationOptions, DataOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_setting import NetworkSetting, digits, images
from mixscope.studies.engine.trial import Trial, call_grid
from mixscope.studies.liu2023 import flow_checks, label_checks, risk_simulations
from mixscope.studies.liu2023.settings import (
    ALPHAS,
    AUTO,
    DIGITS_EPOCHS,
    ERM,
    FEATURES,
    IMAGE_SETTINGS,
    MEDIUM_SETTINGS,
    MIXUP,
    OUTSIDE,
    PAPER_SETTINGS,
    SIDE_EPOCHS,
    SWITCHES,
    THREE_METHODS,
    WEIGHT_DECAY,
    MixingOff,
    switched,
)
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

AUGMENTED = AugmentationOptions(crop_padding=4, flip=True)
CONSTANT = Recipe(weight_decay=WEIGHT_DECAY, schedule="constant", precision="bf16")  # half the time where it is native
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


def methods_of(recipe: Recipe, switches: Mapping[str, MixingOff]) -> dict[str, dict[str, Any]]:
    """Return what methods change of mixup: "erm", or after how many epochs mixing stops."""
    return {
        name: {"mixing": MixingOptions("none")} if name == ERM else {"training": replace(recipe, mixing_off=epoch)}
        for name, epoch in switches.items()
    }


def _setting(
    name: str, draw: Callable[..., DataOptions], model: str, recipe: Recipe, switches: Mapping[str, MixingOff]
) -> NetworkSetting:
    """Return a network on images; "augmented" settings crop and mirror."""
    return NetworkSetting(
        name=name,
        images=draw,
        options=TrainOptions(
            model=model,
            augmentation=AUGMENTED if name.endswith("-augmented") else AugmentationOptions(),
            mixing=MixingOptions("mixup"),
            training=recipe,
        ),
        methods=methods_of(recipe, switches),
        num_seeds=3,
        curve_every=10,
    )


def small_image_setting(name: str, switches: Mapping[str, MixingOff] = THREE_METHODS) -> NetworkSetting:
    """Return one of `IMAGE_SETTINGS`: a convnet on 500 images."""
    is_fashion = name.startswith("fashion")
    recipe = replace(CONSTANT, epochs=120 if is_fashion else 90, batch_size=50, learning_rate=0.05)
    draw = partial(images, "fashion-mnist" if is_fashion else "cifar10", 500, num_test=1000)
    return _setting(name, draw, "convnet", recipe, switches)


def medium_image_setting(name: str) -> NetworkSetting:
    """Return one of `MEDIUM_SETTINGS`: a ResNet-18 on a tenth of CIFAR-10."""
    recipe = replace(CONSTANT, epochs=150, batch_size=128, learning_rate=0.1)
    return _setting(name, partial(images, "cifar10", 5000, num_test=5000), "resnet18", recipe, THREE_METHODS)


def paper_image_setting(name: str) -> NetworkSetting:
    """Return one of `PAPER_SETTINGS`, as far as known, with a switch after an eighth of training."""
    data, _, rest = name.partition("-")
    epochs = 7000 if name.endswith("-augmented") else 1000 if data == "svhn" else 1600
    recipe = Recipe(epochs, 128, learning_rate=0.1, weight_decay=WEIGHT_DECAY, schedule="multi-step")
    draw = partial(images, data, int(rest.split("-")[0]) if rest else None)
    switches = THREE_METHODS | {switched(epochs // 8): epochs // 8}
    model = "resnet34" if data == "cifar100" else "resnet18"
    return replace(_setting(name, draw, model, recipe, switches), curve_every=20)


def digits_setting(
    name: str,
    switches: Mapping[str, MixingOff],
    *,
    epochs: int | None = None,
    num_seeds: int = 6,
    has_geometry: bool = False,
) -> NetworkSetting:
    """Return long trainings of the MLP on the digits of "digits-N", by the setting's own number of epochs or another.

    `switches` has the methods with the epochs after which mixing stops. With geometry, the gradient's length and the
    sharpness are measured along the way.
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
IMAGES: dict[Scale, list[NetworkSetting]] = {
    "smoke": [],
    "small": [small_image_setting(name) for name in IMAGE_SETTINGS],
    "medium": [medium_image_setting(name) for name in MEDIUM_SETTINGS],
    "paper": [paper_image_setting(name) for name in PAPER_SETTINGS],
}


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
