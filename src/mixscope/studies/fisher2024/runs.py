"""What is trained and computed for Fisher et al. 2024, at each scale."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from mixscope.bench.options import AugmentationOptions, DataOptions, MeasureOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.run_grid import run_grid
from mixscope.studies.engine.setups import device_of, digits, images, threads_of
from mixscope.studies.engine.trial import Trial
from mixscope.studies.fisher2024.theory_checks import (
    blended_features,
    collapse_threshold,
    joint_optimum,
    small_penalties,
)
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

INSTRUMENTS = ("confidence", "channel", "planes")
ERM, MIXUP, SQUARED, MANIFOLD, FIXED, LABELS = "erm", "mixup", "mixup-mse", "manifold-mixup", "fixed-etf", "label-mixup"
ALL = (ERM, MIXUP, SQUARED, MANIFOLD, FIXED, LABELS)  # label-mixup is the control that leaves the inputs alone
PICTURED = (ERM, MIXUP, SQUARED, MANIFOLD, FIXED)
PLAIN_OR_MIXED = (ERM, MIXUP)
THEORY = "theory"  # the setting of what is computed
NOISE = 0.2  # share of wrong labels
# Classes and feature dimensions; the last has no room for a simplex.
SIZES = [[3, 2], [3, 5], [4, 6], [4, 4], [5, 8], [6, 10], [4, 2]]


@dataclass(frozen=True)
class Setting:
    """What networks are trained on, and how.

    Attributes:
        name: Of the setting.
        methods: That are trained on it.
        data: The images of a seed.
        recipe: Of training.
        model: A network by name.
        measure_at: Epochs after which everything is measured, besides the last.
        curve_every: Epochs between looks at the test images.
        is_per_example: Whether mixup draws a weight per image rather than per batch.
        augmentation: Of the training images.
        num_pairs: Blended pairs of training images that are measured.
        squared_rate: Learning rate under the squared error, where it is another.
    """

    name: str
    methods: tuple[str, ...]
    data: Callable[[int], DataOptions]
    recipe: Recipe
    model: str
    measure_at: tuple[int, ...]
    curve_every: int
    is_per_example: bool = False
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    num_pairs: int = 1000
    squared_rate: float | None = None

    def work(self, method: str, seed: int, *, scale: Scale) -> NetworkTraining:
        """Return the training of one method with one seed."""
        mixup = MixingOptions(mixing="mixup", alpha=1.0, per_example=self.is_per_example)
        mixing = {
            ERM: MixingOptions(mixing="none"),
            MANIFOLD: MixingOptions(mixing="manifold-mixup", alpha=1.0),
            LABELS: MixingOptions(mixing="label-mixup", alpha=1.0),
        }.get(method, mixup)
        options = TrainOptions(
            data=self.data(seed),
            model=self.model,
            classifier="fixed-etf" if method == FIXED else "learned",
            augmentation=self.augmentation,
            mixing=mixing,
            training=self._squared_recipe() if method == SQUARED else self.recipe,
            measuring=MeasureOptions(num_pairs=self.num_pairs),
            seed=seed,
            device=device_of(scale),
            threads=threads_of(scale),
        )
        return NetworkTraining(options, self.curve_every, self.measure_at, INSTRUMENTS)

    def _squared_recipe(self) -> Recipe:
        rate = self.recipe.learning_rate if self.squared_rate is None else self.squared_rate
        return replace(self.recipe, loss="squared-error", learning_rate=rate)


def _on_digits(num_train: int, epochs: int, *, methods: tuple[str, ...], label_noise: float = 0.0) -> Setting:
    return Setting(
        f"digits-{num_train}{'-noisy' if label_noise else ''}",
        methods,
        lambda seed: digits(num_train, seed=seed, label_noise=label_noise),
        Recipe(epochs, batch_size=100, optimizer="adam", learning_rate=1e-3, weight_decay=1e-4),
        "mlp",
        measure_at=tuple(epoch for epoch in (2, 10, 50) if epoch < epochs),
        curve_every=10,
        is_per_example=True,
    )


def _on_images(
    name: str,
    num_train: int,
    epochs: int,
    *,
    model: str,
    methods: tuple[str, ...],
    num_test: int | None = None,
    label_noise: float = 0.0,
) -> Setting:
    return Setting(
        f"{name}-{num_train}{'-noisy' if label_noise else ''}",
        methods,
        lambda seed: replace(images(name, num_train, seed=seed, num_test=num_test), label_noise=label_noise),
        # bf16 takes half the time where the processor multiplies it; what is measured is computed in float32.
        Recipe(epochs, batch_size=128, learning_rate=0.1, weight_decay=5e-4, precision="bf16"),
        model,
        measure_at=(1, 4, 10),
        curve_every=2,
        squared_rate=0.03,
    )


def _as_published(name: str, model: str, *, methods: tuple[str, ...]) -> Setting:
    """Return what is known of the paper's setting; numbers it does not give are those of the replication, or ours."""
    recipe = Recipe(
        epochs=500,
        batch_size=128,
        learning_rate=0.1,
        weight_decay=1e-4,
        schedule="multi-step",
        milestones=(0.3, 0.5, 0.9),
        precision="bf16",
    )
    is_transformer = model.startswith("vit")
    if is_transformer:
        recipe = replace(recipe, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05, schedule="cosine")
    return Setting(
        f"{name}-vit" if is_transformer else name,
        methods,
        lambda seed: images(name, None, seed=seed),
        recipe,
        model,
        measure_at=(2, 8, 32, 128, 250),
        curve_every=10,
        augmentation=AugmentationOptions(crop_padding=4, flip=True),
        num_pairs=5000,
    )


