"""Options of training: what is refused, and what the names stand for."""

import math

import pytest
import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.training.objective import build_optimizer, build_schedule, smooth_targets, soft_squared_error
from mixscope.training.recipe import Recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must lie between 1 and 1000000, got 0"),
        ({"batch_size": 0}, "batch-size must lie between 1 and"),
        ({"learning_rate": 0.0}, "learning-rate must lie between 1e-12 and 1000000000, got 0"),
        ({"learning_rate": math.nan}, "learning-rate must lie between 1e-12 and 1000000000, got nan"),
        ({"momentum": 1.0}, r"momentum must lie between 0 and 1 \(1 excluded\), got 1"),
        ({"weight_decay": -1.0}, "weight-decay must lie between 0 and"),
        ({"milestones": (0.5, 1.5)}, r"milestones must lie between 0 and 1 \(0 and 1 excluded\), got 1.5"),
        ({"gamma": 0.0}, r"gamma must lie between 0 and 1 \(0 excluded\), got 0"),
        ({"label_smoothing": 1.0}, r"label-smoothing must lie between 0 and 1"),
        ({"mixing_off": -1}, "mixing-off must lie between 0 and 1000000, got -1"),
        ({"max_gradient_norm": 0.0}, "max-gradient-norm must lie between 1e-12 and"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message):
        Recipe(**options)


def learning_rates(recipe, steps_per_epoch):
    optimizer = build_optimizer(nn.Linear(1, 1), recipe)
    schedule = build_schedule(optimizer, recipe, steps_per_epoch=steps_per_epoch)
    rates = []
    for _ in range(recipe.epochs * steps_per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_constant_keeps_the_rate():
    assert learning_rates(Recipe(epochs=2, schedule="constant", learning_rate=0.3), 3) == [0.3] * 6


def test_cosine_falls_from_the_peak_along_half_a_period():
    rates = learning_rates(Recipe(epochs=5, schedule="cosine", learning_rate=0.2), 2)
    expected = [0.1 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_multi_step_drops_at_its_milestones():
    recipe = Recipe(epochs=10, schedule="multi-step", learning_rate=1.0, milestones=(0.5, 0.8), gamma=0.1)
    rates = learning_rates(recipe, 1)
    assert rates == pytest.approx([1.0] * 5 + [0.1] * 3 + [0.01] * 2)


def test_one_cycle_rises_to_the_peak_and_leaves_momentum_alone():
    recipe = Recipe(epochs=10, schedule="one-cycle", learning_rate=0.5, momentum=0.7)
    rates = learning_rates(recipe, 10)
    assert max(rates) == pytest.approx(0.5, rel=1e-3)  # the peak lies between two steps
    assert rates[0] < 0.03
    assert rates[-1] < 1e-3
    optimizer = build_optimizer(nn.Linear(1, 1), recipe)
    build_schedule(optimizer, recipe, steps_per_epoch=10)
    assert optimizer.param_groups[0]["momentum"] == 0.7


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.1), ("adam", 0.001), ("adamw", 0.001)])
def test_each_optimizer_has_its_usual_rate(name, rate):
    optimizer = build_optimizer(nn.Linear(2, 2), Recipe(optimizer=name))
    assert type(optimizer).__name__.lower() == name
    assert optimizer.param_groups[0]["lr"] == rate


def test_frozen_parameters_are_not_optimised():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    assert [len(group["params"]) for group in build_optimizer(net, Recipe()).param_groups] == [1]


def test_smoothing_spreads_the_share_evenly():
    targets = torch.eye(4)[[1]]
    torch.testing.assert_close(smooth_targets(targets, 0.2), torch.tensor([[0.05, 0.85, 0.05, 0.05]]))
    assert smooth_targets(targets, 0.0) is targets


def test_squared_error_as_worked_by_hand():
    loss = soft_squared_error(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
    assert float(loss) == pytest.approx((0.5 * 2 + 0.5 * 0.5) / 2)
    with pytest.raises(ValueError, match=r"targets must have shape \(2, 2\), got \(2, 3\)"):
        soft_squared_error(torch.zeros(2, 2), torch.zeros(2, 3))
