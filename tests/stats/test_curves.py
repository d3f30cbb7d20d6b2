import math

import pytest

from mixscope.stats.curves import default_window, running_mean, turning_point

CURVES = [[9.0, 5.0, 2.0, 1.0, 3.0, 4.0, 5.0], [9.0, 7.0, 4.0, 5.0, 6.0, 6.0, 9.0]]


def naive_running_mean(values, window):
    found = []
    for place in range(len(values)):
        near = [
            values[other] for other in range(place - window // 2, place + (window + 1) // 2) if 0 <= other < len(values)
        ]
        found.append(sum(near) / len(near))
    return found


@pytest.mark.parametrize("window", [1, 2, 3, 4, 7, 1000])
def test_a_running_mean_agrees_with_its_definition(window):
    for curve in CURVES:
        assert running_mean(curve, window=window) == pytest.approx(naive_running_mean(curve, window), rel=1e-14)


def test_curves_turn_together_where_their_smoothed_mean_is_lowest():
    turn = turning_point(CURVES)
    # smoothed: 7, 16/3, 8/3, 2, 8/3, 4, 9/2 and 8, 20/3, 16/3, 5, 17/3, 7, 15/2
    assert (turn.place, turn.window) == (3, 3)
    assert turn.lows == pytest.approx((2, 5))
    assert turn.ends == pytest.approx((4.5, 7.5))
    assert turn.rises == pytest.approx((2.5, 2.5))
    rough = turning_point(CURVES, window=1)
    assert (rough.place, rough.rises) == (2, (3, 5))  # of equal means, 3 and 3, the first


def test_one_curve_rises_above_its_own_lowest():
    for curve in CURVES:
        smooth = naive_running_mean(curve, 3)
        assert turning_point([curve]).rises == pytest.approx((smooth[-1] - min(smooth),))


def test_short_curves_are_taken_as_they_are():
    assert [default_window(count) for count in (1, 5, 6, 200)] == [1, 1, 3, 3]
    assert turning_point([[3.0, 1.0, 2.0]]).rises == (1.0,)
    assert turning_point([[3.0]]).rises == (0.0,)


def test_rounding_does_not_choose_among_equal_looks():
    plateau = [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2]
    assert turning_point([[0.5, *plateau]]).place == 1
    assert turning_point([[0.5, *plateau[::-1]]]).place == 1


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ([], "curves must be of one length and hold a value, got lengths"),
        ([[]], "curves must be of one length and hold a value"),
        ([[1.0], [1.0, 2.0]], r"got lengths \[1, 2\]"),
        ([[1.0, math.nan]], "curves must be finite"),
    ],
)
def test_curves_that_are_none_are_refused(curves, message):
    with pytest.raises(ValueError, match=message):
        turning_point(curves)
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        running_mean([1.0], window=0)
