"""Numbers of the study of Chaudhry et al. 2022 that are made of several: worst layers, orders, labels needed."""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise

from mixscope.records.claims import Sample, combined, paired
from mixscope.studies.chaudhry2022.runs import BASELINE, SETTINGS, data_of, labels_of
from mixscope.studies.engine.claim_checks import Source
from mixscope.studies.engine.evidence_sources import Evidence, difference, percent
from mixscope.studies.engine.instruments import LINEARITY_ALPHAS
from mixscope.studies.engine.results import Results, column, read_number
from mixscope.studies.engine.trial import Outcome

DIGITS = ("digits-50", "digits-100", "digits-200")
SITES = {
    "residual-mlp": ("layer0", "layer1", "layer2", "layer3", "layer4", "head"),
    "convnet": ("layer1", "layer2", "layer3", "layer4", "pool", "head"),
    "wide-resnet-16-2": ("layer0", "layer1", "layer2", "layer3", "layer4", "layer5"),
    "wide-resnet-28-2": ("layer0", "layer1", "layer2", "layer3", "layer4", "layer5"),
}  # the paper's layers 0 to 5
NUM_LAYERS = 6
NONLINEARITY = "nonlinearity"
ACCURACY = "test/accuracy"
COLLAPSED = "collapsed"
PILOT = Source("derived", "ours, from a pilot on digits")


def site_key(setting: str, layer: int, name: str, *, alpha: float | None = None) -> str:
    """Return the key of a layer's number on pairs whose weights have the setting's own alpha, or another."""
    options = SETTINGS[setting].options
    own = options.measuring.linearity_alpha if alpha is None else alpha
    return f"linearity/alpha={own:g}/{SITES[options.model][layer]}/{name}"


def gain(first: str, second: str) -> Evidence:
    """Return the evidence of how much more accurate one method is, in percentage points, seed by seed."""
    return difference(first, second, percent(ACCURACY))


def worst_ratio(
    first: str,
    second: str,
    layers: Sequence[int],
    *,
    pick: Callable[[Sequence[float]], float],
    name: str = NONLINEARITY,
    alphas: Sequence[float | None] = (None,),
) -> Evidence:
    """Return the evidence of the first method's number of a layer over the second's, of the layer and alpha picked.

    `pick` is min where the ratio must be high in all layers, max where it must be low; an alpha of None is the
    setting's own.
    """

    def evidence(results: Results, setting: str) -> Sample:
        keys = [site_key(setting, layer, name, alpha=alpha) for layer in layers for alpha in alphas]
        samples = [results.ratio(setting, first, second, key) for key in keys]
        return combined(lambda *row: math.nan if any(map(math.isnan, row)) else pick(row), *samples, is_ratio=True)

    return evidence


def floor_share(first: str, second: str, layer: int) -> Evidence:
    """Return the evidence of the share of a difference in nonlinearity that is a difference in its floor."""

    def evidence(results: Results, setting: str) -> Sample:
        keys = (site_key(setting, layer, name) for name in ("floor", NONLINEARITY))
        floors, values = (results.difference(setting, first, second, key) for key in keys)
        return combined(lambda a, b: a / b if b else math.nan, floors, values, is_paired=False)

    return evidence


def every_run(read: Callable[[Outcome, str], float], methods: Sequence[str] = ()) -> Evidence:
    """Return the evidence of a number of every trained network, or of some methods', those with a problem too."""

    def evidence(results: Results, setting: str) -> Sample:
        values: dict[str, float] = {}
        missing: list[str] = []
        for method in methods or [method for method in results.methods(setting) if method != BASELINE]:
            outcomes = results.of(setting, method)
            values |= {f"{method}, {seed}": read(outcome, setting) for seed, outcome in outcomes.items()}
            missing += [f"{method}, {seed}" for seed in results.sample(setting, method, ACCURACY).missing]
        return Sample(values, missing=tuple(missing))

    return evidence


def is_collapsed(outcome: Outcome, setting: str) -> float:
    """Return 1 for a run that is named as collapsed, and 0 for others."""
    return float(outcome.problem.startswith(COLLAPSED))


