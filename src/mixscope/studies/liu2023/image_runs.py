"""Trainings on subsets of Fashion-MNIST, CIFAR and SVHN for the study of Liu et al. 2023."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mixscope.bench.options import AugmentationOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.run_grid import run_grid
from mixscope.studies.engine.setups import device_of, images, threads_of
from mixscope.studies.engine.trial import Trial
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


@dataclass(frozen=True)
class ImageSetting:
    """A network on a subset of images.

    Attributes:
        name: Of the setting; "augmented" ones crop and mirror.
        data: The set.
        num_train: Images trained on; None is all.
        num_test: Test images; None is all.
        model: Name of the network.
        recipe: Of training.
        curve_every: Epochs between looks at the test images.
        scale: Decides the device.
    """

    name: str
    data: str
    num_train: int | None
    num_test: int | None
    model: str
    recipe: Recipe
    curve_every: int
    scale: Scale

    def trials(self, methods: Mapping[str, MixingOff], num_seeds: int) -> list[Trial]:
        """Return the runs of methods: "erm", or mixup that stops after so many epochs."""

        def work(method: str, seed: int) -> NetworkTraining:
            options = TrainOptions(
                data=images(self.data, self.num_train, seed=seed, num_test=self.num_test),
                model=self.model,
                augmentation=AUGMENTED if self.name.endswith("-augmented") else AugmentationOptions(),
                mixing=MixingOptions("none" if method == ERM else "mixup"),
                training=replace(self.recipe, mixing_off=methods[method]),
                seed=seed,
                device=device_of(self.scale),
                threads=threads_of(self.scale),
            )
            return NetworkTraining(options, curve_every=self.curve_every, is_measured=False)

        return run_grid(self.name, methods, num_seeds, work)


def small_image_setting(name: str) -> ImageSetting:
    """Return one of `IMAGE_SETTINGS`: a convnet on 500 images."""
    is_fashion = name.startswith("fashion")
    recipe = replace(CONSTANT, epochs=120 if is_fashion else 90, batch_size=50, learning_rate=0.05)
    return ImageSetting(name, "fashion-mnist" if is_fashion else "cifar10", 500, 1000, "convnet", recipe, 10, "small")


def medium_image_setting(name: str) -> ImageSetting:
    """Return one of `MEDIUM_SETTINGS`: a ResNet-18 on a tenth of CIFAR-10."""
    recipe = replace(CONSTANT, epochs=150, batch_size=128, learning_rate=0.1)
    return ImageSetting(name, "cifar10", 5000, 5000, "resnet18", recipe, 10, "medium")


def paper_image_setting(name: str) -> ImageSetting:
    """Return one of `PAPER_SETTINGS`, as far as known; what is not known is on the page."""
    data, _, rest = name.partition("-")
    epochs = 7000 if name.endswith("-augmented") else 1000 if data == "svhn" else 1600
    recipe = Recipe(epochs, 128, learning_rate=0.1, weight_decay=WEIGHT_DECAY, schedule="multi-step")
    model, num_train = "resnet34" if data == "cifar100" else "resnet18", int(rest.split("-")[0]) if rest else None
    return ImageSetting(name, data, num_train, None, model, recipe, 20, "paper")


def image_trials(scale: Scale, num_seeds: int) -> list[Trial]:
    """Return the runs on images of a scale; at the paper's a switch after an eighth of training is added."""
    settings = {
        "small": [small_image_setting(name) for name in IMAGE_SETTINGS],
        "medium": [medium_image_setting(name) for name in MEDIUM_SETTINGS],
        "paper": [paper_image_setting(name) for name in PAPER_SETTINGS],
    }.get(scale, [])
    trials = []
    for setting in settings:
        epoch = setting.recipe.epochs // 8
        methods = THREE_METHODS | {switched(epoch): epoch} if scale == "paper" else THREE_METHODS
        trials += setting.trials(methods, num_seeds)
    return trials
