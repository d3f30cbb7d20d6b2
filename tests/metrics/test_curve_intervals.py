import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics.overtraining.curve_intervals import end_minus_best, turning_epoch
from mixscope.stats.curves import running_mean, turning_point


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def u_curves(num_seeds: int = 8, length: int = 60, *, turn: int = 20, noise: float = 0.05) -> Tensor:
    epochs = torch.arange(1, length + 1, dtype=torch.float64)
    shape = 1 + 0.2 * torch.log(epochs / turn) ** 2
    return shape + noise * torch.randn(num_seeds, length, dtype=torch.float64, generator=stream(1))


def naive_running_mean(values: list[float], window: int) -> list[float]:
    found = []
    for place in range(len(values)):
        near = [
            values[other] for other in range(place - window // 2, place + (window + 1) // 2) if 0 <= other < len(values)
        ]
        found.append(sum(near) / len(near))
    return found


def naive_resamples(curves: Tensor, *, window: int, num_resamples: int) -> tuple[list[float], list[int]]:
    """Draw the same seeds, then one list at a time."""
    rows = [naive_running_mean(row, window) for row in curves.tolist()]
    rises, turns = [], []
    for draw in torch.randint(len(rows), (num_resamples, len(rows)), generator=stream(2)).tolist():
        mean = [sum(rows[seed][t] for seed in draw) / len(draw) for t in range(len(rows[0]))]
        rises.append(mean[-1] - min(mean))
        turns.append(mean.index(min(mean)) + 1)
    return rises, turns


def test_two_curves_by_hand() -> None:
    curves = torch.tensor([[3.0, 1.0, 2.0], [5.0, 1.5, 4.0]])  # mean 4, 1.25, 3
    rise = end_minus_best(curves, generator=stream(), num_resamples=500)
    assert rise.value == 1.75
    assert (rise.low, rise.high) == (1.0, 2.5)  # a set of one seed twice has probability 1/4: beyond the 2.5% ends
    turn = turning_epoch(curves, generator=stream(), num_resamples=500)
    assert (turn.value, turn.low, turn.high) == (2, 2, 2)


@pytest.mark.parametrize("window", [1, 2, 5])
def test_intervals_agree_with_resampling_one_list_at_a_time(window: int) -> None:
    curves = u_curves()
    rises, turns = naive_resamples(curves, window=window, num_resamples=200)
    ends = torch.tensor([0.05, 0.95], dtype=torch.float64)
    low, high = torch.quantile(torch.tensor(turns, dtype=torch.float64), ends).tolist()
    turn = turning_epoch(curves, generator=stream(2), window=window, num_resamples=200, level=0.9)
    assert (turn.low, turn.high, turn.level, turn.num_samples) == (low, high, 0.9, 8)
    low, high = torch.quantile(torch.tensor(rises, dtype=torch.float64), ends).tolist()
    rise = end_minus_best(curves, generator=stream(2), window=window, num_resamples=200, level=0.9)
    # Reflected at the estimate: noise that pushes the resampled rises up has pushed the estimate up as well.
    assert rise.low == pytest.approx(2 * rise.value - high, rel=1e-9)
    assert rise.high == pytest.approx(2 * rise.value - low, rel=1e-9)


def test_the_estimate_is_the_one_definition_of_the_turn() -> None:
    curves = u_curves(6, 30, turn=12, noise=0.1)
    turn = turning_point(curves.tolist())
    assert turn.window == 3
    rise = end_minus_best(curves, generator=stream())
    assert rise.value == pytest.approx(sum(turn.rises) / 6, rel=1e-12)
    assert turning_epoch(curves, generator=stream()).value == turn.place + 1


def test_smoothing_finds_the_turn_that_noise_hides() -> None:
    curves = u_curves(6, 200, turn=60, noise=0.15)
    smooth = turning_epoch(curves, generator=stream(), window=31)
    assert 40 <= smooth.value <= 85
    rough = turning_epoch(curves, generator=stream(), window=1)
    assert smooth.high - smooth.low < rough.high - rough.low
    # The true rise is 0.2 ln(200 / 60)^2 = 0.29; the lowest of 200 noisy means is low by luck.
    assert end_minus_best(curves, generator=stream(), window=31).value == pytest.approx(0.29, abs=0.06)
    assert end_minus_best(u_curves(6, 200, turn=200, noise=0.15), generator=stream(), window=31).value < 0.05


EPOCHS = torch.arange(1, 101, dtype=torch.float64)
SHAPES = {
    "a slow turn": 1 + 0.2 * torch.log(EPOCHS / 35) ** 2,
    "a sharp turn": torch.where(EPOCHS < 30, 1.5 - EPOCHS / 60, 1.4 - 0.4 * torch.exp((30 - EPOCHS) / 5)),
    "no rise": torch.where(EPOCHS < 30, 1.5 - EPOCHS / 60, 1.0),
}


def coverage(shape: Tensor, truth: float, *, window: int, noise: float, num_trials: int = 150) -> float:
    held = 0
    for trial in range(num_trials):
        curves = shape + noise * torch.randn(10, len(shape), dtype=torch.float64, generator=stream(trial))
        rise = end_minus_best(curves, generator=stream(trial), window=window, num_resamples=300)
        held += rise.low <= truth <= rise.high
    return held / num_trials


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("window", [1, 5, 15])
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_interval_holds_the_rise_of_the_smoothed_curve(name: str, window: int, noise: float) -> None:
    smooth = running_mean(SHAPES[name].tolist(), window=window)
    share = coverage(SHAPES[name], smooth[-1] - min(smooth), window=window, noise=noise)
    assert share > 0.7  # stated from 0.78; three standard errors of 150 trials are 0.1


def test_smoothing_a_sharp_turn_loses_the_rise_of_the_curve_itself() -> None:
    shape = SHAPES["a sharp turn"]
    truth = float(shape[-1] - shape.min())
    assert coverage(shape, truth, window=5, noise=0.02) < 0.1  # as said: smoothing has filled the turn
    assert coverage(shape, truth, window=1, noise=0.02) > 0.7


@pytest.mark.parametrize(("window", "first"), [(1, 3), (2, 4), (3, 4), (7, 6)])
def test_the_first_of_equally_low_epochs_is_the_turn(window: int, first: int) -> None:
    # Test errors are shares of few images: plateaus are common, and rounding must not choose among their epochs.
    lowest = torch.tensor([46, 80, 77, 40, 42, 108, 93, 104], dtype=torch.float64)[:, None] / 1597
    curves = torch.cat([lowest + 0.5, lowest + 0.3, lowest.expand(-1, 12)], dim=1)
    for rows in (curves, curves[:1]):
        turn = turning_epoch(rows, generator=stream(), window=window, num_resamples=50)
        assert (turn.value, turn.low, turn.high) == (first, first, first)


def test_scale_shift_and_order_of_the_seeds_do_what_they_must() -> None:
    curves = u_curves()
    plain = end_minus_best(curves, generator=stream(3))
    moved = end_minus_best(100 * curves - 7, generator=stream(3))
    for found, expected in ((moved.value, plain.value), (moved.low, plain.low), (moved.high, plain.high)):
        assert found == pytest.approx(100 * expected, rel=1e-9)
    turn = turning_epoch(curves, generator=stream(3))
    assert turning_epoch(100 * curves - 7, generator=stream(3)) == turn
    assert turning_epoch(curves.flip(0), generator=stream(3)).value == turn.value


def test_epochs_may_be_far_apart() -> None:
    curves = torch.tensor([[3.0, 1.0, 2.0]])
    turn = turning_epoch(curves, generator=stream(), epochs=[1, 50, 1000])
    assert (turn.value, turn.low, turn.high) == (50, 50, 50)


def test_a_curve_that_falls_to_the_end_has_no_rise() -> None:
    falling = torch.linspace(1, 0, 10).expand(4, -1)
    assert end_minus_best(falling, generator=stream()).high == 0
    assert turning_epoch(falling, generator=stream()).low == 10


def test_the_same_generator_gives_the_same_interval_and_the_global_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, second = (end_minus_best(u_curves(), generator=stream(4)) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("function", [end_minus_best, turning_epoch])
@pytest.mark.parametrize(
    ("curves", "options", "message"),
    [
        (torch.zeros(3), {}, r"curves must have 2 dimensions, got shape \(3,\)"),
        (torch.zeros(2, 0), {}, r"curves must be float of shape \(S, T\), got torch.float32 of shape \(2, 0\)"),
        (torch.zeros(2, 3, dtype=torch.int64), {}, r"curves must be float of shape \(S, T\), got torch.int64"),
        (torch.full((2, 3), math.nan), {}, "curves must be finite, got 6 NaN"),
        (torch.zeros(2, 3), {"window": 0}, "window must be at least 1, got 0"),
        (torch.zeros(2, 3), {"num_resamples": 0}, "num_resamples must be at least 1, got 0"),
        (torch.zeros(2, 3), {"level": 1.0}, r"level must lie in \(0, 1\), got 1.0"),
    ],
)
def test_bad_input_is_named(function, curves: Tensor, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(curves, generator=stream(), **options)


def test_bad_epochs_are_named() -> None:
    for epochs in ([1, 2], [1, 3, 3]):
        with pytest.raises(ValueError, match="epochs must be 3 increasing numbers, one a column of curves, got"):
            turning_epoch(torch.zeros(2, 3), generator=stream(), epochs=epochs)
