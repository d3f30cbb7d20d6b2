"""What blending with chosen weights promises beyond the contract of all schemes."""

import pytest
import torch

from mixscope.base.generators import named_generator
from mixscope.mixing.mixup import FixedWeights, Mixup

GRID = ((0.5, 0.25, 0.25), (1.0, 0.0, 0.0), (0.1, 0.2, 0.7))


def draw(scheme, size):
    inputs, labels = torch.zeros(size, 3), torch.zeros(size, dtype=torch.int64)
    return scheme.draw(inputs, labels, generator=named_generator(0, "fixed"))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_rows_take_the_weights_of_the_grid_in_turn(size):
    weights = draw(FixedWeights(weights=GRID), size).weights
    expected = torch.tensor([GRID[row % 3] for row in range(size)])
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-7)


def test_partners_are_those_of_mixup():
    fixed, mixup = (draw(scheme, 9) for scheme in (FixedWeights(weights=GRID), Mixup(num_points=3)))
    assert torch.equal(fixed.members, mixup.members)


def test_thirds_written_with_seven_digits_are_shares():
    weights = draw(FixedWeights(weights=((0.3333333, 0.3333333, 0.3333333),)), 2).weights
    torch.testing.assert_close(weights, torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((), "weights must be a tuple of tuples, one for each blend of the grid, got ()"),
        ((0.5, 0.5), "weights must be a sequence of sequences of numbers, got (0.5, 0.5)"),
        (((),), "weights must be a tuple of tuples"),
        (((0.5, 0.5), (1.0,)), "weights must have rows of one length, got 1 and 2"),
        (((0.5, 0.6),), r"weights must have rows that are at least 0 and sum to 1, got (0.5, 0.6)"),
        (((1.5, -0.5),), "weights must have rows that are at least 0 and sum to 1"),
        (((float("nan"), 0.5),), "weights must have rows that are at least 0 and sum to 1"),
    ],
)
def test_grids_that_are_no_shares_are_refused(weights, message):
    with pytest.raises(ValueError, match="weights must") as raised:
        FixedWeights(weights=weights)
    assert message in str(raised.value)
