"""Trainings on subsets of Fashion-MNIST, CIFAR and SVHN for the study of Liu et al. 2023."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from mixscope.bench.options import AugmentationOptions, DataOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.network_setting import NetworkSetting
from mixscope.studies.engine.setups import images
from mixscope.studies.liu2023.settings import (
    ERM,
    IMAGE_SETTINGS,
    MEDIUM_SETTINGS,
    PAPER_SETTINGS,
    THREE_METHODS,
    WEIGHT_DECAY,
    MixingOff,
    switched,
)
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

AUGMENTED = AugmentationOptions(crop_padding=4, flip=True)
CONSTANT = Recipe(weight_decay=WEIGHT_DECAY, schedule="constant", precision="bf16")  # half the time where it is native


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


IMAGES: dict[Scale, list[NetworkSetting]] = {
    "smoke": [],
    "small": [small_image_setting(name) for name in IMAGE_SETTINGS],
    "medium": [medium_image_setting(name) for name in MEDIUM_SETTINGS],
    "paper": [paper_image_setting(name) for name in PAPER_SETTINGS],
}
