"""Claims against synthetic runs: what is held, what is not, and what stays undecided and why."""

import json
import math
import random
import re
import statistics
from dataclasses import replace

import pytest
from scipy import stats

from mixscope.records.claims import Claim, Sample, paired, paired_ratio
from mixscope.records.judging import judge, judgement_to_dict
from mixscope.stats.intervals import share_interval, student_interval

ABOVE = Claim(key="demo.1", group="paper", statement="It grows.", source="demo", measured="growth", low=1.0)
WITHIN = replace(ABOVE, key="demo.2", high=2.0)
EXACT = replace(ABOVE, key="demo.3", group="derived", low=None, high=1e-6, is_exact=True)


def seeds(*values):
    return Sample({f"seed {place}": value for place, value in enumerate(values)})


def judged(claim, sample, **options):
    return judge(claim, sample, setting="digits", **options)


@pytest.mark.parametrize(
    ("claim", "values", "verdict"),
    [
        (ABOVE, (1.5, 1.6, 1.7), "held"),
        (ABOVE, (0.5, 0.6, 0.7), "not held"),
        (ABOVE, (0.5, 1.0, 1.7), "undecided"),
        (WITHIN, (1.5, 1.6, 1.7), "held"),
        (WITHIN, (2.5, 2.6, 2.7), "not held"),
        (WITHIN, (0.5, 0.6, 0.7), "not held"),
        (WITHIN, (1.8, 1.9, 2.1), "undecided"),
        (WITHIN, (0.0, 1.5, 3.0), "undecided"),
        (replace(ABOVE, low=None, high=-1.0), (-1.5, -1.6, -1.7), "held"),
    ],
)
def test_the_interval_of_the_mean_decides(claim, values, verdict):
    judgement = judged(claim, seeds(*values))
    assert judgement.verdict == verdict
    assert (judgement.reason == "") == (verdict != "undecided")
    assert judgement.mean == statistics.mean(values)
    assert (judgement.num, judgement.worst, judgement.setting) == (3, None, "digits")


def test_an_undecided_interval_is_told_with_the_limits_it_crosses():
    assert judged(ABOVE, seeds(0.9, 1.0, 1.1)).reason == "the interval [0.752, 1.25] crosses the limit 1"
    assert judged(WITHIN, seeds(0.0, 1.5, 3.0)).reason == "the interval [−2.23, 5.23] crosses the limits 1 and 2"
    almost = judged(ABOVE, seeds(0.99996, 1.00004, 1.00012))
    assert almost.verdict == "undecided"
    assert almost.reason == "the interval [0.9998, 1.0002] crosses the limit 1"  # not [1, 1]


def test_the_interval_is_that_of_another_library():
    values = [0.3, 1.9, 0.7, -2.0, 5.5]
    low, high = stats.t.interval(0.95, df=4, loc=statistics.mean(values), scale=stats.sem(values))
    assert student_interval(values) == pytest.approx((low, high), rel=1e-12)
    assert student_interval([0.0, 1.0]) == pytest.approx((0.5 - 12.7062047 / 2, 0.5 + 12.7062047 / 2), rel=1e-8)


def test_an_interval_of_one_value_is_refused():
    with pytest.raises(ValueError, match="values must be at least 2 for an interval, got 1"):
        student_interval([1.0])


@pytest.mark.parametrize("value", [0.11, 1.0])
def test_without_spread_the_interval_is_the_value_and_there_is_no_effect_size(value):
    judgement = judged(replace(ABOVE, low=0.1), seeds(value, value, value))
    assert (judgement.low, judgement.high, judgement.verdict) == (value, value, "held")
    assert judgement.effect_size is None


def test_runs_that_all_lie_on_the_limit_decide_nothing():
    # Two methods that gave the same numbers, because what sets them apart never happened.
    judgement = judged(replace(ABOVE, low=0.0), replace(seeds(0.0, 0.0, 0.0), is_paired=True))
    assert (judgement.verdict, judgement.reason) == ("undecided", "every value lies exactly on the limit 0")
    assert judged(EXACT, seeds(0.0, 0.0, 0.0)).verdict == "held"


