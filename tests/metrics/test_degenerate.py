"""Constant classifiers: spread by hand, the bound by enumeration, and who is named and who is not."""

import math

import pytest
import torch

from mixscope.metrics.overtraining.degenerate import chance_accuracy, is_constant_classifier, output_spread


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_spread_of_two_directions_by_hand():
    # unit vectors at 60 degrees: their mean has length cos 30, so the spread is sin 30
    logits = torch.tensor([[2.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    assert output_spread(logits) == pytest.approx(0.5, abs=1e-12)


def test_the_spread_ignores_sizes_rotation_and_order():
    logits, sizes = draw(40, 5), draw(40, 1, seed=1).exp()
    rotation = torch.linalg.qr(draw(5, 5, seed=2))[0]
    expected = output_spread(logits)
    for changed in (logits * sizes, logits @ rotation, logits.flip(0), logits * 1e150):
        assert output_spread(changed) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("row", [[0.0, 0.0], [1e8, 1e8 + 1], [1e-30, 0.0]])
def test_equal_outputs_have_no_spread(row):
    assert output_spread(torch.tensor([row] * 7, dtype=torch.float64)) < 1e-15


def naive_tail(count, num_examples, share):
    return sum(
        math.comb(num_examples, k) * share**k * (1 - share) ** (num_examples - k)
        for k in range(count, num_examples + 1)
    )


@pytest.mark.parametrize(("num_examples", "share"), [(30, 0.5), (100, 0.1), (600, 0.1)])
def test_guessing_passes_the_chance_accuracy_with_probability_one_in_a_thousand(num_examples, share):
    count = round(chance_accuracy(num_examples, largest_share=share) * num_examples)
    assert naive_tail(count + 1, num_examples, share) <= 1e-3 < naive_tail(count, num_examples, share)


@pytest.mark.parametrize(
    ("accuracy", "spread", "expected"),
    [
        (0.104, 3e-4, True),
        (0.104, 0.45, False),  # not trained
        (0.846, 1e-3, False),  # a common part hides the differences, and the answers are right
        (0.846, 0.9, False),
        (math.nan, 0.0, False),
        (0.1, math.nan, False),
    ],
)
def test_both_must_hold_for_a_network_to_be_called_constant(accuracy, spread, expected):
    assert is_constant_classifier(accuracy=accuracy, num_examples=600, largest_share=0.1, spread=spread) is expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: output_spread(torch.zeros(3)), r"logits must have 2 dimensions, got shape \(3,\)"),
        (lambda: output_spread(torch.zeros(0, 3)), "logits must hold at least one example, got 0"),
        (lambda: output_spread(torch.full((2, 2), math.nan)), "logits must be finite, got 4 NaN or infinite values"),
        (lambda: chance_accuracy(0, largest_share=0.1), "num_examples must be at least 1, got 0"),
        (lambda: chance_accuracy(9, largest_share=0.0), r"largest_share must be in \(0, 1\], got 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
