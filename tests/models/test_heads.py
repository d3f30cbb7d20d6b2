"""Heads found in a forward pass: the one linear layer that gives the logits, whatever its name."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from transformers import ConvNextConfig, ResNetConfig, ViTConfig
from transformers.models.convnext import ConvNextForImageClassification
from transformers.models.resnet import ResNetForImageClassification
from transformers.models.vit import ViTForImageClassification

import mixscope
from mixscope.base.errors import UserError
from mixscope.models.networks import find_head

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, end=None, **layers) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3), nn.ReLU())
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.layers, self.end = list(layers), end or (lambda values: values)

    def forward(self, inputs):
        hidden = self.body(inputs)
        for name in self.layers:
            hidden = getattr(self, name)(hidden)
        return self.end(hidden)


VIT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "patch_size": 8}
MODELS = {
    "fc": lambda: Net(fc=nn.Linear(3, 3)),
    "fc, log_softmax": lambda: Net(fc=nn.Linear(3, 3), end=lambda z: z.log_softmax(1)),
    "top.1": lambda: Net(top=nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3))),
    "heads.head": lambda: Net(heads=nn.Sequential(OrderedDict(head=nn.Linear(3, 3)))),
    "last": lambda: Net(last=nn.Linear(3, 3), end=lambda z: {"logits": z.add_(1)}),
    "lazy": lambda: Net(lazy=nn.LazyLinear(3)),
    "4": lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 5)),
    "classifier": lambda: ViTForImageClassification(ViTConfig(image_size=16, num_labels=3, **VIT)),
    "classifier.1": lambda: ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3)
    ),
    "classifier, convnext": lambda: ConvNextForImageClassification(
        ConvNextConfig(hidden_sizes=[4, 4, 4, 4], depths=[1, 1, 1, 1], num_labels=3, patch_size=2)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_layer_that_gives_the_logits_is_found(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    model.train()
    found = find_head(model, inputs=IMAGES)
    assert found == name.partition(",")[0]
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_in_place_end_that_changes_the_logits_is_no_head_s():
    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"model has no linear layer that gives its logits .* modules are body\.2, fc$"):
        find_head(Net(fc=nn.Linear(3, 3), end=lambda z: (5 * z).square_()), inputs=IMAGES)


def test_a_softmax_at_the_end_is_told_as_such():
    with pytest.raises(UserError, match="must be logits, got rows of probabilities: return what goes into the softmax"):
        find_head(Net(fc=nn.Linear(3, 3), end=lambda z: z.softmax(1)), inputs=IMAGES)


def test_a_convolution_as_head_is_told():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        UserError, match=r"no linear layer that gives its logits from one row .* has no nn\.Linear module"
    ):
        find_head(model, inputs=IMAGES)


def test_two_layers_that_give_the_same_are_listed():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.load_state_dict(first.state_dict())
    model = Net(fc=first, spare=nn.Identity())
    model.other = second
    model.end = lambda z: (second(model.body(IMAGES)), z)[1]
    with pytest.raises(UserError, match="2 linear layers that give the logits: name one with --head: fc, other"):
        find_head(model, inputs=IMAGES)


def test_what_the_network_raises_is_one_line():
    with pytest.raises(
        UserError, match=r"model must take a batch of shape \(2, 3, 16, 16\), but it raised RuntimeError"
    ):
        find_head(nn.Sequential(nn.Linear(4, 3)), inputs=IMAGES)


def test_measure_finds_the_head_of_a_network_in_anothers_clothes():
    torch.manual_seed(0)
    model, labels = MODELS["classifier"](), torch.arange(12) % 3
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    named = mixscope.measure(model, train=(images, labels), test=(images, labels), head="classifier").values
    batches = [(images[:6], labels[:6]), (images[6:], labels[6:])]
    for train in ((images, labels), batches, iter(batches)):
        values = mixscope.measure(model, train=train, test=(images, labels)).values
        assert values["nc/nc1_trace"] == pytest.approx(named["nc/nc1_trace"])
        assert values["test/loss"] == pytest.approx(named["test/loss"])
