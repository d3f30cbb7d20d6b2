"""Trainings on subsets of Fashion-MNIST, CIFAR and SVHN for the study of Liu et al. 2023."""

from mixscope.bench.options import AugmentationOptions, DataOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.network_training import NetworkTraining
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


def image_trial(
    setting: str,
    method: str,
    seed: int,
    *,
    data: DataOptions,
    model: str,
    recipe: Recipe,
    curve_every: int,
    scale: Scale,
) -> Trial:
    """Return one training on a subset of Fashion-MNIST or CIFAR-10; "augmented" settings crop and mirror.

    Args:
        setting: Its name.
        method: "erm" or what mixes.
        seed: Of training; the data's own is in `data`.
        data: The images.
        model: Name of the network.
        recipe: Of training.
        curve_every: Epochs between looks at the test images.
        scale: Decides the device.
    """
    options = TrainOptions(
        data=data,
        model=model,
        augmentation=AUGMENTED if setting.endswith("-augmented") else AugmentationOptions(),
        mixing=MixingOptions("none" if method == ERM else "mixup"),
        training=recipe,
        seed=seed,
        device=device_of(scale),
        threads=threads_of(scale),
    )
    return Trial(setting, method, seed, NetworkTraining(options, curve_every=curve_every, is_measured=False))


def small_image_trial(setting: str, method: str, seed: int, *, mixing_off: MixingOff = None) -> Trial:
    """Return one training of the convnet on 500 images of `IMAGE_SETTINGS`."""
    name = "fashion-mnist" if setting.startswith("fashion") else "cifar10"
    return image_trial(
        setting,
        method,
        seed,
        data=images(name, 500, seed=seed, num_test=1000),
        model="convnet",
        recipe=Recipe(
            epochs=120 if name == "fashion-mnist" else 90,
            batch_size=50,
            learning_rate=0.05,
            weight_decay=WEIGHT_DECAY,
            schedule="constant",
            mixing_off=mixing_off,
            precision="bf16",  # half the time where the processor multiplies it
        ),
        curve_every=10,
        scale="small",
    )


def small_image_trials(num_seeds: int) -> list[Trial]:
    """Return the runs on 500 images."""
    return [
        small_image_trial(setting, method, seed, mixing_off=off)
        for seed in range(num_seeds)
        for setting in IMAGE_SETTINGS
        for method, off in THREE_METHODS.items()
    ]


def medium_image_trials(num_seeds: int) -> list[Trial]:
    """Return the runs of a ResNet-18 on a tenth of CIFAR-10."""
    return [
        image_trial(
            setting,
            method,
            seed,
            data=images("cifar10", 5000, seed=seed, num_test=5000),
            model="resnet18",
            recipe=Recipe(
                epochs=150,
                batch_size=128,
                learning_rate=0.1,
                weight_decay=WEIGHT_DECAY,
                schedule="constant",
                mixing_off=off,
                precision="bf16",
            ),
            curve_every=10,
            scale="medium",
        )
        for seed in range(num_seeds)
        for setting in MEDIUM_SETTINGS
        for method, off in THREE_METHODS.items()
    ]


def paper_image_trials(num_seeds: int) -> list[Trial]:
    """Return the published experiments as far as known; what is not known is on the page."""
    trials = []
    for seed in range(num_seeds):
        for setting in PAPER_SETTINGS:
            name, _, rest = setting.partition("-")
            size = int(rest.split("-")[0]) if rest else None
            epochs = 7000 if setting.endswith("-augmented") else 1000 if name == "svhn" else 1600
            for method, off in (THREE_METHODS | {switched(epochs // 8): epochs // 8}).items():
                recipe = Recipe(
                    epochs=epochs,
                    batch_size=128,
                    learning_rate=0.1,
                    weight_decay=WEIGHT_DECAY,
                    schedule="multi-step",
                    mixing_off=off,
                )
                trials.append(
                    image_trial(
                        setting,
                        method,
                        seed,
                        data=images(name, size, seed=seed),
                        model="resnet34" if name == "cifar100" else "resnet18",
                        recipe=recipe,
                        curve_every=20,
                        scale="paper",
                    )
                )
    return trials
