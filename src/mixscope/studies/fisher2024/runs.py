"""The runs of the study of Fisher et al. 2024 at each scale: trainings, and checks of theory."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mixscope.bench.options import AugmentationOptions, DataOptions, MeasureOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_setting import NetworkSetting, digits, images
from mixscope.studies.engine.trial import Trial
from mixscope.studies.fisher2024.theory_checks import (
    blended_features,
    collapse_threshold,
    joint_optimum,
    small_penalties,
)
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

ERM, MIXUP, SQUARED, MANIFOLD, FIXED, LABELS = "erm", "mixup", "mixup-mse", "manifold-mixup", "fixed-etf", "label-mixup"
ALL = (ERM, MIXUP, SQUARED, MANIFOLD, FIXED, LABELS)  # label-mixup is the control that leaves the inputs alone
PICTURED = (ERM, MIXUP, SQUARED, MANIFOLD, FIXED)
PLAIN_OR_MIXED = (ERM, MIXUP)
THEORY = "theory"  # the setting of what is computed
NOISE = 0.2  # share of wrong labels
# Classes and feature dimensions; the last has no room for a simplex.
SIZES = [[3, 2], [3, 5], [4, 6], [4, 4], [5, 8], [6, 10], [4, 2]]

_network = partial(NetworkSetting, instruments=("confidence", "channel", "planes"), is_measured=True, num_seeds=3)


def _methods(
    names: Sequence[str], recipe: Recipe, *, is_per_example: bool = False, squared_rate: float | None = None
) -> dict[str, dict[str, Any]]:
    """Return what each method changes of mixup; the squared error may take a learning rate of its own."""
    squared = replace(recipe, loss="squared-error", learning_rate=squared_rate or recipe.learning_rate)
    mixup = MixingOptions("mixup", alpha=1.0, per_example=is_per_example)
    changes: dict[str, dict[str, Any]] = {
        ERM: {"mixing": MixingOptions("none")},
        MIXUP: {"mixing": mixup},
        SQUARED: {"mixing": mixup, "training": squared},
        MANIFOLD: {"mixing": MixingOptions("manifold-mixup", alpha=1.0)},
        FIXED: {"mixing": mixup, "classifier": "fixed-etf"},
        LABELS: {"mixing": MixingOptions("label-mixup", alpha=1.0)},
    }
    return {name: changes[name] for name in names}


def _on_digits(
    num_train: int, epochs: int, *, methods: Sequence[str], num_seeds: int = 5, label_noise: float = 0.0
) -> NetworkSetting:
    recipe = Recipe(epochs, batch_size=100, optimizer="adam", learning_rate=1e-3, weight_decay=1e-4)
    return _network(
        name=f"digits-{num_train}{'-noisy' if label_noise else ''}",
        images=partial(digits, num_train, label_noise=label_noise),
        options=TrainOptions(model="mlp", training=recipe),
        methods=_methods(methods, recipe, is_per_example=True),
        num_seeds=num_seeds,
        curve_every=10,
        measure_at=tuple(epoch for epoch in (2, 10, 50) if epoch < epochs),
    )


def _on_images(
    name: str,
    num_train: int,
    epochs: int,
    *,
    model: str,
    methods: Sequence[str],
    num_test: int | None = None,
    label_noise: float = 0.0,
) -> NetworkSetting:
    # bf16 takes half the time where the processor multiplies it; what is measured is computed in float32.
    recipe = Recipe(epochs, batch_size=128, learning_rate=0.1, weight_decay=5e-4, precision="bf16")

    def noisy_images(*, seed: int) -> DataOptions:
        return replace(images(name, num_train, seed=seed, num_test=num_test), label_noise=label_noise)

    return _network(
        name=f"{name}-{num_train}{'-noisy' if label_noise else ''}",
        images=noisy_images,
        options=TrainOptions(model=model, training=recipe),
        methods=_methods(methods, recipe, squared_rate=0.03),
        curve_every=2,
        measure_at=(1, 4, 10),
    )


def _as_published(name: str, model: str, *, methods: Sequence[str]) -> NetworkSetting:
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
    return _network(
        name=f"{name}-vit" if is_transformer else name,
        images=partial(images, name, None),
        options=TrainOptions(
            model=model,
            augmentation=AugmentationOptions(crop_padding=4, flip=True),
            training=recipe,
            measuring=MeasureOptions(num_pairs=5000),
        ),
        methods=_methods(methods, recipe),
        curve_every=10,
        measure_at=(2, 8, 32, 128, 250),
    )


WIDE, TRANSFORMER, SMALL_WIDE = "wide-resnet-40-10", "vit-b/4", "wide-resnet-28-2"
SETTINGS: dict[Scale, tuple[NetworkSetting, ...]] = {
    "smoke": (
        _on_digits(200, 3, methods=ALL, num_seeds=1),
        _on_digits(200, 3, methods=PLAIN_OR_MIXED, num_seeds=1, label_noise=NOISE),
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


def trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return the runs of a scale, given the number of seeds: first what is only computed, then all settings."""
    found = theory_trials()
    for setting in SETTINGS[scale]:
        found += setting.trials(scale, seeds)
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
