"""Verdicts: what the runs of one setting say of a claim. It is held, not held or undecided."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mixscope.base.errors import UserError
from mixscope.records.claims import Claim, Sample
from mixscope.records.json_numbers import to_json
from mixscope.stats.intervals import share_interval, student_interval
from mixscope.stats.numbers import exact_text, number_text

Verdict = Literal["held", "not held", "undecided"]

MIN_SEEDS = 3  # two values give an interval 6 times as wide as three (Student's t: 12.7 against 4.3 standard errors)


@dataclass(frozen=True)
class Judgement:
    """What the runs of one setting say of a claim.

    Attributes:
        claim: What was claimed.
        setting: What was run, for example "digits, MLP".
        verdict: "held", "not held" or "undecided".
        reason: Why it is undecided and which runs were left out, in one sentence; "" if there is nothing to say.
        num: Finite values that the numbers below are from.
        mean: Their mean; None without any.
        low: Lower end of the 95% interval of the mean: Student's, or of a share the exact binomial one. None below two
            values. Of an exact claim the lowest value; None without any.
        high: The upper end, or the highest value.
        worst: The value of an exact claim that lies furthest out, or nearest to a limit, and may be infinite; None of a
            statistical one.
        effect_size: Cohen's d. Paired: mean over standard deviation of the differences (d_z), or of the ratios less 1.
            Unpaired: distance of the mean from the nearer limit over the standard deviation, above 0 inside the range.
            None without spread, below two values, and of exact claims and shares. Source: Cohen 1988.
        sample: What it was judged by.
    """

    claim: Claim
    setting: str
    verdict: Verdict
    reason: str
    num: int
    mean: float | None
    low: float | None
    high: float | None
    worst: float | None
    effect_size: float | None
    sample: Sample


def judge(
    claim: Claim, sample: Sample, *, setting: str, min_seeds: int = MIN_SEEDS, is_statistics_judged: bool = True
) -> Judgement:
    """Hold a claim against what was measured.

    An exact claim is not held if any value lies outside the range, and held if all were found and lie inside. A
    statistical one is held if the 95% interval of the mean lies inside the range, not held if it lies wholly outside,
    and undecided if it crosses a limit. A missing run or a value that is not finite leaves undecided what no value
    refutes; an infinite value refutes an exact claim that it lies outside of. A run that was left out is named in the
    reason. The numbers of the finite values are there whatever the verdict.

    A sample has one value per independent run; a statistical verdict takes at least 2, or `min_seeds`. Where runs are
    too small for statistics to be judged (the smoke scale), statistical claims stay undecided.

    Raises:
        ValueError: If `min_seeds` is below 2, or one of several values of a share is neither 0 nor 1.
    """
    if min_seeds < 2:
        raise ValueError(f"min_seeds must be at least 2, one value has no interval, got {min_seeds}")
    values = [float(value) for value in sample.values.values() if math.isfinite(value)]
    mean = statistics.mean(values) if values else None
    low: float | None
    high: float | None
    verdict: Verdict
    if claim.is_exact:
        low, high = (min(values), max(values)) if values else (None, None)
        numbers = [float(value) for value in sample.values.values() if not math.isnan(value)]
        worst = min(numbers, key=claim.margin, default=None)
        is_refuted = any(claim.margin(value) < 0 for value in sample.values.values())  # NaN is on neither side
        doubts = _doubts(sample, min_values=1)
        verdict, reason = "not held" if is_refuted else "undecided" if doubts else "held", "; ".join(doubts)
    else:
        interval = share_interval if claim.is_share else student_interval
        try:
            low, high = interval(values) if len(values) > 1 else (None, None)
        except ValueError as error:  # a record changed by hand
            raise UserError(f"{claim.key} at {setting}: {error}; remove the record that says so") from error
        worst = None
        doubts = _doubts(sample, min_values=min_seeds if is_statistics_judged else 1)
        if not is_statistics_judged:
            doubts.insert(0, "the smoke scale does not judge statistics")
        verdict, reason = _judge_interval(claim, low, high, doubts)
    left_out = [f"{name} is left out ({why})" for name, why in sample.excluded.items()]
    return Judgement(
        claim=claim,
        setting=setting,
        verdict=verdict,
        reason="; ".join([*([reason] if reason else []), *left_out]),
        num=len(values),
        mean=mean,
        low=low,
        high=high,
        worst=worst,
        effect_size=None if claim.is_exact or claim.is_share else _effect_size(claim, sample, values),
        sample=sample,
    )


def judgement_to_dict(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON can hold it: NaN is None, infinities are "Infinity" and "-Infinity"."""
    sample = judgement.sample
    return to_json(
        {
            **{name: value for name, value in vars(judgement).items() if name not in ("claim", "sample")},
            "claim": asdict(judgement.claim) | {"refuted_by": judgement.claim.refuted_by},
            "sample": {**vars(sample), "values": dict(sample.values), "excluded": dict(sample.excluded)},
        }
    )


def _judge_interval(claim: Claim, low: float | None, high: float | None, doubts: Sequence[str]) -> tuple[Verdict, str]:
    if doubts or low is None or high is None:
        return "undecided", "; ".join(doubts)
    if low == high and claim.margin(low) == 0:  # two methods that gave the same numbers, for one
        return "undecided", f"every value lies exactly on the limit {exact_text(low)}"
    if claim.margin(low) >= 0 and claim.margin(high) >= 0:
        return "held", ""
    if (claim.low is not None and high < claim.low) or (claim.high is not None and low > claim.high):
        return "not held", ""
    crossed = [limit for limit in claim.limits if low <= limit <= high]
    ends = f"[{number_text(low, apart_from=crossed)}, {number_text(high, apart_from=crossed)}]"
    limits = " and ".join(exact_text(limit) for limit in crossed)
    return "undecided", f"the interval {ends} crosses the limit{'s' if len(crossed) > 1 else ''} {limits}"


def _doubts(sample: Sample, *, min_values: int) -> list[str]:
    """Say what keeps a sample from a verdict: values that are not there, or are no numbers."""
    odd = {name: value for name, value in sample.values.items() if not math.isfinite(value)}
    doubts = [f"{name} is {'not a number' if math.isnan(value) else 'infinite'}" for name, value in odd.items()]
    if sample.missing and not sample.values:
        return [f"none of its {len(sample.missing)} runs is done" if len(sample.missing) > 1 else "its run is missing"]
    if sample.missing:
        doubts.append(f"{', '.join(sample.missing)} {'is' if len(sample.missing) == 1 else 'are'} missing")
    num = len(sample.values) - len(odd)
    if not sample.values:
        doubts.insert(0, "there is no value")
    elif num < min_values and min_values > 1:
        doubts.insert(0, f"{num} value{'' if num == 1 else 's'} of the {min_values} that a verdict takes")
    return doubts


def _effect_size(claim: Claim, sample: Sample, values: Sequence[float]) -> float | None:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    if not spread:
        return None
    mean = statistics.mean(values)
    return (mean - (1 if sample.is_ratio else 0) if sample.is_paired else claim.margin(mean)) / spread
