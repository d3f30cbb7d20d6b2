"""Where the numbers behind the claims on Fisher et al. 2024 come from."""

import math
from collections.abc import Callable, Mapping

from mixscope.papers.fisher2024_runs import SETTINGS
from mixscope.papers.results import Number, Results, read_number
from mixscope.records.claims import Sample

Evidence = Callable[[Results, str], Sample]

ABSTRACT = "Fisher et al. 2024, abstract; the limit is ours"
READ = "Fisher et al. 2024, as read in its abstract or reviews; the limit is ours"
RECALLED = "recalled, not checked against the paper; the limit is ours"
DERIVED = "from the unconstrained model"
PREDICTED = "a prediction; the limit is ours"
PAIRS = "at the end, blended pairs of training images with every weight equally often, mean over seeds"


def settings_with(*methods: str, is_noisy: bool = False, data: str = "") -> tuple[str, ...]:
    """Return the settings of all scales on which all these methods are run.

    Args:
        methods: By name.
        is_noisy: Whether those with wrong labels are meant, or those without.
        data: What their names begin with; "" is any.
    """
    everything = [setting for settings in SETTINGS.values() for setting in settings]
    found = [
        setting.name
        for setting in everything
        if set(methods) <= set(setting.methods)
        and setting.name.endswith("-noisy") == is_noisy
        and setting.name.startswith(data)
    ]
    return tuple(dict.fromkeys(found))


def value(method: str, number: str | Number) -> Evidence:
    """Return the evidence of one method's number, seed by seed."""
    return lambda results, setting: results.sample(setting, method, number)


def difference(first: str, second: str, number: str | Number) -> Evidence:
    """Return the evidence of first - second on the same images and starting weights."""
    return lambda results, setting: results.difference(setting, first, second, number)


def ratio(first: str, second: str, number: str | Number) -> Evidence:
    """Return the evidence of first / second on the same images and starting weights."""
    return lambda results, setting: results.ratio(setting, first, second, number)


def computed(method: str, group: str, *, expected: Mapping[str, float] | None = None) -> Evidence:
    """Return the evidence of a computation: one value for each of its cases.

    Args:
        method: Of the computation.
        group: What the names of the values begin with, before the "/"; behind it stands the case.
        expected: Case to what the value should be: the evidence is then how far off these cases are.
    """

    def evidence(results: Results, setting: str) -> Sample:
        outcome = results.of(setting, method).get("seed 0")
        name = f"{setting}-{method}-seed0"
        if outcome is None:
            return Sample({}, missing=(name,))
        if outcome.problem:
            return Sample({}, excluded={name: outcome.problem})
        found = {key.removeprefix(f"{group}/"): key for key in outcome.values if key.startswith(f"{group}/")}
        values = {case: read_number(outcome, key) for case, key in found.items()}
        if expected is None:
            return Sample(values)
        return Sample({case: abs(values.get(case, math.nan) - value) for case, value in expected.items()})

    return evidence
