"""Consistency of K unlabelled points: the ramp, the loss by hand and by a slow twin, its zeros, its errors."""

import pytest
import torch
from torch import nn

from mixscope.base.generators import named_generator
from mixscope.mixing.consistency import Consistency
from mixscope.mixing.mixture import Mixture, blend

SPACES = ("logits", "softmax", "late-softmax")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_weight_rises_linearly_from_0_to_its_peak_over_its_share_of_training():
    consistency = Consistency()
    weights = [consistency.weight_at(step, 1000) for step in (0, 100, 200, 399, 400, 401, 999)]
    assert weights == pytest.approx([0.0, 25.0, 50.0, 99.75, 100.0, 100.0, 100.0])
    assert consistency.weight_at(0, 1000) == 0
    assert consistency.weight_at(400, 1000) == 100


def test_without_a_ramp_the_weight_is_at_its_peak_from_the_first_step():
    assert Consistency(ramp_share=0.0, peak_weight=7.0).weight_at(0, 10) == 7.0


def naive_loss(outputs, members_logits, mixture, space):
    total = 0.0
    for row in range(len(outputs)):
        people, shares = mixture.members[row].tolist(), mixture.weights[row].tolist()
        for label in range(outputs.shape[1]):
            if space == "logits":
                ours = float(outputs[row, label])
                theirs = sum(share * float(members_logits[i, label]) for i, share in zip(people, shares, strict=True))
            else:
                ours = float(outputs[row].softmax(0)[label])
                if space == "softmax":
                    probabilities = [float(members_logits[i].softmax(0)[label]) for i in people]
                    theirs = sum(share * p for share, p in zip(shares, probabilities, strict=True))
                else:
                    mixed = sum(share * members_logits[i] for i, share in zip(people, shares, strict=True))
                    theirs = float(mixed.softmax(0)[label])
            total += (ours - theirs) ** 2
    return total / outputs.numel()


@pytest.mark.parametrize("num_points", [2, 3, 4, 5])
@pytest.mark.parametrize("space", SPACES)
def test_the_loss_is_the_mean_squared_difference_in_its_space(space, num_points):
    consistency = Consistency(num_points=num_points, space=space)
    outputs, members = torch.randn(7, 4, generator=seeded(1)).double(), torch.randn(7, 4, generator=seeded(2)).double()
    mixture = consistency.draw(7, generator=seeded(3))
    expected = naive_loss(outputs, members, mixture, space)
    assert float(consistency.loss(outputs, members, mixture)) == pytest.approx(expected, rel=1e-5)  # float32


def test_the_loss_on_logits_by_hand():
    mixture = Mixture(members=torch.tensor([[0, 1], [1, 0]]), weights=torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    outputs = torch.tensor([[1.0, 0.0], [2.0, 2.0]])
    members = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    # blends of the members are (1, 3) and (2, 2): squared differences 0, 9, 0, 0
    assert float(Consistency().loss(outputs, members, mixture)) == 2.25


@pytest.mark.parametrize("num_points", [2, 3, 4, 5])
def test_draws_have_one_row_of_k_shares_for_each_blend(num_points):
    mixture = Consistency(num_points=num_points).draw(6, generator=named_generator(0, "consistency", 1))
    again = Consistency(num_points=num_points).draw(6, generator=named_generator(0, "consistency", 1))
    assert mixture.weights.shape == (6, num_points)
    assert len(mixture.weights[:, 0].unique()) == 6
    assert torch.equal(mixture.weights, again.weights)
    assert torch.equal(mixture.members, again.members)


@pytest.mark.parametrize("num_points", [2, 5])
def test_an_affine_classifier_has_no_loss_on_logits_and_some_on_probabilities(num_points):
    images = torch.randn(50, 12, generator=seeded(0))
    classifier = nn.Linear(12, 4)
    with torch.no_grad():
        classifier.weight.copy_(torch.randn(4, 12, generator=seeded(1)))
        values = {}
        for space in SPACES:
            consistency = Consistency(num_points=num_points, space=space)
            mixture = consistency.draw(50, generator=seeded(2))
            outputs, members = classifier(blend(images, mixture)), classifier(images)
            values[space] = float(consistency.loss(outputs, members, mixture))
    assert values["logits"] < 1e-11  # float32 of values near 4: seen 1e-13
    assert values["late-softmax"] < 1e-12
    assert values["softmax"] > 1e-3


@pytest.mark.parametrize("space", SPACES)
def test_a_constant_has_no_loss_in_any_space(space):
    consistency, constant = Consistency(num_points=3, space=space), torch.tensor([2.0, -1.0, 0.5]).expand(9, -1)
    mixture = consistency.draw(9, generator=seeded())
    assert float(consistency.loss(constant, constant, mixture)) < 1e-12  # float32


def test_gradients_reach_both_terms():
    outputs, members = torch.randn(5, 3, generator=seeded(0)), torch.randn(5, 3, generator=seeded(1))
    outputs.requires_grad_(), members.requires_grad_()
    consistency = Consistency(num_points=3)
    consistency.loss(outputs, members, consistency.draw(5, generator=seeded(2))).backward()
    assert outputs.grad.abs().sum() > 0
    assert members.grad.abs().sum() > 0
    torch.testing.assert_close(outputs.grad.sum(dim=0), -members.grad.sum(dim=0))  # a common shift costs nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 1}, "num_points must be at least 2, got 1"),
        ({"alpha": 0.0}, "alpha must be positive and finite, got 0.0"),
        ({"teacher": "mean"}, "teacher must be one of same, same-detached, ema, got 'mean'"),
        ({"space": "features"}, "space must be one of logits, softmax, late-softmax, got 'features'"),
        ({"peak_weight": -1.0}, "peak_weight must be at least 0 and finite, got -1.0"),
        ({"ramp_share": 1.5}, r"ramp_share must be in \[0, 1\], got 1.5"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Consistency(**options)


def test_outputs_of_other_shapes_are_refused():
    consistency = Consistency()
    mixture = consistency.draw(4, generator=seeded())
    message = r"outputs and member_outputs must have the same shape, got \(4, 3\) and \(5, 3\)"
    with pytest.raises(ValueError, match=message):
        consistency.loss(torch.zeros(4, 3), torch.zeros(5, 3), mixture)