def accuracy_of(outcome: Outcome, setting: str) -> float:
    """Return the accuracy at the end, of a collapsed run too."""
    return read_number(outcome, ACCURACY)


def least_excess(outcome: Outcome, setting: str) -> float:
    """Return the smallest nonlinearity less its floor, over layers and epochs; a layer without directions has none."""
    excesses: list[float] = []
    for layer in range(NUM_LAYERS):
        keys = (site_key(setting, layer, name) for name in (NONLINEARITY, "floor"))
        excesses += map(operator.sub, *(column(outcome, "measured", key) for key in keys))
    return min((excess for excess in excesses if not math.isnan(excess)), default=math.nan)


def first_layer_defect(outcome: Outcome, setting: str) -> float:
    """Return the largest relative defect of layer 0 along training."""
    defects = column(outcome, "measured", site_key(setting, 0, "relative_defect"))
    return max((defect for defect in defects if not math.isnan(defect)), default=math.nan)


def same_order(methods: Sequence[str], layers: Sequence[int]) -> Evidence:
    """Return the evidence of the share of pairs of methods, layers and other alphas that keep the order at 0.5."""

    def evidence(results: Results, setting: str) -> Sample:
        def differences(alpha: float | None) -> Iterator[Sample]:
            for first, second in combinations(methods, 2):
                for layer in layers:
                    yield results.difference(
                        setting, first, second, site_key(setting, layer, NONLINEARITY, alpha=alpha)
                    )

        others = [alpha for alpha in LINEARITY_ALPHAS if alpha != SETTINGS[setting].options.measuring.linearity_alpha]
        kept = [
            combined(_has_same_sign, own, other, is_paired=False)
            for alpha in others
            for own, other in zip(differences(None), differences(alpha), strict=True)
        ]
        return combined(lambda *row: sum(row) / len(row), *kept, is_paired=False)

    return evidence


def labels_needed(method: str, reference: str, *, target: str) -> Evidence:
    """Return the evidence of the labels a method needs for an accuracy over those another needs, seed by seed.

    The accuracy is that of `target` with the setting's labels. Between the sizes that were run it is interpolated in
    the logarithm of the number of labels; outside them the nearest size is taken, which brings the ratio nearer to 1.
    """

    def evidence(results: Results, setting: str) -> Sample:
        sizes = _sizes_like(results, setting)
        logs = [math.log2(labels_of(size)) for size in sizes]
        own, others = ([results.sample(size, name, ACCURACY) for size in sizes] for name in (method, reference))

        def ratio(aim: float, *accuracies: float) -> float:
            halves = accuracies[: len(sizes)], accuracies[len(sizes) :]
            first, second = (_first_crossing(logs, half, aim) for half in halves)
            return 2 ** (first - second)

        return combined(ratio, results.sample(setting, target, ACCURACY), *own, *others, is_ratio=True)

    return evidence


def shrinking_gain(first: str, second: str, *, fewest: str) -> Evidence:
    """Return the evidence of a gain in accuracy with the fewest labels less that in this setting, in points."""
    own = gain(first, second)
    return lambda results, setting: paired(own(results, fewest), own(results, setting))


def _has_same_sign(first: float, second: float) -> float:
    """Return 1 for two numbers of one sign, 0 for others, NaN where one is none."""
    product = first * second
    return product if math.isnan(product) else float(product > 0)


def _sizes_like(results: Results, setting: str) -> list[str]:
    """Return the settings that were run on the same images, by number of labels."""
    run = {trial.setting for trial in results.trials} & set(SETTINGS)
    return sorted((name for name in run if data_of(name) == data_of(setting)), key=labels_of)


def _first_crossing(places: Sequence[float], heights: Sequence[float], aim: float) -> float:
    """Return where a line through points first reaches a height; its first or last place where it does not cross."""
    if heights[0] >= aim:
        return places[0]
    for (left, low), (right, high) in pairwise(zip(places, heights, strict=True)):
        if high >= aim:
            return left + (right - left) * (aim - low) / (high - low)
    return places[-1]
