"""The runs of the study of Ji et al. 2022: paths and checks of the layer-peeled model, and networks on images."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

from mixscope.bench.options import DataOptions, MeasureOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.run_grid import call_grid, run_grid
from mixscope.studies.engine.setups import device_of, digits, images, threads_of
from mixscope.studies.engine.trial import Trial
from mixscope.studies.ji2022.landscape_checks import (
    bounds,
    conservation,
    minima,
    planar_angles,
    separation,
    square,
    stationary_points,
)
from mixscope.studies.ji2022.path_simulations import (
    decayed_flow,
    descent,
    generic_flow,
    mean_classifier,
    planar_flow,
    symmetric_flow,
)
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
METHODS: dict[str, tuple[Literal["none", "mixup"], float]] = {
    "no-decay": ("none", 0.0),
    "decay": ("none", WEIGHT_DECAY),
    "mixup-no-decay": ("mixup", 0.0),
}  # mixing, and weight decay


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

    def work(self, method: str, seed: int, *, scale: Scale) -> NetworkTraining:
        """Return the training of one method with one seed."""
        mixing, decay = METHODS[method]
        options = TrainOptions(
            data=self.images(seed),
            model=self.model,
            mixing=MixingOptions(mixing),
            training=Recipe(
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                momentum=MOMENTUM,
                weight_decay=decay,
                schedule="constant",
            ),
            measuring=MeasureOptions(num_pairs=200, linearity_pairs=64),
            seed=seed,
            device=device_of(scale),
            threads=threads_of(scale),
        )
        return NetworkTraining(options, max(1, self.epochs // 50), self.measure_at, instruments=("classifier-mean",))


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
    is_short = scale == "smoke"
    runs = [
        *_checks(is_short=is_short),
        *_paths(seeds or NUM_STARTS[scale], is_short=is_short),
        *_double_precision(seeds or (1 if is_short else 5), is_short=is_short),
    ]
    for setting in NETWORKS[scale]:
        runs += run_grid(setting.name, setting.methods, seeds or setting.seeds, partial(setting.work, scale=scale))
    return runs


def _checks(*, is_short: bool) -> list[Trial]:
    num_starts, reaches = 3 if is_short else 12, list(REACHES)
    wide = WIDE_SIZES[:2] if is_short else WIDE_SIZES
    dents = [[4, 4, 1]] if is_short else [[4, 4, 1], [4, 5, 2], [5, 5, 1], [6, 6, 1]]
    call = partial(computation, "ji2022_landscape")
    calls = {
        "separation": call(separation, sizes=SIZES[:3] if is_short else SIZES, num_starts=2 if is_short else 4),
        "bounds": call(bounds, sizes=SIZES, num_draws=300 if is_short else 20_000),
        "conservation": call(conservation, sizes=SIZES, num_draws=60 if is_short else 600),
        "square": call(square, nums_per_class=[1, 2, 5]),
        "planar-angles": call(planar_angles),
        "stationary": call(stationary_points, sizes=dents, squared_norms=reaches[:2], num_starts=2 if is_short else 6),
        "minima": call(minima, sizes=wide, squared_norms=reaches, num_starts=num_starts),
        "minima-in-a-plane": call(minima, sizes=[[4, 2, 3]], squared_norms=reaches, num_starts=num_starts),
    }
    return [Trial("theory", method, 0, work) for method, work in calls.items()]


def _paths(num_starts: int, *, is_short: bool) -> list[Trial]:
    log_time = 200.0 if is_short else 3000.0
    steps = [10, 100, 1000] if is_short else [10, 30, 100, 300, 1000, 3000, 10_000, 30_000]
    marks = [float(mark) for mark in range(-2, 9)]
    call = partial(computation, "ji2022_simulations")
    flows = {
        "generic": partial(call, generic_flow, log_time=log_time),
        "symmetric": partial(call, symmetric_flow, log_time=150.0),
        "descent": partial(call, descent, learning_rate=STEP_OF_DESCENT, record_steps=steps),
        "decay": partial(call, decayed_flow, weight_decay=FLOW_DECAY, log_times=marks),
    }
    planar = {
        "in-the-plane": partial(call, planar_flow, push=0.0, log_time=log_time),
        "pushed-out": partial(call, planar_flow, push=0.3, log_time=log_time),
    }
    trials = []
    for scale in START_SCALES:
        scaled = {method: partial(flow, scale=scale) for method, flow in flows.items()}
        trials += call_grid(f"flow-scale-{scale:g}", scaled, num_starts)
    return [*trials, *call_grid("flow-in-a-plane", planar, num_starts)]


def _double_precision(num_seeds: int, *, is_short: bool) -> list[Trial]:
    num_steps = 500 if is_short else 2000
    train = partial(computation, "ji2022_simulations", mean_classifier, num_train=500, num_steps=num_steps)
    train = partial(train, batch_size=50, learning_rate=0.05)
    methods = {
        "no-decay": partial(train, momentum=MOMENTUM, weight_decay=0.0),
        "decay-no-momentum": partial(train, momentum=0.0, weight_decay=WEIGHT_DECAY),
        "decay": partial(train, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
    }
    return call_grid("digits-500-double-precision", methods, num_seeds)
