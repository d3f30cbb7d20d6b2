"""Evidence, the numbers behind claims, as all studies need it: of one method, of two, within a run, by case."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from mixscope.records.claims import Sample
from mixscope.studies.engine.results import Number, Results, read_number
from mixscope.studies.engine.trial import Outcome

Evidence = Callable[[Results, str], Sample]  # the numbers of one setting

PERCENT = 100.0  # percent or percentage points of 1


def value(method: str, number: str | Number) -> Evidence:
    """Return the evidence of one method's number, seed by seed."""
    return lambda results, setting: results.sample(setting, method, number)


def value_at(methods: Mapping[str, str], number: str | Number) -> Evidence:
    """Return the same where the method goes by the setting."""
    return lambda results, setting: results.sample(setting, methods[setting], number)


def difference(first: str, second: str, number: str | Number) -> Evidence:
    """Return the evidence of first - second on the same images and starting weights."""
    return lambda results, setting: results.difference(setting, first, second, number)


def ratio(first: str, second: str, number: str | Number) -> Evidence:
    """Return the evidence of first / second on the same images and starting weights."""
    return lambda results, setting: results.ratio(setting, first, second, number)


def ratio_within(method: str, number: str | Number) -> Evidence:
    """Return the evidence of a number that is a ratio of two of the same run."""
    return lambda results, setting: replace(results.sample(setting, method, number), is_paired=True, is_ratio=True)


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


def percent(key: str) -> Number:
    """Return a function that reads a share of an outcome in percent."""
    return lambda outcome: PERCENT * read_number(outcome, key)


def excess(first: str, second: str) -> Number:
    """Return a function that subtracts a value of an outcome, the second, from another."""
    return lambda outcome: read_number(outcome, first) - read_number(outcome, second)


def quotient(first: str, *others: str) -> Number:
    """Return a function that divides a value of an outcome by the smallest of others; NaN where that is 0 or none."""

    def divide(outcome: Outcome) -> float:
        divisors = [read_number(outcome, key) for key in others]
        smallest = math.nan if any(map(math.isnan, divisors)) else min(divisors)
        return read_number(outcome, first) / smallest if smallest else math.nan

    return divide
