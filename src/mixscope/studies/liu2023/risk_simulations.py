"""The random-feature simulations of the study of Liu et al. 2023: test risks over time, by size and by alpha."""

import torch

from mixscope.studies.engine.trial import Measured, table_of
from mixscope.theory import FeatureExperiment, FeatureSetting, RiskCurves, random_feature_experiment, two_layer_teacher

SETTING = FeatureSetting()  # 20 examples, 400 blends, 100 features
SIZES = (15, 20, 30, 50, 80)
TABLE_ALPHAS = (0.1, 0.2, 0.5, 2.0, 8.0)
METHODS = ("mixup", "clean", "plain", "feature_blends", "switched")
SUMMARY = {
    "best_time": "best_times",
    "smallest": "smallest",
    "end": "end",
    "rise": "rises",
    "is_u_shaped": "is_u_shaped",
}  # what records call a number of `RiskCurves`
THINNING = 4  # of the curves that are kept


def random_features(seed: int) -> Measured:
    """Train on blends, clean blends, examples, blends of features, and switch: a teacher in the features' span."""
    return _measured(random_feature_experiment(SETTING, num_repetitions=1, generator=_stream(seed)))


def outside_teacher(seed: int) -> Measured:
    """Do the same for a two-layer teacher that the features cannot express."""
    return _measured(
        random_feature_experiment(SETTING, draw_teacher=two_layer_teacher, num_repetitions=1, generator=_stream(seed))
    )


def sizes(seed: int) -> Measured:
    """Train on blends for several numbers of examples, and several alphas, of the same draw as far as it goes."""
    settings = [FeatureSetting(num_examples=size) for size in SIZES]
    settings += [FeatureSetting(alpha=alpha) for alpha in TABLE_ALPHAS]
    rows = []
    for setting in settings:
        curves = random_feature_experiment(setting, num_repetitions=1, generator=_stream(seed)).mixup
        rows.append({"num_examples": setting.num_examples, "alpha": setting.alpha, **_summary(curves)})
    return Measured({}, {"settings": table_of(rows)})


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _summary(curves: RiskCurves) -> dict[str, float]:
    return {name: float(getattr(curves, own)[0]) for name, own in SUMMARY.items()}


def _measured(experiment: FeatureExperiment) -> Measured:
    """Return the numbers of one repetition, and its curves."""
    methods: dict[str, RiskCurves] = {name: getattr(experiment, name) for name in METHODS}
    values = {f"{name}/{key}": value for name, curves in methods.items() for key, value in _summary(curves).items()}
    clean, plain, blended = (methods[name].risks[0] for name in ("clean", "plain", "feature_blends"))
    distances = experiment.clean_distances[0]
    values |= {
        "clean/rise_of_first": float((clean[-1] - clean.min()) / clean[0]),
        "clean/distance_rise": max(0.0, float(distances.diff().max() / distances[0])),
        "feature_blends/difference": float((blended / plain - 1).abs().max()),
        "feature_blends/end_difference": float((blended[-1] / plain[-1] - 1).abs()),
        "label_noise": float(experiment.label_noise[0]),
    }
    columns = {name: curves.risks[0] for name, curves in methods.items()}
    columns |= {"distance": experiment.distances[0], "clean_distance": distances}
    kept = slice(1, -1, THINNING)  # without 0 and infinity
    curves = {name: column[kept].tolist() for name, column in columns.items()}
    return Measured(values, {"paths": {"time": experiment.mixup.times[kept].tolist()} | curves})
