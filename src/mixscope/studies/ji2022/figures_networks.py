"""Figures of the study of Ji et al. 2022: networks against epochs."""

import math

from mixscope.report.document import Chapter, Exhibit, Series
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.seed_figures import above_zero, after_start, curve_series, exhibit_name
from mixscope.studies.ji2022.evidence import SETTINGS, mean_classifier_decay

DISTANCE = "distance to collapse"
METHOD_NAMES = {
    "no-decay": "no weight decay",
    "decay": "weight decay 0.0005",
    "mixup-no-decay": "mixup, no weight decay",
}
PANELS = {
    "nc/nc1_trace": "Scatter within classes",
    "nc/nc2_equinorm_means": "Lengths of class means",
    "nc/nc2_equinorm_weights": "Lengths of classifier rows, centred",
    "nc/nc2_equiangular_means": "Angles of class means",
    "nc/nc2_equiangular_weights": "Angles of classifier rows, centred",
    "nc/nc3_duality": "Classifier against class means, centred",
    "nc/nc2_equinorm_weights_uncentered": "Lengths of classifier rows, not centred",
    "nc/nc2_equiangular_weights_uncentered": "Angles of classifier rows, not centred",
    "nc/nc0_row_sum": "Sum of the classifier's rows",
}


def network_chapter(results: Results, setting: str) -> Chapter:
    """Return the neural-collapse quantities of one setting's networks along training."""
    exhibits = []
    for key, title in PANELS.items():
        series = _lines(results, setting, key)
        if series:
            exhibits.append(
                Exhibit(exhibit_name(setting, key), title, series, "epoch", DISTANCE, log_x=True, log_y=True)
            )
    return Chapter(
        exhibit_name("network", setting),
        f"A network on {setting}",
        "The same quantities in a trained network. Without weight decay look for lines that go on falling after the "
        "first epochs, and flatten: on these axes a power of time is a straight line. With it look at what is not "
        "centred: does it fall faster? Mixup's loss is least at finite logits, so its networks need not collapse.",
        exhibits,
        notes=["Lines are means over seeds, bands Student's 95% intervals of the mean."],
    )


def mean_classifier_chapter(results: Results) -> Chapter:
    """Return how far the mean of the classifier's rows moved, on every setting."""
    exhibits = []
    for setting, network in SETTINGS.items():
        series = _lines(results, setting, "nc/classifier_mean_drift")
        if not series:
            continue
        rate = mean_classifier_decay(network) / network.epochs
        epochs = [float(epoch) for epoch in network.measure_at if epoch]
        law = [-math.expm1(-rate * epoch) for epoch in epochs]
        series.append(Series("1 − exp(−rate × steps)", epochs, law, is_reference=True))
        exhibits.append(
            Exhibit(
                *(exhibit_name("drift", setting), f"Mean classifier's way, {setting}", series),
                *("epoch", "distance moved / length at the start"),
                log_x=True,
                log_y=True,
            )
        )
    return Chapter(
        "mean-classifier",
        "The mean of the classifier's rows",
        "The gradient does not touch the mean row, whatever the loss: without weight decay look for a line near the "
        "rounding of single precision, which adds up over steps, and with it for the dotted exponential.",
        exhibits,
    )


def _lines(results: Results, setting: str, key: str) -> list[Series]:
    """Return a metric's mean along training for each method that was run, for logarithmic axes."""
    found = [
        curve_series(results, setting, method, key, table="measured", name=name, colour=place)
        for place, (method, name) in enumerate(METHOD_NAMES.items())
    ]
    return [above_zero(after_start(line)) for line in found if line is not None]
