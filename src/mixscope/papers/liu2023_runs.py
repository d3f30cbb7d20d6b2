"""The runs of the study of Liu et al. 2023 at each scale."""

from typing import Literal

from mixscope.experiment.options import AugmentationOptions, DataOptions, MixingOptions, TrainOptions
from mixscope.papers.computation import Computation
from mixscope.papers.names import Scale
from mixscope.papers.network import NetworkTraining
from mixscope.papers.setups import device_of, digits, images, threads_of
from mixscope.papers.trial import Trial
from mixscope.training.recipe import Loss, Recipe, Schedule

MixingOff = int | Literal["auto"] | None

ERM, MIXUP, AUTO = "erm", "mixup", "mixup-auto"
DIGITS_BATCH, DIGITS_RATE, WEIGHT_DECAY = 50, 0.05, 1e-4  # our pilot's
SQUARED_RATE = 0.02  # at 0.05 the squared error diverges
SWITCHES = (20, 50, 100, 200, 666)  # epochs of 2000 after which mixing stops
ALPHAS = (0.2, 4.0)
GEOMETRY_AT = (20, 100, 200, 500, 1000)  # and at the end: gradient and sharpness
SIDE_EPOCHS = 1000  # of runs with other alphas, penalties and losses
DIGITS_EPOCHS = {"digits-100": 1500, "digits-200": 2000, "digits-500": 800}
IMAGE_SETTINGS = ("fashion-mnist-500", "cifar10-500", "cifar10-500-augmented")
AUGMENTED = AugmentationOptions(crop_padding=4, flip=True)
PAPER_SETTINGS = ("cifar10", "cifar10-15000", "cifar10-5000-augmented", "cifar100", "svhn")
SIMULATED = {
    "random-features": ("closed_form", "bound_and_modes", "random_features", "sizes"),
    "outside-teacher": ("outside_bound", "outside_teacher"),
    "gaussian-classes": ("drawn_labels",),
    "blended-labels": ("blended_labels",),
    "known-teachers": ("known_teachers",),
    "digits-all": ("digits_intrusion",),
    "iris": ("iris_intrusion",),
}
IN_LABELS_MODULE = ("drawn_labels", "blended_labels", "known_teachers", "digits_intrusion", "iris_intrusion")
NOT_IN_SMOKE = ("sizes",)


def liu_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return all runs of a scale, given the number of seeds; None is the scale's own."""
    simulated = simulated_trials(scale, seeds)
    match scale:
        case "smoke":
            return [*simulated, *_smoke(seeds or 1)]
        case "small":
            return [*simulated, *_digits(seeds or 6, scale), *_images(seeds or 3)]
        case "medium":
            return [*simulated, *_digits(seeds or 3, scale), *_medium(seeds or 3)]
        case "paper":
            return [*simulated, *_paper(seeds or 3)]


