"""The runs of the study of Ji et al. 2022: paths and checks of the layer-peeled model, and networks on images."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

from mixscope.bench.options import MeasureOptions, MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_setting import NetworkSetting, digits, images
from mixscope.studies.engine.trial import Trial, call_grid
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


def _recipe(epochs: int, batch_size: int, learning_rate: float) -> Recipe:
    """Return a constant learning rate without weight decay."""
    recipe = Recipe(epochs, batch_size, learning_rate=learning_rate, schedule="constant")
    return replace(recipe, momentum=MOMENTUM, weight_decay=0.0)


def _network(
    data: str,
    num_train: int | None,
    model: str,
    recipe: Recipe,
    measure_at: tuple[int, ...],
    *,
    num_seeds: int,
    num_test: int | None = None,
    has_mixup: bool = False,
) -> NetworkSetting:
    """Return a network on a set of images, all of them or some, measured at epochs spread over their logarithm."""
    methods: dict[str, dict[str, Any]] = {
        "no-decay": {},
        "decay": {"training": replace(recipe, weight_decay=WEIGHT_DECAY)},
    }
    if has_mixup:
        methods["mixup-no-decay"] = {"mixing": MixingOptions("mixup")}
    draw = partial(digits, num_train or 0) if data == "digits" else partial(images, data, num_train, num_test=num_test)
    measuring = MeasureOptions(num_pairs=200, linearity_pairs=64)
    return NetworkSetting(
        name=data if num_train is None else f"{data}-{num_train}",
        images=draw,
        options=TrainOptions(model=model, mixing=MixingOptions("none"), training=recipe, measuring=measuring),
        methods=methods,
        num_seeds=num_seeds,
        curve_every=max(1, recipe.epochs // 50),
        measure_at=measure_at,
        instruments=("classifier-mean",),
        is_measured=True,
    )


def num_steps(setting: NetworkSetting) -> int:
    """Return the steps of the whole training; the last batch of an epoch may be smaller."""
    name, _, num_train = setting.name.rpartition("-")
    size = int(num_train) if name in (*FULL_SIZES, "digits") else FULL_SIZES[setting.name]
    return setting.epochs * math.ceil(size / setting.options.training.batch_size)


AT_2000 = (0, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1400, 2000)
AT_500 = (0, 2, 4, 6, 8, 10, 15, 20, 30, 50, 80, 130, 200, 320, 500)
AT_350 = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 65, 100, 150, 230, 350)
AT_100 = (0, 2, 5, 10, 14, 18, 22, 27, 33, 40, 50, 62, 78, 100)
AT_80 = (0, 3, 6, 10, 14, 18, 23, 29, 36, 46, 60, 80)
AT_50 = (0, 1, 2, 4, 6, 8, 10, 14, 20, 28, 38, 50)
AT_40 = (0, 10, 15, 20, 30, 40)
DIGITS = _network("digits", 1000, "mlp", _recipe(2000, 100, 0.05), AT_2000, num_seeds=5, has_mixup=True)
SMOKE = _network("digits", 200, "mlp", _recipe(60, 50, 0.05), AT_40, num_seeds=1)
NETWORKS: dict[Scale, tuple[NetworkSetting, ...]] = {
    "smoke": (SMOKE,),
    "small": (
        DIGITS,
        _network("mnist", 2000, "mlp", _recipe(500, 100, 0.05), AT_500, num_seeds=5, num_test=1000),
        _network("fashion-mnist", 1000, "convnet", _recipe(80, 50, 0.1), AT_80, num_seeds=3, num_test=1000),
    ),
    "medium": (
        DIGITS,
        _network("mnist", 10_000, "resnet18", _recipe(50, 128, 0.05), AT_50, num_seeds=3, num_test=2000),
        _network("cifar10", 10_000, "resnet18", _recipe(100, 128, 0.05), AT_100, num_seeds=3, num_test=2000),
    ),
    "paper": tuple(
        _network(name, None, "resnet18", _recipe(350, 128, 0.1), AT_350, num_seeds=5) for name in FULL_SIZES
    ),
}
NUM_STARTS: dict[Scale, int] = {"smoke": 1, "small": 10, "medium": 10, "paper": 20}


def trials(scale: Scale, seeds: int | None) -> list[Trial]:
    """Return the runs of a scale, given the number of seeds; None is the scale's own."""
    is_short = scale == "smoke"
    runs = [
        *_checks(is_short=is_short),
        *_paths(seeds or NUM_STARTS[scale], is_short=is_short),
        *_double_precision(seeds or (1 if is_short else 5), is_short=is_short),
    ]
    for setting in NETWORKS[scale]:
        runs += setting.trials(scale, seeds)
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
