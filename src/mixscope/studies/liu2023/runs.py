"""The runs of the study of Liu et al. 2023 at each scale: simulations, digits, and the images of another module."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from mixscope.bench.options import MixingOptions, TrainOptions
from mixscope.studies.engine.computation import computation
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.run_grid import call_grid
from mixscope.studies.engine.setups import digits
from mixscope.studies.engine.trial import Trial
from mixscope.studies.liu2023 import flow_checks, label_checks, risk_simulations
from mixscope.studies.liu2023.image_runs import image_trials
from mixscope.studies.liu2023.settings import (
    ALPHAS,
    AUTO,
    DIGITS_EPOCHS,
    ERM,
    FEATURES,
    MIXUP,
    OUTSIDE,
    SIDE_EPOCHS,
    SWITCHES,
    WEIGHT_DECAY,
    MixingOff,
    switched,
)
from mixscope.studies.names import Scale
from mixscope.training.recipe import Loss, Recipe

DIGITS_BATCH, DIGITS_RATE = 50, 0.05  # our pilot's
SQUARED_RATE = 0.02  # at 0.05 the squared error diverges
GEOMETRY_AT = (20, 100, 200, 500, 1000)  # and at the end: gradient and sharpness
NUM_DRAWS = 20
MANY_DRAWS = 100  # of those whose shares are judged: of 20 draws, even 20 hits do not show a share of 0.9
SIMULATED = (
    ("liu2023_flow", flow_checks.closed_form, FEATURES, NUM_DRAWS),
    ("liu2023_flow", flow_checks.bound_and_modes, FEATURES, NUM_DRAWS),
    ("liu2023_flow", flow_checks.outside_bound, OUTSIDE, NUM_DRAWS),
    ("liu2023_simulations", risk_simulations.random_features, FEATURES, MANY_DRAWS),
    ("liu2023_simulations", risk_simulations.outside_teacher, OUTSIDE, MANY_DRAWS),
    ("liu2023_simulations", risk_simulations.sizes, FEATURES, NUM_DRAWS),
    ("liu2023_labels", label_checks.drawn_labels, "gaussian-classes", NUM_DRAWS),
    ("liu2023_labels", label_checks.blended_labels, "blended-labels", NUM_DRAWS),
    ("liu2023_labels", label_checks.known_teachers, "known-teachers", NUM_DRAWS),
    ("liu2023_labels", label_checks.digits_intrusion, "digits-all", NUM_DRAWS),
    ("liu2023_labels", label_checks.iris_intrusion, "iris", NUM_DRAWS),
)  # where records have it, what, the setting, and how many seeds
NOT_IN_SMOKE = ("sizes",)

Methods = dict[str, Callable[..., NetworkTraining]]  # each takes the seed


def liu_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return all runs of a scale, given the number of seeds; None is the scale's own."""
    trials = []
    for home, function, setting, num_draws in SIMULATED:
        if scale != "smoke" or function.__name__ not in NOT_IN_SMOKE:
            num_seeds = seeds or (2 if scale == "smoke" else num_draws)
            trials += call_grid(setting, {function.__name__: partial(computation, home, function)}, num_seeds)
    if scale == "smoke":
        trials += call_grid("digits-200", _smoke_methods(), seeds or 1)
    if scale in ("small", "medium"):
        for setting in DIGITS_EPOCHS:
            trials += call_grid(setting, _digits_methods(setting), seeds or (6 if scale == "small" else 3))
    return [*trials, *image_trials(scale, seeds or 3)]


def digits_training(
    setting: str,
    *,
    seed: int,
    epochs: int | None = None,
    mixing: Literal["none", "mixup"] = "mixup",
    mixing_off: MixingOff = None,
    alpha: float | None = None,
    weight_decay: float = WEIGHT_DECAY,
    loss: Loss = "cross-entropy",
    has_geometry: bool = False,
) -> NetworkTraining:
    """Return one long training of the MLP on few digits.

    Args:
        setting: "digits-N".
        seed: Of the images and of training.
        epochs: Passes; left out: the setting's own.
        mixing: Plain training, or mixup.
        mixing_off: After how many epochs mixing stops.
        alpha: Of the weights' law.
        weight_decay: L2 penalty.
        loss: Trained on.
        has_geometry: Whether the gradient's length and the sharpness are measured along the way.
    """
    epochs = epochs or DIGITS_EPOCHS[setting]
    options = TrainOptions(
        data=digits(int(setting.removeprefix("digits-")), seed=seed),
        mixing=MixingOptions(mixing, alpha=alpha),
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
        device="cpu",  # steps this small wait longer for a GPU than they compute
        threads=1,
    )
    return NetworkTraining(
        options,
        curve_every=10,
        measure_at=tuple(epoch for epoch in GEOMETRY_AT if epoch < epochs) if has_geometry else (),
        instruments=("objective-gradient", "flatness") if has_geometry else (),
        is_measured=False,
    )


def _smoke_methods() -> Methods:
    train = partial(digits_training, "digits-200", epochs=30)
    return {
        ERM: partial(train, mixing="none", has_geometry=True),
        MIXUP: partial(train, has_geometry=True),
        switched(20): partial(train, mixing_off=20, has_geometry=True),
        AUTO: partial(train, mixing_off="auto"),
    }


def _digits_methods(setting: str) -> Methods:
    """Return the methods on some digits: on 200 also switches, other alphas and penalties, and the squared error."""
    train, is_middle = partial(digits_training, setting), setting == "digits-200"
    methods: Methods = {
        ERM: partial(train, mixing="none", has_geometry=is_middle),
        MIXUP: partial(train, has_geometry=is_middle),
        AUTO: partial(train, mixing_off="auto"),
    }
    if not is_middle:
        return methods
    side = partial(train, epochs=SIDE_EPOCHS)
    return {
        **methods,
        **{switched(epoch): partial(train, mixing_off=epoch) for epoch in SWITCHES},
        **{f"mixup-alpha-{alpha:g}": partial(side, alpha=alpha) for alpha in ALPHAS},
        **{f"mixup-decay-{decay:g}": partial(side, weight_decay=decay) for decay in (0.0, 1e-3)},
        "erm-squared": partial(side, mixing="none", loss="squared-error"),
        "mixup-squared": partial(side, loss="squared-error"),
    }