def simulated_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return the simulations: one call for each seed, the seed being its draw of everything."""
    num_seeds = seeds or (2 if scale == "smoke" else 20)
    trials = []
    for setting, functions in SIMULATED.items():
        for function in functions:
            if scale == "smoke" and function in NOT_IN_SMOKE:
                continue
            module = "liu2023_labels" if function in IN_LABELS_MODULE else "liu2023_simulations"
            trials += [
                Trial(setting, function, seed, Computation(f"{module}:{function}", {"seed": seed}))
                for seed in range(num_seeds)
            ]
    return trials


def switched(epoch: int) -> str:
    """Name the method that stops mixing after an epoch."""
    return f"mixup-off-{epoch}"


def digits_trial(
    setting: str,
    method: str,
    seed: int,
    *,
    epochs: int,
    scale: Scale,
    mixing_off: MixingOff = None,
    alpha: float | None = None,
    weight_decay: float = WEIGHT_DECAY,
    loss: Loss = "cross-entropy",
    has_geometry: bool = False,
) -> Trial:
    """Return one long training of the MLP on few digits; only a method that starts with "erm" does not mix.

    Args:
        setting: "digits-N".
        method: Its name.
        seed: Of the images and of training.
        epochs: Passes.
        scale: Decides the device.
        mixing_off: After how many epochs mixing stops.
        alpha: Of the weights' law.
        weight_decay: L2 penalty.
        loss: Trained on.
        has_geometry: Whether the gradient's length and the sharpness are measured along the way.
    """
    options = TrainOptions(
        data=digits(int(setting.removeprefix("digits-")), seed=seed),
        mixing=MixingOptions("none" if method.startswith(ERM) else "mixup", alpha=alpha),
        training=Recipe(
            epochs=epochs,
            batch_size=DIGITS_BATCH,
            learning_rate=DIGITS_RATE if loss == "cross-entropy" else SQUARED_RATE,
            weight_decay=weight_decay,
            schedule="constant",
            loss=loss,
            mixing_off=mixing_off,
        ),
        seed=seed,
        device=device_of(scale),
        threads=threads_of(scale),
    )
    work = NetworkTraining(
        options,
        curve_every=10,
        measure_at=tuple(epoch for epoch in GEOMETRY_AT if epoch < epochs) if has_geometry else (),
        instruments=("objective-gradient", "flatness") if has_geometry else (),
        is_measured=False,
    )
    return Trial(setting, method, seed, work)


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
        ),
        curve_every=10,
        scale="small",
    )


def _smoke(num_seeds: int) -> list[Trial]:
    trials = []
    for seed in range(num_seeds):
        off: dict[str, MixingOff] = {ERM: None, MIXUP: None, switched(20): 20, AUTO: "auto"}
        trials += [
            digits_trial(
                "digits-200", method, seed, epochs=30, scale="smoke", mixing_off=epoch, has_geometry=method != AUTO
            )
            for method, epoch in off.items()
        ]
    return trials


def _digits(num_seeds: int, scale: Scale) -> list[Trial]:
    trials = []
    for seed in range(num_seeds):
        for setting, epochs in DIGITS_EPOCHS.items():
            is_middle = setting == "digits-200"
            trials += [
                digits_trial(setting, ERM, seed, epochs=epochs, scale=scale, has_geometry=is_middle),
                digits_trial(setting, MIXUP, seed, epochs=epochs, scale=scale, has_geometry=is_middle),
                digits_trial(setting, AUTO, seed, epochs=epochs, scale=scale, mixing_off="auto"),
            ]
        for epoch in SWITCHES:
            epochs = DIGITS_EPOCHS["digits-200"]
            trials.append(
                digits_trial("digits-200", switched(epoch), seed, epochs=epochs, scale=scale, mixing_off=epoch)
            )
        trials += _sides(seed, scale)
    return trials


def _sides(seed: int, scale: Scale) -> list[Trial]:
    """Return the runs on 200 digits with other alphas, penalties and the squared error."""
    epochs = SIDE_EPOCHS
    alphas = [
        digits_trial("digits-200", f"mixup-alpha-{alpha:g}", seed, epochs=epochs, scale=scale, alpha=alpha)
        for alpha in ALPHAS
    ]
    penalties = [
        digits_trial("digits-200", f"mixup-decay-{decay:g}", seed, epochs=epochs, scale=scale, weight_decay=decay)
        for decay in (0.0, 1e-3)
    ]
    squared = [
        digits_trial("digits-200", f"{method}-squared", seed, epochs=epochs, scale=scale, loss="squared-error")
        for method in (ERM, MIXUP)
    ]
    return [*alphas, *penalties, *squared]


def _images(num_seeds: int) -> list[Trial]:
    return [
        small_image_trial(setting, method, seed, mixing_off=off)
        for seed in range(num_seeds)
        for setting in IMAGE_SETTINGS
        for method, off in _three_methods().items()
    ]


def _three_methods() -> dict[str, MixingOff]:
    return {ERM: None, MIXUP: None, AUTO: "auto"}


def _medium(num_seeds: int) -> list[Trial]:
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
        for setting in ("cifar10-5000", "cifar10-5000-augmented")
        for method, off in _three_methods().items()
    ]


def _paper(num_seeds: int) -> list[Trial]:
    """Return the published experiments as far as known; what is not known is on the page."""
    trials = []
    for seed in range(num_seeds):
        for setting in PAPER_SETTINGS:
            name, _, rest = setting.partition("-")
            size = int(rest.split("-")[0]) if rest else None
            epochs = 7000 if setting.endswith("-augmented") else 1000 if name == "svhn" else 1600
            schedule: Schedule = "multi-step"
            for method, off in (_three_methods() | {switched(epochs // 8): epochs // 8}).items():
                recipe = Recipe(
                    epochs=epochs,
                    batch_size=128,
                    learning_rate=0.1,
                    weight_decay=WEIGHT_DECAY,
                    schedule=schedule,
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
