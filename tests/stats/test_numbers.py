"""Numbers in words: short, and never on the wrong side of a limit."""

import math

import pytest

from mixscope.stats.numbers import exact_text, interval_text, number_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-0.12345, "−0.123"),
        (1234.0, "1,230"),
        (999999.0, "10⁶"),
        (-1e-10, "−10⁻¹⁰"),
        (0.000123, "0.000123"),
        (1.5e300, "1.5·10³⁰⁰"),
        (math.nan, "not a number"),
        (-math.inf, "−infinite"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.39999, "1.39999"), (1.4, "1.4"), (math.nextafter(1.4, 2), "1.4000000000000001")]
)
def test_a_number_beside_a_limit_does_not_read_as_the_limit(value, text):
    assert number_text(value, apart_from=[1.4]) == text


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [(1.449, 1.4495, "1.449"), (1.451, 1.4508, "1.451"), (-1.449, -1.4495, "−1.449"), (1.4495, 1.4495, "1.4495")],
)
def test_a_number_is_not_rounded_to_the_other_side_of_a_limit(value, limit, text):
    assert number_text(value, apart_from=[limit]) == text
    assert interval_text(2.0, value, 3.0, apart_from=[limit]) == f"2 [{text}, 3]"


def test_a_limit_is_written_as_it_was_given():
    assert [exact_text(value) for value in (0.05, 12345.0, 1e-8, -2.0)] == ["0.05", "12,345", "10⁻⁸", "−2"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.9618, 0.9431, 0.9799), "0.962 [0.943, 0.980]"),
        ((10.98, 9.034, 12.93), "11.0 [9.0, 12.9]"),
        ((-0.5, -1.25, 0.25), "−0.50 [−1.25, 0.25]"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        ((0.2, 0.0001, 0.4), "0.2 [0.0001, 0.4]"),  # never 0.000
        ((12345.0, 11111.0, 13579.0), "12,300 [11,100, 13,600]"),
        ((2e-9, 1e-9, 3e-9), "2·10⁻⁹ [10⁻⁹, 3·10⁻⁹]"),
    ],
)
def test_an_interval_shares_its_decimals(values, text):
    assert interval_text(*values) == text


def test_an_interval_that_ends_beside_a_limit_does_not_end_on_it():
    assert interval_text(1.5, 1.3996, 1.6, apart_from=[1.4]) == "1.5 [1.3996, 1.6]"
    assert interval_text(1.5, 1.4, 1.6, apart_from=[1.4]) == "1.50 [1.40, 1.60]"