@pytest.mark.parametrize(
    ("hits", "num", "verdict"), [(3, 3, "undecided"), (20, 20, "undecided"), (40, 40, "held"), (10, 40, "not held")]
)
def test_a_share_has_the_exact_binomial_interval(hits, num, verdict):
    from scipy.stats import binomtest

    values = seeds(*([1.0] * hits + [0.0] * (num - hits)))
    judgement = judged(replace(ABOVE, low=0.9, is_share=True), values)
    expected = binomtest(hits, num).proportion_ci(method="exact")
    assert (judgement.low, judgement.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert judgement.verdict == verdict
    assert judgement.effect_size is None  # a spread of zeros and ones says nothing that the share does not
    with pytest.raises(ValueError, match=r"values of a share must be 0 or 1, and at least one, got \[0.5\]"):
        share_interval([0.5])
    with pytest.raises(ValueError, match=r"values of a share must be 0 or 1, and at least one, got \[0.5\]"):
        judged(replace(ABOVE, is_share=True), seeds(0.5, 1.0))


def test_too_few_seeds_leave_a_claim_undecided_with_its_numbers():
    judgement = judged(ABOVE, seeds(5.0, 5.1))
    assert (judgement.verdict, judgement.reason) == ("undecided", "2 values of the 3 that a verdict takes")
    assert judgement.mean == pytest.approx(5.05)
    assert judgement.low < 5.0 < 5.1 < judgement.high
    assert judged(ABOVE, seeds(5.0, 5.1), min_seeds=2).verdict == "held"
    one = judged(ABOVE, seeds(5.0))
    assert (one.mean, one.low, one.high, one.effect_size) == (5.0, None, None, None)


@pytest.mark.parametrize(
    ("value", "words"), [(math.nan, "not a number"), (math.inf, "infinite"), (-math.inf, "infinite")]
)
def test_a_value_that_is_not_finite_leaves_a_claim_undecided_and_is_named(value, words):
    judgement = judged(ABOVE, seeds(5.0, 5.1, 5.2, value))
    assert (judgement.verdict, judgement.reason) == ("undecided", f"seed 3 is {words}")
    assert (judgement.num, judgement.mean) == (3, pytest.approx(5.1))


def test_missing_runs_leave_a_claim_undecided_and_are_named():
    sample = replace(seeds(5.0, 5.1, 5.2), missing=("seed 3", "seed 4"))
    assert judged(ABOVE, sample).reason == "seed 3, seed 4 are missing"
    assert judged(ABOVE, sample).verdict == judged(EXACT, Sample({"a": 0.0}, missing=("b",))).verdict == "undecided"


def test_where_nothing_was_run_it_says_so_without_a_list_of_names():
    assert judged(ABOVE, Sample({}, missing=("seed 0", "seed 1"))).reason == "none of its 2 runs is done"
    assert judged(EXACT, Sample({}, missing=("seed 0",))).reason == "its run is missing"


def test_an_excluded_run_is_named_whatever_the_verdict_and_enters_no_number():
    excluded = {"seed 3": "collapsed: accuracy 0.10"}
    held = judged(ABOVE, replace(seeds(5.0, 5.1, 5.2), excluded=excluded))
    assert (held.verdict, held.reason) == ("held", "seed 3 is left out (collapsed: accuracy 0.10)")
    assert (held.num, held.mean) == (3, pytest.approx(5.1))
    few = judged(ABOVE, replace(seeds(5.0, 5.1), excluded=excluded))
    assert few.verdict == "undecided"
    assert few.reason == "2 values of the 3 that a verdict takes; seed 3 is left out (collapsed: accuracy 0.10)"


def test_no_value_at_all_is_undecided():
    for claim in (ABOVE, EXACT):
        judgement = judged(claim, Sample({}))
        assert (judgement.verdict, judgement.reason) == ("undecided", "there is no value")
        assert (judgement.num, judgement.mean, judgement.low, judgement.worst) == (0, None, None, None)


def test_the_smoke_scale_judges_exact_claims_only():
    judgement = judged(ABOVE, seeds(5.0), is_statistics_judged=False)
    assert (judgement.verdict, judgement.reason) == ("undecided", "the smoke scale does not judge statistics")
    assert judgement.mean == 5.0
    assert judged(ABOVE, seeds(0.1, 0.2, 0.3), is_statistics_judged=False).verdict == "undecided"
    assert judged(EXACT, seeds(0.0), is_statistics_judged=False).verdict == "held"


@pytest.mark.parametrize(
    ("values", "verdict", "worst"),
    [
        ((0.0, 1e-6, 5e-7), "held", 1e-6),
        ((0.0, 2e-6, 5e-7), "not held", 2e-6),
        ((0.0, math.nan), "undecided", 0.0),
        ((2e-6, math.nan), "not held", 2e-6),  # one value outside refutes it, whatever the others are
        ((0.0, math.inf), "not held", math.inf),
        ((0.0, -math.inf), "undecided", 0.0),
    ],
)
def test_an_exact_claim_is_about_every_value(values, verdict, worst):
    judgement = judged(EXACT, seeds(*values))
    assert (judgement.verdict, judgement.worst) == (verdict, worst)
    assert judgement.effect_size is None
    assert (judgement.reason == "") == all(map(math.isfinite, values))


def test_an_infinite_value_alone_refutes_an_exact_claim_and_is_written_by_name():
    judgement = judged(EXACT, seeds(math.inf))
    assert (judgement.verdict, judgement.worst, judgement.num) == ("not held", math.inf, 0)
    written = json.loads(json.dumps(judgement_to_dict(judgement), allow_nan=False))
    assert (written["worst"], written["sample"]["values"]) == ("Infinity", {"seed 0": "Infinity"})


def test_the_worst_value_of_a_range_lies_nearest_its_nearer_limit():
    claim = replace(EXACT, low=0.0, high=1.0)
    judgement = judged(claim, seeds(0.3, 0.5, 0.8))
    assert (judgement.worst, judgement.low, judgement.high) == (0.8, 0.3, 0.8)
    assert judged(claim, seeds(0.3, -0.5, 1.2)).worst == -0.5


def test_effect_sizes_are_in_standard_deviations():
    # mean 2, standard deviation 1: 1 above the limit 1; two methods differ by 2; a ratio by 2 - 1
    values = (1.0, 2.0, 3.0)
    assert judged(ABOVE, seeds(*values)).effect_size == pytest.approx(1.0)
    assert judged(replace(ABOVE, low=5.0), seeds(*values)).effect_size == pytest.approx(-3.0)
    assert judged(ABOVE, replace(seeds(*values), is_paired=True)).effect_size == pytest.approx(2.0)
    assert judged(ABOVE, replace(seeds(*values), is_paired=True, is_ratio=True)).effect_size == pytest.approx(1.0)


def test_pairs_are_taken_by_name_and_not_by_order():
    first = Sample({"seed 0": 3.0, "seed 1": 5.0, "seed 2": 7.0})
    second = Sample({"seed 1": 2.0, "seed 0": 4.0, "seed 3": 1.0})
    difference = paired(first, second)
    assert difference == Sample({"seed 0": -1.0, "seed 1": 3.0}, is_paired=True, missing=("seed 2", "seed 3"))
    assert paired_ratio(first, second).values == {"seed 0": 0.75, "seed 1": 2.5}
    assert paired_ratio(first, second).is_ratio


def test_pairs_keep_what_is_missing_and_excluded_in_either():
    first = Sample({"a": 1.0, "b": 1.0, "c": 1.0}, missing=("d",), excluded={"e": "collapsed", "f": "collapsed"})
    second = Sample({"a": 1.0, "d": 1.0, "e": 1.0}, missing=("c",), excluded={"b": "NaN loss", "f": "NaN loss"})
    difference = paired(first, second)
    assert difference.values == {"a": 0.0}
    assert difference.missing == ("c", "d")
    assert difference.excluded == {"e": "collapsed", "f": "collapsed; NaN loss", "b": "NaN loss"}


def test_a_ratio_with_0_below_is_no_number():
    ratio = paired_ratio(seeds(1.0, 1.0), seeds(0.0, 2.0))
    assert math.isnan(ratio.values["seed 0"])
    assert judged(ABOVE, ratio, min_seeds=2).reason.endswith("seed 0 is not a number")


def test_a_claim_true_at_its_limit_is_rarely_held_and_rarely_refuted():
    generator = random.Random(0)
    verdicts = [judged(ABOVE, seeds(*(generator.gauss(1.0, 0.3) for _ in range(5)))).verdict for _ in range(4000)]
    for verdict in ("held", "not held"):
        # 2.5 % expected, binomial standard deviation 0.25 %: four of them either way
        assert 0.015 < verdicts.count(verdict) / 4000 < 0.035


def test_a_judgement_is_written_as_json_with_null_for_what_is_no_number():
    sample = Sample({"seed 0": 1.5, "seed 1": math.nan}, missing=("seed 2",), excluded={"seed 3": "collapsed"})
    judgement = judged(ABOVE, sample)
    written = json.loads(json.dumps(judgement_to_dict(judgement), allow_nan=False))
    assert written["sample"]["values"] == {"seed 0": 1.5, "seed 1": None}
    assert (written["sample"]["missing"], written["sample"]["excluded"]) == (["seed 2"], {"seed 3": "collapsed"})
    assert written["claim"] == vars(ABOVE) | {"refuted_by": ABOVE.refuted_by}
    assert (written["verdict"], written["num"], written["mean"]) == ("undecided", 1, 1.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": None}, "low or high of demo.1 must be given, or nothing could refute it"),
        ({"low": 2.0, "high": 1.0}, "low of demo.1 must be at most high, got 2.0 and 1.0"),
        ({"low": 1.0, "high": 1.0}, "low of demo.1 must be below high, got 1.0 twice: an interval fits in no point"),
        ({"low": math.nan}, "low of demo.1 must be finite, or None for no limit, got nan"),
        ({"high": math.inf}, "high of demo.1 must be finite, or None for no limit, got inf"),
        ({"group": "ours"}, "group of demo.1 must be one of paper, recalled, derived, control, got 'ours'"),
        ({"key": ""}, "key must name the claim, got ''"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(ABOVE, **changes)


def test_what_refutes_a_claim_follows_from_its_limits():
    assert ABOVE.refuted_by == "a 95% interval of the mean that lies below 1"
    assert replace(WITHIN, unit="nats").refuted_by == "a 95% interval of the mean that lies below 1 or above 2 nats"
    assert replace(ABOVE, low=0.9, is_share=True).refuted_by == "a 95% interval of the share that lies below 0.9"
    assert EXACT.refuted_by == "a single value above 10⁻⁶"
    assert replace(EXACT, low=0.0, high=0.0).refuted_by == "a single value other than 0"


def test_an_exact_claim_may_name_one_value():
    claim = replace(EXACT, low=0.0, high=0.0)
    assert judged(claim, seeds(0.0, -0.0)).verdict == "held"
    assert judged(claim, seeds(0.0, 5e-324)).verdict == "not held"


def test_a_sample_with_a_value_that_is_no_number_or_a_name_in_two_places_is_refused():
    with pytest.raises(
        ValueError, match=re.escape("value of 'a' must be a number, NaN where the run has none, got None")
    ):
        Sample({"a": None})
    with pytest.raises(ValueError, match=re.escape("a run must be measured, missing or excluded, only one of them")):
        Sample({"a": 1.0}, missing=("a",))


def test_min_seeds_must_be_at_least_2():
    with pytest.raises(ValueError, match="min_seeds must be at least 2, one value has no interval, got 1"):
        judged(ABOVE, seeds(1.0), min_seeds=1)
