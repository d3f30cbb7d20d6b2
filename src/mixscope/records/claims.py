"""Claims written before a run, each with limits that could refute it, and the samples that they are judged by."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, get_args

from mixscope.stats.numbers import exact_text

Group = Literal["paper", "recalled", "derived", "control"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that runs can refute.

    Attributes:
        key: Unique, for example "fisher2024.7a".
        group: "paper", its own claim as read; "recalled", one remembered of the paper and not checked against it;
            "derived", derived or predicted here; "control", what must not be seen, or must be with nothing at work.
        statement: What is claimed, in one sentence.
        source: For example "Fisher et al. 2024, abstract", or "derived".
        measured: Which quantity, on what, averaged over what.
        low: The quantity must be at least this; None: no lower limit. One of the two is given.
        high: It must be at most this; None: no upper limit.
        unit: Of the quantity and both limits, for example "percentage points" or "nats"; "" where it has none.
        is_exact: Whether every single value must lie in the range (numerics, identities). Otherwise the claim is about
            the mean over seeds.
        is_share: Whether the values are 1 and 0, yes and no, so that the mean is a share of the runs: its interval is
            the exact binomial one.

    Raises:
        ValueError: If there is no key or no limit, a limit is not finite, low is above high, or the group is unknown.
    """

    key: str
    group: Group
    statement: str
    source: str
    measured: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    is_exact: bool = False
    is_share: bool = False

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("key must name the claim, got ''")
        if self.group not in get_args(Group):
            raise ValueError(f"group of {self.key} must be one of {', '.join(get_args(Group))}, got {self.group!r}")
        if self.low is None and self.high is None:
            raise ValueError(f"low or high of {self.key} must be given, or nothing could refute it")
        for name, limit in (("low", self.low), ("high", self.high)):
            if limit is not None and not math.isfinite(limit):
                raise ValueError(f"{name} of {self.key} must be finite, or None for no limit, got {limit}")
        if self.low is not None and self.high is not None:
            if self.low > self.high:
                raise ValueError(f"low of {self.key} must be at most high, got {self.low} and {self.high}")
            if self.low == self.high and not self.is_exact:
                raise ValueError(
                    f"low of {self.key} must be below high, got {self.low} twice: an interval fits in no point"
                )

    @property
    def limits(self) -> tuple[float, ...]:
        """The limits that are given, the lower first."""
        return tuple(limit for limit in (self.low, self.high) if limit is not None)

    @property
    def refuted_by(self) -> str:
        """What refutes it, in words: it follows from the limits.

        Example:
            >>> claim = Claim(key="a.1", group="paper", statement="s", source="s", measured="m", low=0.85, high=1.1)
            >>> claim.refuted_by
            'a 95% interval of the mean that lies below 0.85 or above 1.1'
        """
        if self.low == self.high:
            outside = f"other than {exact_text(self.limits[0])}"
        else:
            limits = {"below": self.low, "above": self.high}
            outside = " or ".join(f"{word} {exact_text(limit)}" for word, limit in limits.items() if limit is not None)
        outside += f" {self.unit}" if self.unit else ""
        if self.is_exact:
            return f"a single value {outside}"
        return f"a 95% interval of the {'share' if self.is_share else 'mean'} that lies {outside}"

    def margin(self, value: float) -> float:
        """Return the distance from `value` to the nearer limit: above 0 inside, below 0 outside, 0 on a limit."""
        below = math.inf if self.low is None else value - self.low
        above = math.inf if self.high is None else self.high - value
        return min(below, above)


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
    """Return a function of samples, run by run: one that any lacks or excludes is missing, or excluded with reasons."""
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
    """Return first - second, run by run, as `combined` does."""
    return combined(operator.sub, first, second)


def paired_ratio(first: Sample, second: Sample) -> Sample:
    """Return first / second, run by run, as `combined` does; NaN where the second is 0."""
    return combined(lambda a, b: a / b if b else math.nan, first, second, is_ratio=True)
