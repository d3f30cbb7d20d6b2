"""Manifold mixup where activation checkpointing computes layers again in the backward pass."""

import pytest
import torch
from helpers.small_training import make_training
from torch import nn
from torch.utils.checkpoint import checkpoint

from mixscope.mixing.manifold import ManifoldMixup, blending_at
from mixscope.mixing.mixture import Mixture

INPUTS = torch.linspace(-1, 1, 20).view(5, 4).sin()
PARTNERS = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])
WAYS = [True, False]  # use_reentrant


class Block(nn.Module):
    """Two layers; what is inside is computed again where `use_reentrant` is not None."""

    def __init__(self, use_reentrant):
        super().__init__()
        self.first, self.second, self.use_reentrant = nn.Linear(6, 6), nn.Linear(6, 6), use_reentrant

    def compute(self, inputs):
        return self.second(self.first(inputs).tanh()).tanh()

    def forward(self, inputs):
        if self.use_reentrant is None:
            return self.compute(inputs)
        return checkpoint(self.compute, inputs, use_reentrant=self.use_reentrant)


class Whole(nn.Module):
    """A module that is checkpointed from outside, as `gradient_checkpointing_enable` of transformers does it."""

    def __init__(self, module, use_reentrant):
        super().__init__()
        self.module, self.use_reentrant = module, use_reentrant

    def forward(self, inputs):
        return checkpoint(self.module.__call__, inputs, use_reentrant=self.use_reentrant)


def make_net(use_reentrant, *, from_outside=False):
    torch.manual_seed(0)
    block = Block(None if from_outside else use_reentrant)
    net = nn.Sequential(nn.Linear(4, 6), block, nn.Linear(6, 3))
    if from_outside:
        net[1] = Whole(block, use_reentrant)
    return net


def mixture_at(site):
    return Mixture(PARTNERS, torch.full((5, 2), 0.5), site=site)


def gradients(net, site):
    with blending_at(net, mixture_at(site)):
        net(INPUTS).square().sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


@pytest.mark.parametrize("use_reentrant", WAYS)
@pytest.mark.parametrize("site", ["0", "1.first", "1.second:input", "1", "2"])
def test_the_gradient_is_that_without_checkpointing(site, use_reentrant):
    expected = gradients(make_net(None), site)
    assert torch.equal(gradients(make_net(use_reentrant), site), expected)


@pytest.mark.parametrize("use_reentrant", WAYS)
@pytest.mark.parametrize("layer", ["", ".first"])
def test_the_gradient_is_that_without_checkpointing_where_the_site_itself_is_checkpointed(layer, use_reentrant):
    expected = gradients(make_net(None), f"1{layer}")
    assert torch.equal(gradients(make_net(use_reentrant, from_outside=True), f"1.module{layer}"), expected)


@pytest.mark.parametrize("use_reentrant", WAYS)
def test_a_backward_pass_outside_the_block_is_refused_where_it_would_not_be_blended(use_reentrant):
    net = make_net(use_reentrant)
    message = r"site '1.first' lies where .* in the backward pass, which then must run inside the block too, got none"
    with pytest.raises(ValueError, match=message), blending_at(net, mixture_at("1.first")):
        net(INPUTS)
    with blending_at(net, mixture_at("1")):  # given by the checkpointed part, not inside it
        net(INPUTS)


def test_without_gradients_there_is_no_backward_pass_to_ask_for():
    net, plain = make_net(False), make_net(None)
    with torch.no_grad(), blending_at(net, mixture_at("1.first")), blending_at(plain, mixture_at("1.first")):
        assert torch.equal(net(INPUTS), plain(INPUTS))


@pytest.mark.parametrize("use_reentrant", WAYS)
def test_training_with_checkpointing_gives_the_very_weights_of_training_without(use_reentrant):
    plain, checkpointed = (make_training("manifold", epochs=2) for _ in range(2))
    plain.scheme = checkpointed.scheme = ManifoldMixup(sites=("layer2.0",))
    layer = checkpointed.model.layer2
    compute = layer.forward
    layer.forward = lambda inputs: checkpoint(compute, inputs, use_reentrant=use_reentrant)
    for training in (plain, checkpointed):
        list(training.epochs())
    for name, value in plain.model.state_dict().items():
        assert torch.equal(checkpointed.model.state_dict()[name], value), name