WIDE, TRANSFORMER, SMALL_WIDE = "wide-resnet-40-10", "vit-b/4", "wide-resnet-28-2"
SETTINGS: dict[Scale, tuple[Setting, ...]] = {
    "smoke": (
        _on_digits(200, 3, methods=ALL),
        _on_digits(200, 3, methods=PLAIN_OR_MIXED, label_noise=NOISE),
    ),
    "small": (
        _on_digits(1000, 300, methods=ALL),
        _on_digits(1000, 300, methods=PLAIN_OR_MIXED, label_noise=NOISE),
        _on_images("fashion-mnist", 4000, 20, model="convnet", methods=PICTURED, num_test=1000),
        _on_images("cifar10", 4000, 20, model="convnet", methods=PICTURED, num_test=1000),
    ),
    "medium": (
        _on_images("fashion-mnist", 10_000, 40, model=SMALL_WIDE, methods=PICTURED),
        _on_images("fashion-mnist", 10_000, 40, model=SMALL_WIDE, methods=PLAIN_OR_MIXED, label_noise=NOISE),
        _on_images("cifar10", 20_000, 30, model="resnet18", methods=PLAIN_OR_MIXED),
    ),
    "paper": (
        _as_published("fashion-mnist", WIDE, methods=PICTURED),
        _as_published("cifar10", WIDE, methods=ALL),
        _as_published("cifar100", WIDE, methods=PICTURED),
        *(_as_published(name, TRANSFORMER, methods=PICTURED) for name in ("fashion-mnist", "cifar10", "cifar100")),
    ),
}
SMOKE_SEEDS, DIGITS_SEEDS, IMAGE_SEEDS = 1, 5, 3


def trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return the runs of a scale: first what is only computed, then all methods of a setting, seed by seed.

    Args:
        scale: Decides on settings and sizes.
        seeds: Of every setting; left out: the scale's own numbers.
    """
    found = theory_trials()
    for setting in SETTINGS[scale]:
        own = SMOKE_SEEDS if scale == "smoke" else DIGITS_SEEDS if setting.name.startswith("digits") else IMAGE_SEEDS
        found += run_grid(setting.name, setting.methods, seeds or own, partial(setting.work, scale=scale))
    return found


def theory_trials() -> list[Trial]:
    """Return the checks of theory against solvers that know nothing of it; seconds of work, the same at every scale."""
    call = partial(computation, "fisher2024_theory")
    calls = {
        "features": call(
            blended_features,
            class_counts=[3, 4, 10],
            scales=[1.0, 2.5],
            penalties=[1.0, 1e-1, 1e-2, 1e-3, 1e-4],
            weights=[0.1, 0.3, 0.5, 0.77],
        ),
        "limits": call(small_penalties, num_classes=10, scale=1.0),
        "joint-optimum": call(joint_optimum, sizes=SIZES, penalty=0.05, num_starts=4, seed=0),
        "threshold": call(collapse_threshold, sizes=[[3, 2], [4, 6], [5, 8]], distance=0.05, seed=0),
    }
    return [Trial(THEORY, method, 0, work) for method, work in calls.items()]
