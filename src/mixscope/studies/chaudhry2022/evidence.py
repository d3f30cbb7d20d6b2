"""Numbers of the study of Chaudhry et al. 2022 that are made of several: worst layers, orders, labels needed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

from mixscope.records.samples import Sample, paired, paired_ratio
from mixscope.studies.chaudhry2022.runs import PLANS, Setting
from mixscope.studies.engine.claim_checks import Source
from mixscope.studies.engine.evidence_sources import Evidence, difference, percent
from mixscope.studies.engine.instruments import LINEARITY_ALPHAS
from mixscope.studies.engine.results import Results, column, read_number
from mixscope.studies.engine.trial import Outcome

SETTINGS: dict[str, Setting] = {setting.name: setting for plan in PLANS.values() for setting, _, _ in plan}
DIGITS = ("digits-50", "digits-100", "digits-200")
SITES = {
    "residual-mlp": ("layer0", "layer1", "layer2", "layer3", "layer4", "head"),
    "convnet": ("layer1", "layer2", "layer3", "layer4", "pool", "head"),
    "wide-resnet-16-2": ("layer0", "layer1", "layer2", "layer3", "layer4", "layer5"),
    "wide-resnet-28-2": ("layer0", "layer1", "layer2", "layer3", "layer4", "layer5"),
}  # the paper's layers 0 to 5
NUM_LAYERS = 6
ACCURACY = "test/accuracy"
COLLAPSED = "collapsed"
PILOT = Source("derived", "ours, from a pilot on digits")


def site_key(setting: str, layer: int, name: str, *, alpha: float | None = None) -> str:
    """Return the key of a layer's number on pairs whose weights have the setting's own alpha, or another."""
    chosen = SETTINGS[setting]
    return f"linearity/alpha={chosen.alpha if alpha is None else alpha:g}/{SITES[chosen.model][layer]}/{name}"


def gain(first: str, second: str) -> Evidence:
    """Return the evidence of how much more accurate one method is, in percentage points, seed by seed."""
    return difference(first, second, percent(ACCURACY))


def worst_ratio(
    first: str,
    second: str,
    layers: Sequence[int],
    *,
    pick: Callable[[Sequence[float]], float],
    name: str = "nonlinearity",
    alphas: Sequence[float | None] = (None,),
) -> Evidence:
    """Return the evidence of one method's number of a layer over another's, of the layer and alpha that `pick` picks.

    Args:
        first: Method above the line.
        second: Method below it.
        layers: As the paper counts them.
        pick: min where the ratio must be high in all layers, max where it must be low.
        name: Of the number.
        alphas: Of the pairs' weights; None is the setting's own.
    """

    def evidence(results: Results, setting: str) -> Sample:
        keys = [site_key(setting, layer, name, alpha=alpha) for layer in layers for alpha in alphas]
        samples = [results.ratio(setting, first, second, key) for key in keys]
        values = {run: [sample.values[run] for sample in samples] for run in samples[0].values}
        picked = {run: math.nan if any(map(math.isnan, row)) else pick(row) for run, row in values.items()}
        return replace(samples[0], values=picked)

    return evidence


def floor_share(first: str, second: str, layer: int) -> Evidence:
    """Return the evidence of the share of a difference in nonlinearity that is a difference in its floor."""

    def evidence(results: Results, setting: str) -> Sample:
        floors, values = (
            results.difference(setting, first, second, site_key(setting, layer, name))
            for name in ("floor", "nonlinearity")
        )
        return replace(paired_ratio(floors, values), is_paired=False, is_ratio=False)

    return evidence


def every_run(read: Callable[[Outcome, str], float], methods: Sequence[str] = ()) -> Evidence:
    """Return the evidence of a number of every trained network by method and seed, those with a problem too.

    Args:
        read: Of the outcome and the setting.
        methods: Which; left out: all that train a network.
    """

    def evidence(results: Results, setting: str) -> Sample:
        chosen = methods or [method for method in results.methods(setting) if method != "logistic"]
        values: dict[str, float] = {}
        missing: list[str] = []
        for method in chosen:
            outcomes = results.of(setting, method)
            values |= {f"{method}, {seed}": read(outcome, setting) for seed, outcome in outcomes.items()}
            expected = results.sample(setting, method, ACCURACY).missing
            missing += [f"{method}, {seed}" for seed in expected]
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
    excesses = [
        value - floor
        for layer in range(NUM_LAYERS)
        for value, floor in zip(
            column(outcome, "measured", site_key(setting, layer, "nonlinearity")),
            column(outcome, "measured", site_key(setting, layer, "floor")),
            strict=True,
        )
    ]
    return min((excess for excess in excesses if not math.isnan(excess)), default=math.nan)


def first_layer_defect(outcome: Outcome, setting: str) -> float:
    """Return the largest relative defect of layer 0 along training."""
    defects = column(outcome, "measured", site_key(setting, 0, "relative_defect"))
    return max((defect for defect in defects if not math.isnan(defect)), default=math.nan)


def same_order(methods: Sequence[str], layers: Sequence[int]) -> Evidence:
    """Return the evidence of the share of pairs of methods, layers and other alphas that keep the order at 0.5."""

    def evidence(results: Results, setting: str) -> Sample:
        others = [alpha for alpha in LINEARITY_ALPHAS if alpha != SETTINGS[setting].alpha]
        kept: list[Sample] = []
        for first, second in combinations(methods, 2):
            for layer in layers:
                own = results.difference(setting, first, second, site_key(setting, layer, "nonlinearity"))
                for alpha in others:
                    key = site_key(setting, layer, "nonlinearity", alpha=alpha)
                    other = results.difference(setting, first, second, key)
                    agree = {run: _has_same_sign(own.values[run], other.values[run]) for run in own.values}
                    kept.append(replace(own, values=agree, is_paired=False))
        runs = [run for run in kept[0].values if all(run in sample.values for sample in kept)]
        missing, excluded = _left_out(kept)
        values = {run: sum(sample.values[run] for sample in kept) / len(kept) for run in runs}
        return Sample(values, missing=missing, excluded=excluded)

    return evidence


def labels_needed(method: str, reference: str, *, target: str) -> Evidence:
    """Return the evidence of the labels a method needs for an accuracy over those another needs, seed by seed.

    The accuracy is that of `target` with the setting's labels. Between the sizes that were run it is interpolated in
    the logarithm of the number of labels; outside them the nearest size is taken, which brings the ratio nearer to 1.
    """

    def evidence(results: Results, setting: str) -> Sample:
        sizes = _sizes_like(results, setting)
        logs = [math.log2(SETTINGS[size].num_labels) for size in sizes]
        samples = {
            name: [results.sample(size, name, ACCURACY) for size in sizes] for name in {method, reference, target}
        }
        missing, excluded = _left_out([sample for group in samples.values() for sample in group])
        values = {}
        aims = results.sample(setting, target, ACCURACY).values
        for seed in aims:
            if seed in missing or seed in excluded:
                continue
            needed = [
                _first_crossing(logs, [sample.values[seed] for sample in samples[name]], aims[seed])
                for name in (method, reference)
            ]
            values[seed] = 2 ** (needed[0] - needed[1])
        return Sample(values, is_paired=True, missing=missing, excluded=excluded, is_ratio=True)

    return evidence


def shrinking_gain(first: str, second: str, *, fewest: str) -> Evidence:
    """Return the evidence of a gain in accuracy with the fewest labels less that in this setting, in points."""

    def evidence(results: Results, setting: str) -> Sample:
        return paired(gain(first, second)(results, fewest), gain(first, second)(results, setting))

    return evidence


def _has_same_sign(first: float, second: float) -> float:
    """Return 1 for two numbers of one sign, 0 for others, NaN where one is none."""
    product = first * second
    return product if math.isnan(product) else float(product > 0)


def _left_out(samples: Sequence[Sample]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the runs that any of several samples misses, and those that any excludes, with the reason."""
    excluded = {name: why for sample in samples for name, why in sample.excluded.items()}
    missing = {name for sample in samples for name in sample.missing} - set(excluded)
    return tuple(sorted(missing)), excluded


def _sizes_like(results: Results, setting: str) -> list[str]:
    """Return the settings that were run on the same images, by number of labels."""
    run = {trial.setting for trial in results.trials} & set(SETTINGS)
    alike = [name for name in run if SETTINGS[name].data == SETTINGS[setting].data]
    return sorted(alike, key=lambda name: SETTINGS[name].num_labels)


def _first_crossing(places: Sequence[float], heights: Sequence[float], aim: float) -> float:
    """Return where a line through points first reaches a height; its first or last place where it does not cross."""
    if heights[0] >= aim:
        return places[0]
    for (left, low), (right, high) in pairwise(zip(places, heights, strict=True)):
        if high >= aim:
            return left + (right - left) * (aim - low) / (high - low)
    return places[-1]
