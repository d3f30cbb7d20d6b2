"""The runs behind Chaudhry et al. 2022: few labelled images, many without labels, at four scales."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mixscope.bench.options import (
    AugmentationOptions,
    ConsistencyOptions,
    DataOptions,
    MeasureOptions,
    MixingOptions,
    TrainOptions,
)
from mixscope.studies.chaudhry2022.ict_checks import DIGITS_TEST, logistic_regression, no_weight, ramp, trivial_zero
from mixscope.studies.chaudhry2022.metric_checks import affine_layers, decomposition, floors, scale_and_shift, weights
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_setting import NetworkSetting
from mixscope.studies.engine.trial import Trial, call_grid
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

ALPHA, SVHN_ALPHA = 0.5, 0.1  # Chaudhry et al. 2022: on CIFAR, and on SVHN
# Chaudhry et al. 2022 have Adam and the rate.
RECIPE = Recipe(optimizer="adam", learning_rate=0.002, weight_decay=0.0, schedule="constant")
LOOKS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)  # shares of training after which linearity is measured; and at its end
CURVE_LOOKS = 30  # at the test images
SIZES = (250, 2000, 4000)  # labelled images in the figures of Chaudhry et al. 2022
PAPER_STEPS = 100_000  # ours: the paper does not say
NOT_AUGMENTED, SHIFTED = AugmentationOptions(), AugmentationOptions(crop_padding=4, flip=True)

LABELLED = ("erm", "mixup")
EQUATION_2 = ("ict2", "ict3", "ict4", "ict5")
EMA = ("ict2-ema", "ict3-ema", "ict4-ema", "ict5-ema")
DETACHED, LATE, SVHN_LAW, BASELINE = "ict2-detached", "ict2-ema-late", "ict2-alpha-0.1", "logistic"


FORMS: dict[str, dict[str, Any]] = {
    "": {},
    "detached": {"consistency_teacher": "same-detached"},
    "ema": {"consistency_teacher": "ema", "consistency_space": "softmax"},
    "ema-late": {"consistency_teacher": "ema", "consistency_space": "late-softmax"},
    "alpha-0.1": {"consistency_alpha": SVHN_ALPHA},
}


def consistency_of(method: str, *, alpha: float = ALPHA) -> ConsistencyOptions:
    """Return what a method asks of images without labels.

    "ictK" is Eq. 2 of Chaudhry et al. 2022 as printed, the network against itself on logits; "-detached" the same with
    its targets taken as given; "-ema" a moving average compared by its probabilities; "-late" its blended logits
    compared by their softmax, as in the code of Verma et al. 2019b.
    """
    if not method.startswith("ict"):
        return ConsistencyOptions()
    name, _, form = method.partition("-")
    if form not in FORMS:
        raise ValueError(f"method must be one of this study, got {method!r}")
    return ConsistencyOptions(**{"consistency_points": int(name[3:]), "consistency_alpha": alpha, **FORMS[form]})


def _setting(
    data: str,
    num_labels: int,
    *,
    model: str,
    num_steps: int,
    methods: Sequence[str],
    num_seeds: int = 5,
    batch_size: int = 64,
    num_test: int | None = None,
    num_unlabelled: int | None = None,
    num_pairs: int = 1000,
    alpha: float = ALPHA,
    augmentation: AugmentationOptions = NOT_AUGMENTED,
) -> NetworkSetting:
    """Return images with few labels and how a network is trained on them.

    Training takes about `num_steps`: whole passes over the labelled images. A step takes `batch_size` labelled images
    and as many of `num_unlabelled` without labels (None: all), the labelled ones among them. Linearity is measured on
    `num_pairs` blends of two test images; `alpha` is that of mixup's weights and of ICT[K]'s.
    """
    epochs = max(1, round(num_steps / -(-num_labels // batch_size)))

    def images(*, seed: int) -> DataOptions:
        if data == "digits":
            return DataOptions("digits", test_size=DIGITS_TEST, subset=num_labels, split_seed=seed)
        return DataOptions(data, subset=num_labels, test_subset=num_test, split_seed=seed)

    def changes(method: str) -> dict[str, Any]:
        if method == "mixup":
            return {"mixing": MixingOptions("mixup", alpha=alpha, per_example=True)}
        consistency = consistency_of(method, alpha=alpha)
        return {"consistency": replace(consistency, unlabelled=num_unlabelled)} if method != "erm" else {}

    return NetworkSetting(
        name=f"{data}-{num_labels}",
        images=images,
        options=TrainOptions(
            model=model,
            augmentation=augmentation,
            mixing=MixingOptions("none"),
            training=replace(RECIPE, epochs=epochs, batch_size=batch_size),
            measuring=MeasureOptions(linearity_pairs=num_pairs, linearity_alpha=alpha),
        ),
        methods={method: changes(method) for method in methods},
        num_seeds=num_seeds,
        curve_every=max(1, epochs // CURVE_LOOKS),
        measure_at=tuple(sorted({round(share * epochs) for share in LOOKS})),
        instruments=("linearity",),
    )


_EVERY_K = (*LABELLED, *EQUATION_2, *EMA)
_VARIANTS = (DETACHED, LATE, SVHN_LAW)  # at the fewest labels
_FEW = (*LABELLED, "ict2", "ict4", "ict2-ema", "ict4-ema")


def _digits(num_labels: int, methods: Sequence[str]) -> NetworkSetting:
    return _setting("digits", num_labels, model="residual-mlp", num_steps=1500, methods=methods)


def _medium(num_labels: int) -> NetworkSetting:
    return _setting(
        "cifar10",
        num_labels,
        model="wide-resnet-16-2",
        num_steps=5000,
        methods=_FEW,
        num_seeds=3,
        num_test=5000,
        num_pairs=2000,
        augmentation=SHIFTED,
    )


def _published(data: str, num_labels: int) -> NetworkSetting:
    return _setting(
        data,
        num_labels,
        model="wide-resnet-28-2",
        num_steps=PAPER_STEPS,
        methods=(*_FEW, "ict3"),
        batch_size=128,
        num_pairs=2000,
        alpha=SVHN_ALPHA if data == "svhn" else ALPHA,
        augmentation=replace(SHIFTED, flip=data != "svhn"),
    )


_SMOKE = _setting(
    "digits",
    50,
    model="residual-mlp",
    num_steps=100,
    methods=(*LABELLED, "ict2", DETACHED, "ict2-ema"),
    num_seeds=1,
    num_pairs=128,
)
_FASHION = _setting(
    "fashion-mnist",
    250,
    model="convnet",
    num_steps=800,
    methods=(*LABELLED, "ict2", "ict4", "ict2-ema"),
    num_seeds=3,
    batch_size=32,
    num_test=1000,
    num_unlabelled=3000,
    num_pairs=512,
)
PLANS: Mapping[Scale, Sequence[NetworkSetting]] = {
    "smoke": [_SMOKE],
    "small": [_digits(50, (*_EVERY_K, *_VARIANTS)), _digits(100, _EVERY_K), _digits(200, _EVERY_K), _FASHION],
    "medium": [_medium(250), _medium(2000)],
    "paper": [
        *(_published(data, num_labels) for data in ("cifar10", "svhn") for num_labels in SIZES),
        _published("cifar100", 10_000),
    ],
}
SETTINGS = {setting.name: setting for plan in PLANS.values() for setting in plan}


def data_of(setting: str) -> str:
    """Return the name of a setting's images."""
    return SETTINGS[setting].images(seed=0).data


def labels_of(setting: str) -> int:
    """Return how many labels a setting has: its name ends with it."""
    return int(setting.rpartition("-")[2])


CHECKS = {
    "chaudhry2022_checks": (weights, floors, affine_layers, decomposition, scale_and_shift),
    "chaudhry2022_training": (ramp, trivial_zero, no_weight),
}


def trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return the runs of a scale, given the number of seeds; the checks of theory are the same at all."""
    found = [
        Trial("theory", function.__name__.replace("_", "-"), 0, computation(home, function))
        for home, functions in CHECKS.items()
        for function in functions
    ]
    for setting in PLANS[scale]:
        images = setting.images(seed=0)
        baseline = partial(computation, "chaudhry2022_training", logistic_regression, data=images.data)
        baseline = partial(baseline, num_labels=images.subset, num_test=images.test_subset)
        found += setting.trials(scale, seeds)
        found += call_grid(setting.name, {BASELINE: baseline}, seeds or setting.num_seeds)
    return found
