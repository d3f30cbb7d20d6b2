"""The runs of the study of Ji et al. 2022: paths and checks of the layer-peeled model, and networks on images."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mixscope.bench.options import DataOptions, MeasureOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.computation import Computation
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.setups import device_of, digits, images, threads_of
from mixscope.studies.engine.trial import Trial
from mixscope.studies.names import Scale
from mixscope.training.recipe import Recipe

WEIGHT_DECAY = 5e-4  # usual for these networks; the paper's networks have none
MOMENTUM = 0.9
STEP_OF_DESCENT = 0.1
FLOW_DECAY = 0.005
START_SCALES = (1.0, 0.4)
SIZES = [[2, 2, 1], [3, 3, 1], [3, 4, 2], [4, 3, 1], [4, 4, 2], [4, 6, 3]]  # (K, D, n), D at least K - 1
WIDE_SIZES = [[3, 3, 2], [4, 4, 2], [4, 6, 3], [4, 3, 3], [5, 5, 2]]
REACHES = (2.0, 6.0, 12.0)  # rho^2 gamma: about the log odds of an example at collapse
FULL_SIZES = {"mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000}
METHODS = {"no-decay": ("none", 0.0), "decay": ("none", WEIGHT_DECAY), "mixup-no-decay": ("mixup", 0.0)}


@dataclass(frozen=True)
class NetworkSetting:
    """A network on a set of images.

    Attributes:
        name: Of the setting.
        data: "digits", or the name of a set with a test part of its own.
        num_train: Images trained on; None is all.
        num_test: Images measured on where the set has a test part of its own; None is all.
        model: Of the catalogue.
        epochs: Passes.
        batch_size: Images a step.
        learning_rate: Constant.
        measure_at: Epochs, about evenly spread over their logarithm.
        seeds: How many.
        methods: Names of `METHODS`.
    """

    name: str
    data: str
    num_train: int | None
    num_test: int | None
    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    measure_at: tuple[int, ...]
    seeds: int
    methods: tuple[str, ...] = ("no-decay", "decay")

    def images(self, seed: int) -> DataOptions:
        """Return the images of a seed."""
        if self.data == "digits":
            assert self.num_train is not None
            return digits(self.num_train, seed=seed)
        return images(self.data, self.num_train, seed=seed, num_test=self.num_test)

    @property
    def num_steps(self) -> int:
        """Steps of the whole training; the last batch of an epoch may be smaller."""
        num_train = FULL_SIZES[self.data] if self.num_train is None else self.num_train
        return self.epochs * math.ceil(num_train / self.batch_size)


DIGITS_EPOCHS = (0, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1400, 2000)
DIGITS = NetworkSetting(
    *("digits-1000", "digits", 1000, None, "mlp", 2000, 100, 0.05, DIGITS_EPOCHS, 5),
    methods=("no-decay", "decay", "mixup-no-decay"),
)
MNIST = NetworkSetting(
    *("mnist-2000", "mnist", 2000, 1000, "mlp", 500, 100, 0.05),
    *((0, 2, 4, 6, 8, 10, 15, 20, 30, 50, 80, 130, 200, 320, 500), 5),
)
FASHION = NetworkSetting(
    *("fashion-mnist-1000", "fashion-mnist", 1000, 1000, "convnet", 80, 50, 0.1),
    *((0, 3, 6, 10, 14, 18, 23, 29, 36, 46, 60, 80), 3),
)
MNIST_MEDIUM = NetworkSetting(
    *("mnist-10000", "mnist", 10_000, 2000, "resnet18", 50, 128, 0.05),
    *((0, 1, 2, 4, 6, 8, 10, 14, 20, 28, 38, 50), 3),
)
CIFAR_MEDIUM = NetworkSetting(
    *("cifar10-10000", "cifar10", 10_000, 2000, "resnet18", 100, 128, 0.05),
    *((0, 2, 5, 10, 14, 18, 22, 27, 33, 40, 50, 62, 78, 100), 3),
)
PAPER_EPOCHS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 65, 100, 150, 230, 350)
PAPER = tuple(
    NetworkSetting(name, name, None, None, "resnet18", 350, 128, 0.1, PAPER_EPOCHS, 5)
    for name in ("mnist", "fashion-mnist", "cifar10")
)
SMOKE = NetworkSetting("digits-200", "digits", 200, None, "mlp", 60, 50, 0.05, (0, 10, 15, 20, 30, 40), 1)
NETWORKS: dict[Scale, tuple[NetworkSetting, ...]] = {
    "smoke": (SMOKE,),
    "small": (DIGITS, MNIST, FASHION),
    "medium": (DIGITS, MNIST_MEDIUM, CIFAR_MEDIUM),
    "paper": PAPER,
}
NUM_STARTS: dict[Scale, int] = {"smoke": 1, "small": 10, "medium": 10, "paper": 20}


def trials(scale: Scale, seeds: int | None) -> list[Trial]:
    """Return the runs of a scale.

    Args:
        scale: Of the four.
        seeds: Of every method; left out: the scale's own numbers.
    """
    starts = range(seeds or NUM_STARTS[scale])
    runs = [*_checks(scale), *_paths(scale, starts), *_double_precision(scale, seeds)]
    for setting in NETWORKS[scale]:
        runs += _networks(scale, setting, range(seeds or setting.seeds))
    return runs


def _checks(scale: Scale) -> Iterator[Trial]:
    is_short = scale == "smoke"
    works: dict[str, tuple[str, dict[str, Any]]] = {
        "separation": ("separation", {"sizes": SIZES[:3] if is_short else SIZES, "num_starts": 2 if is_short else 4}),
        "bounds": ("bounds", {"sizes": SIZES, "num_draws": 300 if is_short else 20_000}),
        "conservation": ("conservation", {"sizes": SIZES, "num_draws": 60 if is_short else 600}),
        "square": ("square", {"nums_per_class": [1, 2, 5]}),
        "planar-angles": ("planar_angles", {}),
        "stationary": (
            "stationary_points",
            {
                "sizes": [[4, 4, 1]] if is_short else [[4, 4, 1], [4, 5, 2], [5, 5, 1], [6, 6, 1]],
                "squared_norms": list(REACHES[:2]),
                "num_starts": 2 if is_short else 6,
            },
        ),
        "minima": (
            "minima",
            {
                "sizes": WIDE_SIZES[:2] if is_short else WIDE_SIZES,
                "squared_norms": list(REACHES),
                "num_starts": 3 if is_short else 12,
            },
        ),
        "minima-in-a-plane": (
            "minima",
            {"sizes": [[4, 2, 3]], "squared_norms": list(REACHES), "num_starts": 3 if is_short else 12},
        ),
    }
    for method, (function, arguments) in works.items():
        yield Trial("theory", method, 0, Computation(f"ji2022_landscape:{function}", arguments))


def _paths(scale: Scale, starts: Sequence[int]) -> Iterator[Trial]:
    is_short = scale == "smoke"
    log_time = 200.0 if is_short else 3000.0
    steps = [10, 100, 1000] if is_short else [10, 30, 100, 300, 1000, 3000, 10_000, 30_000]
    marks = [float(mark) for mark in range(-2, 9)]
    for seed in starts:
        for start_scale in START_SCALES:
            setting, start = f"flow-scale-{start_scale:g}", {"seed": seed, "scale": start_scale}
            for method, function, arguments in (
                ("generic", "generic_flow", {"log_time": log_time}),
                ("symmetric", "symmetric_flow", {"log_time": 150.0}),
                ("descent", "descent", {"learning_rate": STEP_OF_DESCENT, "record_steps": steps}),
                ("decay", "decayed_flow", {"weight_decay": FLOW_DECAY, "log_times": marks}),
            ):
                work = Computation(f"ji2022_simulations:{function}", {**start, **arguments})
                yield Trial(setting, method, seed, work)
        for method, push in (("in-the-plane", 0.0), ("pushed-out", 0.3)):
            arguments = {"seed": seed, "push": push, "log_time": log_time}
            yield Trial("flow-in-a-plane", method, seed, Computation("ji2022_simulations:planar_flow", arguments))


def _double_precision(scale: Scale, seeds: int | None) -> Iterator[Trial]:
    for seed in range(seeds or (1 if scale == "smoke" else 5)):
        for method, momentum, decay in (
            ("no-decay", MOMENTUM, 0.0),
            ("decay-no-momentum", 0.0, WEIGHT_DECAY),
            ("decay", MOMENTUM, WEIGHT_DECAY),
        ):
            arguments = {
                "seed": seed,
                "num_train": 500,
                "num_steps": 500 if scale == "smoke" else 2000,
                "batch_size": 50,
                "learning_rate": 0.05,
                "momentum": momentum,
                "weight_decay": decay,
            }
            work = Computation("ji2022_simulations:mean_classifier", arguments)
            yield Trial("digits-500-double-precision", method, seed, work)


def _networks(scale: Scale, setting: NetworkSetting, seeds: Sequence[int]) -> Iterator[Trial]:
    for seed in seeds:
        for method in setting.methods:
            mixing, decay = METHODS[method]
            options = TrainOptions(
                data=setting.images(seed),
                model=setting.model,
                mixing=MixingOptions("mixup" if mixing == "mixup" else "none"),
                training=Recipe(
                    epochs=setting.epochs,
                    batch_size=setting.batch_size,
                    learning_rate=setting.learning_rate,
                    momentum=MOMENTUM,
                    weight_decay=decay,
                    schedule="constant",
                ),
                measuring=MeasureOptions(num_pairs=200, linearity_pairs=64),
                seed=seed,
                device=device_of(scale),
                threads=threads_of(scale),
            )
            work = NetworkTraining(
                options,
                curve_every=max(1, setting.epochs // 50),
                measure_at=setting.measure_at,
                instruments=("classifier-mean",),
            )
            yield Trial(setting.name, method, seed, work)
