import math
import random
import statistics

import pytest

from mixscope.stats.intervals import student_interval


def test_student_interval_by_hand_and_by_scipy():
    from scipy import stats

    # Mean 2, s = 1, t = 4.302653 for 2 degrees of freedom.
    assert student_interval([1.0, 2.0, 3.0])[1] - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    values = [random.Random(seed).gauss(0, 1) for seed in range(9)]
    expected = stats.t.interval(0.9, 8, loc=statistics.mean(values), scale=stats.sem(values))
    assert student_interval(values, level=0.9) == pytest.approx(expected, rel=1e-10)
    assert student_interval([1.0] * 4) == (1.0, 1.0)
    low, high = student_interval(values)
    moved = student_interval([3 * value + 5 for value in values])
    assert moved == pytest.approx((3 * low + 5, 3 * high + 5), rel=1e-10)


def test_student_intervals_cover_the_mean_of_few_normal_values():
    stream = random.Random(0)
    held = 0
    for _ in range(2000):
        low, high = student_interval([stream.gauss(0, 1) for _ in range(4)])
        held += low <= 0 <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.02)  # 2,000 trials scatter by 0.005


def test_a_level_outside_its_range_is_refused():
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"level must lie in \(0, 1\), got"):
            student_interval([1.0, 2.0], level=level)
