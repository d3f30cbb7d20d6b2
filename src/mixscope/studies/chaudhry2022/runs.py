"""The runs behind Chaudhry et al. 2022: few labelled images, many without labels, at four scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.run_grid import run_grid
from mixscope.studies.engine.setups import device_of, threads_of
from mixscope.studies.engine.trial import Trial, Work
from mixscope.studies.names import Scale
from mixscope.training.recipe import Precision, Recipe

ALPHA, SVHN_ALPHA = 0.5, 0.1  # Chaudhry et al. 2022: on CIFAR, and on SVHN
LEARNING_RATE = 0.002  # Chaudhry et al. 2022, with Adam
LOOKS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)  # shares of training after which linearity is measured; and at its end
CURVE_LOOKS = 30  # at the test images
SIZES = (250, 2000, 4000)  # labelled images in the figures of Chaudhry et al. 2022
PAPER_STEPS = 100_000  # ours: the paper does not say
NOT_AUGMENTED, SHIFTED = AugmentationOptions(), AugmentationOptions(crop_padding=4, flip=True)

LABELLED = ("erm", "mixup")
EQUATION_2 = ("ict2", "ict3", "ict4", "ict5")
EMA = ("ict2-ema", "ict3-ema", "ict4-ema", "ict5-ema")
DETACHED, LATE, SVHN_LAW, BASELINE = "ict2-detached", "ict2-ema-late", "ict2-alpha-0.1", "logistic"


def consistency_of(method: str) -> ConsistencyOptions:
    """Return what a method asks of images without labels.

    "ictK" is Eq. 2 of Chaudhry et al. 2022 as printed, the network against itself on logits; "-detached" the same with
    its targets taken as given; "-ema" a moving average compared by its probabilities; "-late" its blended logits
    compared by their softmax, as in the code of Verma et al. 2019b.
    """
    if not method.startswith("ict"):
        return ConsistencyOptions()
    name, *variant = method.split("-", 1)
    options = ConsistencyOptions(consistency_points=int(name.removeprefix("ict")), consistency_alpha=ALPHA)
    match variant:
        case []:
            return options
        case ["detached"]:
            return replace(options, consistency_teacher="same-detached")
        case ["ema"]:
            return replace(options, consistency_teacher="ema", consistency_space="softmax")
        case ["ema-late"]:
            return replace(options, consistency_teacher="ema", consistency_space="late-softmax")
        case ["alpha-0.1"]:
            return replace(options, consistency_alpha=SVHN_ALPHA)
    raise ValueError(f"method must be one of this study, got {method!r}")


@dataclass(frozen=True)
class Setting:
    """Images with few labels and how a network is trained on them.

    Attributes:
        data: A named set.
        num_labels: Labelled training images, the same number of each class.
        model: The network.
        num_steps: Of training, about: whole passes over the labelled images.
        batch_size: Labelled images a step, and as many without labels.
        num_test: Test images.
        num_unlabelled: Training images without labels; None is all. The labelled ones may be among them.
        num_pairs: Blends of two test images that linearity is measured on.
        alpha: Concentration of the weights of mixup and of ICT[K].
        augmentation: Of labelled and unlabelled images alike.
        precision: Of training.
    """

    data: str
    num_labels: int
    model: str
    num_steps: int
    batch_size: int = 64
    num_test: int | None = None
    num_unlabelled: int | None = None
    num_pairs: int = 1000
    alpha: float = ALPHA
    augmentation: AugmentationOptions = NOT_AUGMENTED
    precision: Precision = "fp32"

    @property
    def name(self) -> str:
        """For example "digits-50"."""
        return f"{self.data}-{self.num_labels}"

    def images(self, seed: int) -> DataOptions:
        """Return the images of a seed: it draws the test part, the labelled and the unlabelled ones."""
        if self.data == "digits":
            return DataOptions("digits", test_size=DIGITS_TEST, subset=self.num_labels, split_seed=seed)
        return DataOptions(self.data, subset=self.num_labels, test_subset=self.num_test, split_seed=seed)

    def work(self, method: str, seed: int, *, scale: Scale) -> Work:
        """Return what a method does with a seed."""
        if method == BASELINE:
            arguments = {"data": self.data, "num_labels": self.num_labels, "num_test": self.num_test, "seed": seed}
            return computation("chaudhry2022_training", logistic_regression, **arguments)
        epochs = max(1, round(self.num_steps / -(-self.num_labels // self.batch_size)))
        is_mixed = method == "mixup"
        consistency = consistency_of(method)
        if consistency.consistency_points:
            consistency = replace(consistency, unlabelled=self.num_unlabelled)
            if method != SVHN_LAW:
                consistency = replace(consistency, consistency_alpha=self.alpha)
        options = TrainOptions(
            data=self.images(seed),
            model=self.model,
            augmentation=self.augmentation,
            mixing=MixingOptions("mixup", alpha=self.alpha, per_example=True) if is_mixed else MixingOptions("none"),
            consistency=consistency,
            training=Recipe(
                epochs=epochs,
                batch_size=self.batch_size,
                optimizer="adam",
                learning_rate=LEARNING_RATE,
                weight_decay=0.0,
                schedule="constant",
                precision=self.precision,
            ),
            measuring=MeasureOptions(linearity_pairs=self.num_pairs, linearity_alpha=self.alpha),
            seed=seed,
            device=device_of(scale),
            threads=threads_of(scale),
        )
        looks = tuple(sorted({round(share * epochs) for share in LOOKS}))
        every = max(1, epochs // CURVE_LOOKS)
        return NetworkTraining(options, every, looks, instruments=("linearity",), is_measured=False)


Plan = Sequence[tuple[Setting, Sequence[str], int]]  # on what, which methods, how many seeds

_EVERY_K = (*LABELLED, *EQUATION_2, *EMA, BASELINE)
_VARIANTS = (DETACHED, LATE, SVHN_LAW)  # at the fewest labels
_FEW = (*LABELLED, "ict2", "ict4", "ict2-ema", "ict4-ema", BASELINE)


_FASHION = Setting(
    *("fashion-mnist", 250, "convnet", 800), batch_size=32, num_test=1000, num_unlabelled=3000, num_pairs=512
)


def _digits(num_labels: int, *, num_steps: int = 1500, num_pairs: int = 1000) -> Setting:
    return Setting("digits", num_labels, "residual-mlp", num_steps, num_pairs=num_pairs)


def _medium(num_labels: int) -> Setting:
    return Setting("cifar10", num_labels, "wide-resnet-16-2", 5000, num_test=5000, num_pairs=2000, augmentation=SHIFTED)


def _published(data: str, num_labels: int) -> Setting:
    return Setting(
        data,
        num_labels,
        "wide-resnet-28-2",
        PAPER_STEPS,
        batch_size=128,
        num_pairs=2000,
        alpha=SVHN_ALPHA if data == "svhn" else ALPHA,
        augmentation=replace(SHIFTED, flip=data != "svhn"),
    )


PLANS: Mapping[Scale, Plan] = {
    "smoke": ((_digits(50, num_steps=100, num_pairs=128), (*LABELLED, "ict2", DETACHED, "ict2-ema", BASELINE), 1),),
    "small": (
        (_digits(50), (*_EVERY_K, *_VARIANTS), 5),
        (_digits(100), _EVERY_K, 5),
        (_digits(200), _EVERY_K, 5),
        (_FASHION, (*LABELLED, "ict2", "ict4", "ict2-ema", BASELINE), 3),
    ),
    "medium": ((_medium(250), _FEW, 3), (_medium(2000), _FEW, 3)),
    "paper": tuple(
        (_published(data, num_labels), (*_FEW, "ict3"), 5)
        for data, sizes in (("cifar10", SIZES), ("svhn", SIZES), ("cifar100", (10_000,)))
        for num_labels in sizes
    ),
}


CHECKS = {
    "chaudhry2022_checks": (weights, floors, affine_layers, decomposition, scale_and_shift),
    "chaudhry2022_training": (ramp, trivial_zero, no_weight),
}


def trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return the runs of a scale; the checks of theory are the same at all.

    Args:
        scale: Which.
        seeds: Of every setting; left out: the scale's own.
    """
    found = [
        Trial("theory", function.__name__.replace("_", "-"), 0, computation(home, function))
        for home, functions in CHECKS.items()
        for function in functions
    ]
    for setting, methods, num_seeds in PLANS[scale]:
        found += run_grid(setting.name, methods, seeds or num_seeds, partial(setting.work, scale=scale))
    return found
