"""Numbers of the study of Ji et al. 2022 that are made of several: ratios along training, slopes, rates."""

import math
import statistics

from mixscope.records.claims import Sample, combined
from mixscope.studies.engine.evidence_sources import Evidence, quotient, ratio_within
from mixscope.studies.engine.network_setting import NetworkSetting
from mixscope.studies.engine.results import Number, Results, column, read_number
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.ji2022.runs import MOMENTUM, NETWORKS, WEIGHT_DECAY, num_steps

SEPARATED = 0.999  # of the training images: at most one of a thousand is still wrong
FLOWS = ("flow-scale-1", "flow-scale-0.4")
MIN_POINTS = 3  # of a slope
SETTINGS: dict[str, NetworkSetting] = {item.name: item for group in NETWORKS.values() for item in group}


def log_ratio(first: str, second: str, key: str) -> Evidence:
    """Return the evidence of the decimal logarithm of that ratio: how many powers of ten they are apart."""

    def log(ratio: float) -> float:
        return math.log10(ratio) if ratio > 0 else math.nan

    return lambda results, setting: combined(log, results.ratio(setting, first, second, key))


def law_error(*laws: str) -> Number:
    """Return how far the worst of some laws, each 1 in the limit, is from 1 at the end of the flow."""

    def read(outcome: Outcome) -> float:
        errors = [abs(read_number(outcome, f"end/{law}") - 1) for law in laws]
        return math.nan if any(map(math.isnan, errors)) else max(errors)  # max may pass a NaN by

    return read


def end_ratio(key: str) -> Evidence:
    """Return the evidence of a metric with weight decay over the same without, at the end of a path."""
    return ratio_within("decay", quotient(f"end/{key}", f"plain/{key}"))


def fall(key: str) -> Number:
    """Return a metric at the end of training over what it was when the network first separated its training images.

    NaN where it never did at an epoch that was measured before the last.
    """

    def read(outcome: Outcome) -> float:
        _, values = _separated(outcome, key)
        return values[-1] / values[0] if len(values) > 1 else math.nan

    return read


def flattening(key: str) -> Number:
    """Return the slope of log metric on log epoch in the later half of the time after separation minus the earlier.

    Halves of the logarithm of the epoch. Of a power of time both slopes are the same; where the fall slows down the
    difference is above 0. NaN where a half has fewer than three measured epochs.
    """

    def read(outcome: Outcome) -> float:
        epochs, values = _separated(outcome, key)
        if not epochs or min(values) <= 0:
            return math.nan
        middle = math.sqrt(epochs[0] * epochs[-1])
        pairs = list(zip(epochs, values, strict=True))
        early = _slope([pair for pair in pairs if pair[0] <= middle])
        late = _slope([pair for pair in pairs if pair[0] >= middle])
        return late - early

    return read


def mean_classifier_decay(network: NetworkSetting) -> float:
    """Return what weight decay takes off the logarithm of the mean classifier's length in a whole training.

    learning_rate weight_decay / (1 - momentum) a step. Derived here.
    """
    return network.options.training.peak_learning_rate * WEIGHT_DECAY / (1 - MOMENTUM) * num_steps(network)


def decay_rate(results: Results, setting: str) -> Sample:
    """Return the rate at which the mean classifier decayed over that of `mean_classifier_decay`."""

    def read(outcome: Outcome) -> float:
        moved = read_number(outcome, "nc/classifier_mean_drift")
        return -math.log1p(-moved) / mean_classifier_decay(SETTINGS[setting]) if moved < 1 else math.nan

    return results.sample(setting, "decay", read)


def _separated(outcome: Outcome, key: str) -> tuple[list[float], list[float]]:
    """Return the epochs and values of a metric from the first measured epoch on with 99.9% of training images right."""
    accuracy = column(outcome, "measured", "train/accuracy_clean")
    first = next((row for row, value in enumerate(accuracy) if value >= SEPARATED), len(accuracy))
    return column(outcome, "measured", "epoch")[first:], column(outcome, "measured", key)[first:]


def _slope(pairs: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of log value on log epoch; NaN of too few points."""
    if len(pairs) < MIN_POINTS:
        return math.nan
    epochs, values = zip(*pairs, strict=True)
    return statistics.linear_regression([*map(math.log, epochs)], [*map(math.log, values)]).slope
