"""Multilayer perceptron: flattened pixels, blocks of linear map and ReLU, a linear head."""

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

HIDDEN_WIDTHS = (256, 256)  # Our default: small enough for digits and MNIST on a CPU.


class MLP(nn.Sequential):
    """Flatten, then one block of linear map and ReLU per entry of `hidden`, then a linear head.

    Weights that feed a ReLU are drawn from N(0, 2 / fan_in), biases are 0. Source: He et al. 2015. The head's weights
    keep PyTorch's initialisation; its bias is 0.

    Args:
        hidden: Widths of the hidden layers, first to last; () is the linear classifier.

    Attributes:
        sites: "layer1", "layer2", ..., "head": (B, hidden[0]), (B, hidden[1]), ..., (B, K).
        head: The classifier; its input is (B, hidden[-1]), at least 0.
    """

    def __init__(
        self, *, num_classes: int, image_shape: tuple[int, int, int], hidden: Sequence[int] = HIDDEN_WIDTHS
    ) -> None:
        widths = [math.prod(image_shape), *hidden]
        layers: dict[str, nn.Module] = {}
        for number, (width, next_width) in enumerate(itertools.pairwise(widths), start=1):
            linear = nn.Linear(width, next_width)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers[f"layer{number}"] = nn.Sequential(linear, nn.ReLU())
        head = nn.Linear(widths[-1], num_classes)
        nn.init.zeros_(head.bias)
        super().__init__(OrderedDict(flatten=nn.Flatten(), **layers, head=head))
        self.sites = (*layers, "head")
