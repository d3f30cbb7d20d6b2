"""Multilayer perceptrons of flattened pixels: plain, and residual as in the linearity study of Chaudhry et al. 2022."""

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN_WIDTHS = (256, 256)  # Our default: small enough for digits and MNIST on a CPU.
WIDTH, NUM_BLOCKS = 128, 3  # Ours: the three groups of a wide residual network in miniature.
NEGATIVE_SLOPE = 0.1  # Ours; torch's own default, 0.01, is nearly a ReLU.


class MLP(nn.Sequential):
    """Flatten, then one block of linear map and ReLU per width in `hidden`, then a linear head.

    Without hidden layers it is the linear classifier. Weights that feed a ReLU are drawn from N(0, 2 / fan_in), biases
    are 0. Source: He et al. 2015. The head's weights keep PyTorch's initialisation; its bias is 0.

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


class ResidualBlock(nn.Module):
    """The input plus linear map, leaky ReLU, linear map of its leaky ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, width) to (B, width)."""
        hidden = self.first(F.leaky_relu(inputs, NEGATIVE_SLOPE))
        return inputs + self.second(F.leaky_relu(hidden, NEGATIVE_SLOPE))


class ResidualMLP(nn.Sequential):
    """Flatten, one affine layer, residual blocks, an activation, a linear head; PyTorch's initialisation throughout.

    A small stand-in for a wide residual network where linearity is looked at layer by layer: "layer0" is affine, so its
    defect of linearity is 0 whatever the training, and nothing normalises over the batch.

    Attributes:
        sites: "layer0": output of the affine layer; "layer1" to "layer3": outputs of the blocks (as many as there are);
            "layer4": activation of the last; "head": logits. All (B, width) but the last, (B, K).
        head: The classifier; its input is the output of "layer4".
    """

    def __init__(
        self, *, num_classes: int, image_shape: tuple[int, int, int], width: int = WIDTH, num_blocks: int = NUM_BLOCKS
    ) -> None:
        layers: list[nn.Module] = [nn.Linear(math.prod(image_shape), width)]
        layers += [ResidualBlock(width) for _ in range(num_blocks)]
        layers.append(nn.LeakyReLU(NEGATIVE_SLOPE))
        named = {f"layer{number}": layer for number, layer in enumerate(layers)}
        super().__init__(OrderedDict(flatten=nn.Flatten(), **named, head=nn.Linear(width, num_classes)))
        self.sites = (*named, "head")
