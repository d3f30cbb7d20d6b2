"""McNemar's test, Holm's correction and the intervals beside them, against scipy and by hand."""

import math

import pytest

from mixscope.stats.intervals import count_interval, difference_interval, student_quantile
from mixscope.stats.paired import holm, mcnemar_p_value


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 1), (3, 0), (5, 5), (4, 6), (2, 19), (130, 170)])
def test_the_p_value_is_that_of_the_binomial_test_of_the_discordant_pairs(only_first, only_second):
    from scipy.stats import binomtest

    num = only_first + only_second
    expected = binomtest(only_first, num, 0.5).pvalue if num else 1.0
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(expected, rel=1e-12)
    assert mcnemar_p_value(only_second, only_first) == mcnemar_p_value(only_first, only_second)


def test_a_p_value_by_hand():
    # 2 (1 + 6) / 2^6 of one pair against five.
    assert mcnemar_p_value(1, 5) == pytest.approx(14 / 64)
    with pytest.raises(ValueError, match="pairs must be at least 0, got -1 and 2"):
        mcnemar_p_value(-1, 2)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    # 0.01 * 4, then 0.02 * 3, then 0.02 * 2 held up to 0.06, then 0.9.
    assert holm([0.9, 0.02, 0.01, 0.02]) == pytest.approx((0.9, 0.06, 0.04, 0.06))
    assert holm([0.7, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\]"):
            holm([0.5, wrong])


def test_the_interval_of_a_difference_is_welch_s():
    from scipy.stats import ttest_ind

    first, second = [5.0, 5.5, 4.2, 6.1], [7.0, 9.5, 4.0]
    expected = ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert difference_interval(first, second) == pytest.approx((expected.low, expected.high), rel=1e-10)
    assert difference_interval([1.0, 1.0], [3.0, 3.0]) == (2.0, 2.0)
    with pytest.raises(ValueError, match="samples must have at least 2 values each, got 1 and 2"):
        difference_interval([1.0], [1.0, 2.0])


def test_the_interval_of_a_count_is_the_exact_one():
    from scipy.stats import binomtest

    for hits, num in ((0, 7), (7, 7), (3, 40)):
        expected = binomtest(hits, num).proportion_ci(0.95, method="exact")
        assert count_interval(hits, num) == pytest.approx((expected.low, expected.high), rel=1e-9)
    for hits, num in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=r"hits must lie in \[0, num\] and num be at least 1"):
            count_interval(hits, num)


def test_the_student_quantile_ends_in_the_normal_one():
    assert student_quantile(math.inf) == pytest.approx(1.959963985, rel=1e-6)
    assert student_quantile(1) == pytest.approx(12.7062, rel=1e-5)
    for wrong in (0, -1, math.nan):
        with pytest.raises(ValueError, match="degrees must be positive"):
            student_quantile(wrong)
