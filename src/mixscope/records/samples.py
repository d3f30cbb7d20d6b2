"""What the runs of a claim measured, by name; and two methods compared run by run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real


@dataclass(frozen=True)
class Sample:
    """What the runs measured, by name.

    Attributes:
        values: Run or seed name ("seed 3") -> value; of a paired comparison the difference or ratio.
        is_paired: Whether the values are differences or ratios of two methods, seed by seed.
        missing: Names of runs that were not found.
        excluded: Run left out -> why, for example "collapsed: accuracy 0.10". Shown with every verdict.
        is_ratio: Whether the values are ratios, in which two methods that do not differ give 1 and not 0.

    Raises:
        ValueError: If a value is no number, or a name stands in two places.
    """

    values: Mapping[str, float]
    is_paired: bool = False
    missing: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)
    is_ratio: bool = False

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if not isinstance(value, Real):
                raise ValueError(f"value of {name!r} must be a number, NaN where the run has none, got {value!r}")
        names = [*self.values, *self.missing, *self.excluded]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a run must be measured, missing or excluded, only one of them, got twice: {twice}")


def paired(first: Sample, second: Sample) -> Sample:
    """Return first - second, run by run.

    A run that only one of them has is missing, and one that either excludes is excluded.

    Example:
        >>> paired(Sample({"seed 0": 3.0, "seed 1": 4.0}), Sample({"seed 0": 1.0})).values
        {'seed 0': 2.0}
    """
    values, missing, excluded = _by_run(first, second)
    return Sample({name: a - b for name, (a, b) in values.items()}, True, missing, excluded)


def paired_ratio(first: Sample, second: Sample) -> Sample:
    """Return first / second, run by run, as `paired` does; NaN where the second is 0."""
    values, missing, excluded = _by_run(first, second)
    ratios = {name: a / b if b else math.nan for name, (a, b) in values.items()}
    return Sample(ratios, True, missing, excluded, is_ratio=True)


def _by_run(first: Sample, second: Sample) -> tuple[dict[str, tuple[float, float]], tuple[str, ...], dict[str, str]]:
    excluded = dict(first.excluded)
    for name, why in second.excluded.items():
        excluded[name] = f"{excluded[name]}; {why}" if excluded.get(name, why) != why else why
    names = dict.fromkeys([*first.values, *second.values, *first.missing, *second.missing])
    kept = [name for name in names if name not in excluded]
    both = [name for name in kept if name in first.values and name in second.values]
    values = {name: (first.values[name], second.values[name]) for name in both}
    return values, tuple(name for name in kept if name not in values), excluded
