"""Claims of studies: each with the settings it is judged on and where its numbers come from, in one call."""

from dataclasses import dataclass, replace

from mixscope.records.claims import Claim, Group
from mixscope.studies.engine.evidence_sources import Evidence


@dataclass(frozen=True)
class Source:
    """Where a claim comes from.

    Attributes:
        group: Whether the paper was read, is recalled, or the claim derived or predicted here.
        words: The place, for example "Fisher et al. 2024, abstract; the limit is ours".
    """

    group: Group
    words: str

    def noting(self, words: str) -> "Source":
        """Return the source with a remark behind it."""
        return replace(self, words=self.words + words)


DERIVED = Source("derived", "derived here")
RECALLED = Source("recalled", "recalled, not checked against the paper; the limit is ours")


@dataclass(frozen=True)
class Test:
    """The number that a claim is judged by, and the limits it must keep."""

    evidence: Evidence
    low: float | None = None
    high: float | None = None
    unit: str = ""


def at_least(low: float, evidence: Evidence, *, unit: str = "") -> Test:
    """Return the test that a number is no smaller."""
    return Test(evidence, low=low, unit=unit)


def at_most(high: float, evidence: Evidence, *, unit: str = "") -> Test:
    """Return the test that a number is no larger."""
    return Test(evidence, high=high, unit=unit)


def between(low: float, high: float, evidence: Evidence, *, unit: str = "") -> Test:
    """Return the test that a number lies in a range, its ends included."""
    return Test(evidence, low, high, unit)


def exactly(value: float, evidence: Evidence, *, unit: str = "") -> Test:
    """Return the test that every value is this one."""
    return Test(evidence, value, value, unit)


@dataclass(frozen=True)
class Check:
    """A claim and where its numbers come from.

    Attributes:
        claim: Written before any run.
        settings: What it is checked on: each gets a verdict of its own; those that a scale does not run are left out.
        evidence: Returns the numbers of one setting.
    """

    claim: Claim
    settings: tuple[str, ...]
    evidence: Evidence


def claim_check(
    *,
    study: str,
    key: str,
    statement: str,
    measured: str,
    test: Test,
    settings: tuple[str, ...],
    source: Source = DERIVED,
    is_control: bool = False,
    is_exact: bool = False,
    is_share: bool = False,
) -> Check:
    """Return a claim of a study with its test: "7a" of "fisher2024" is "fisher2024.7a".

    A control is of what must not be seen, or must be with nothing at work. All else is as in `Claim` and `Check`.
    """
    claim = Claim(
        key=f"{study}.{key}",
        group="control" if is_control else source.group,
        statement=statement,
        source=source.words,
        measured=measured,
        low=test.low,
        high=test.high,
        unit=test.unit,
        is_exact=is_exact,
        is_share=is_share,
    )
    return Check(claim, settings, test.evidence)
