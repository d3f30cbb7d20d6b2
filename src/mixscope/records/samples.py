"""Samples: what the runs of a claim measured, by name, and how several are combined run by run."""

import math
import operator
from collections.abc import Callable, Mapping
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


def combined(
    function: Callable[..., float], *samples: Sample, is_paired: bool = True, is_ratio: bool = False
) -> Sample:
    """Return a function of what several samples measured, run by run.

    A run that any of them lacks is missing, and one that any excludes is excluded, with every reason.
    """
    reasons: dict[str, dict[str, None]] = {}
    for sample in samples:
        for name, why in sample.excluded.items():
            reasons.setdefault(name, {})[why] = None
    names = dict.fromkeys(name for sample in samples for name in (*sample.values, *sample.missing))
    kept = [name for name in names if name not in reasons]
    values = {
        name: function(*(sample.values[name] for sample in samples))
        for name in kept
        if all(name in sample.values for sample in samples)
    }
    missing = tuple(name for name in kept if name not in values)
    return Sample(values, is_paired, missing, {name: "; ".join(why) for name, why in reasons.items()}, is_ratio)


def paired(first: Sample, second: Sample) -> Sample:
    """Return first - second, run by run, as `combined` does.

    Example:
        >>> paired(Sample({"seed 0": 3.0, "seed 1": 4.0}), Sample({"seed 0": 1.0})).values
        {'seed 0': 2.0}
    """
    return combined(operator.sub, first, second)


def paired_ratio(first: Sample, second: Sample) -> Sample:
    """Return first / second, run by run, as `combined` does; NaN where the second is 0."""
    return combined(lambda a, b: a / b if b else math.nan, first, second, is_ratio=True)
