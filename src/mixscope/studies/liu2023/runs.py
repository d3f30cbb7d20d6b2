"""The runs of the study of Liu et al. 2023 at each scale: simulations, digits, and the images of another module."""

from mixscope.bench.options import MixingOptions, TrainOptions
from mixscope.studies.engine.computation import Computation
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.setups import digits
from mixscope.studies.engine.trial import Trial
from mixscope.studies.liu2023.image_runs import medium_image_trials, paper_image_trials, small_image_trials
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
SIMULATED = {
    "liu2023_flow:closed_form": FEATURES,
    "liu2023_flow:bound_and_modes": FEATURES,
    "liu2023_flow:outside_bound": OUTSIDE,
    "liu2023_simulations:random_features": FEATURES,
    "liu2023_simulations:outside_teacher": OUTSIDE,
    "liu2023_simulations:sizes": FEATURES,
    "liu2023_labels:drawn_labels": "gaussian-classes",
    "liu2023_labels:blended_labels": "blended-labels",
    "liu2023_labels:known_teachers": "known-teachers",
    "liu2023_labels:digits_intrusion": "digits-all",
    "liu2023_labels:iris_intrusion": "iris",
}
NUM_DRAWS = 20
MANY_DRAWS = 100  # of those whose shares are judged: of 20 draws, even 20 hits do not show a share of 0.9
WITH_SHARES = ("liu2023_simulations:random_features", "liu2023_simulations:outside_teacher")
NOT_IN_SMOKE = ("liu2023_simulations:sizes",)


def liu_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return all runs of a scale, given the number of seeds; None is the scale's own."""
    simulated = simulated_trials(scale, seeds)
    match scale:
        case "smoke":
            return [*simulated, *_smoke(seeds or 1)]
        case "small":
            return [*simulated, *_digits(seeds or 6), *small_image_trials(seeds or 3)]
        case "medium":
            return [*simulated, *_digits(seeds or 3), *medium_image_trials(seeds or 3)]
        case "paper":
            return [*simulated, *paper_image_trials(seeds or 3)]


def simulated_trials(scale: Scale, seeds: int | None = None) -> list[Trial]:
    """Return the simulations: one call for each seed, the seed being its draw of everything."""
    trials = []
    for function, setting in SIMULATED.items():
        if scale == "smoke" and function in NOT_IN_SMOKE:
            continue
        num_seeds = seeds or (2 if scale == "smoke" else MANY_DRAWS if function in WITH_SHARES else NUM_DRAWS)
        trials += [
            Trial(setting, function.partition(":")[2], seed, Computation(function, {"seed": seed}))
            for seed in range(num_seeds)
        ]
    return trials


def digits_trial(
    setting: str,
    method: str,
    seed: int,
    *,
    epochs: int,
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
        device="cpu",  # steps this small wait longer for a GPU than they compute
        threads=1,
    )
    work = NetworkTraining(
        options,
        curve_every=10,
        measure_at=tuple(epoch for epoch in GEOMETRY_AT if epoch < epochs) if has_geometry else (),
        instruments=("objective-gradient", "flatness") if has_geometry else (),
        is_measured=False,
    )
    return Trial(setting, method, seed, work)


def _smoke(num_seeds: int) -> list[Trial]:
    trials = []
    for seed in range(num_seeds):
        off: dict[str, MixingOff] = {ERM: None, MIXUP: None, switched(20): 20, AUTO: "auto"}
        trials += [
            digits_trial("digits-200", method, seed, epochs=30, mixing_off=epoch, has_geometry=method != AUTO)
            for method, epoch in off.items()
        ]
    return trials


def _digits(num_seeds: int) -> list[Trial]:
    trials = []
    for seed in range(num_seeds):
        for setting, epochs in DIGITS_EPOCHS.items():
            is_middle = setting == "digits-200"
            trials += [
                digits_trial(setting, ERM, seed, epochs=epochs, has_geometry=is_middle),
                digits_trial(setting, MIXUP, seed, epochs=epochs, has_geometry=is_middle),
                digits_trial(setting, AUTO, seed, epochs=epochs, mixing_off="auto"),
            ]
        for epoch in SWITCHES:
            epochs = DIGITS_EPOCHS["digits-200"]
            trials.append(digits_trial("digits-200", switched(epoch), seed, epochs=epochs, mixing_off=epoch))
        trials += _sides(seed)
    return trials


def _sides(seed: int) -> list[Trial]:
    """Return the runs on 200 digits with other alphas, penalties and the squared error."""
    epochs = SIDE_EPOCHS
    alphas = [
        digits_trial("digits-200", f"mixup-alpha-{alpha:g}", seed, epochs=epochs, alpha=alpha) for alpha in ALPHAS
    ]
    penalties = [
        digits_trial("digits-200", f"mixup-decay-{decay:g}", seed, epochs=epochs, weight_decay=decay)
        for decay in (0.0, 1e-3)
    ]
    squared = [
        digits_trial("digits-200", f"{method}-squared", seed, epochs=epochs, loss="squared-error")
        for method in (ERM, MIXUP)
    ]
    return [*alphas, *penalties, *squared]
