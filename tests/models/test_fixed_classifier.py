"""A classifier that is given: it is a simplex frame, it stays, and the rest learns."""

import pytest
import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.models.networks import build_model, fix_classifier


def fixed(seed=0):
    model = build_model("mlp-32x1", num_classes=5, image_shape=(1, 8, 8), seed=0)
    fix_classifier(model, "head", generator=named_generator(seed, "fixed classifier"))
    return model


def test_the_head_is_a_simplex_frame_of_unit_rows_without_bias_and_takes_no_gradient():
    model = fixed()
    gram = model.head.weight @ model.head.weight.T
    expected = (5 / 4) * (torch.eye(5) - 1 / 5)  # unit rows, cosines -1 / (K - 1)
    torch.testing.assert_close(gram, expected, rtol=0, atol=1e-6)  # float32
    assert not model.head.bias.any()
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == ["layer1.0.weight", "layer1.0.bias"]


def test_the_frame_is_decided_by_the_seed():
    assert torch.equal(fixed(1).head.weight, fixed(1).head.weight)
    assert not torch.equal(fixed(1).head.weight, fixed(2).head.weight)


def test_more_classes_than_features_allow_are_refused():
    model = build_model("mlp-3x1", num_classes=5, image_shape=(1, 8, 8), seed=0)
    message = "classifier fixed-etf needs at least as many features as classes less one, 4, got 3"
    with pytest.raises(UserError, match=message):
        fix_classifier(model, "head", generator=named_generator(0, "fixed classifier"))


def test_a_network_that_is_all_head_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5, bias=False))
    with pytest.raises(UserError, match="classifier fixed-etf must leave something to train"):
        fix_classifier(model, "1", generator=named_generator(0, "fixed classifier"))
