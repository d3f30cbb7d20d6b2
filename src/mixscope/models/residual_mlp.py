"""Residual network of fully connected layers without batch norm, its layers counted as in Chaudhry et al. 2022."""

import math
from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, NUM_BLOCKS = 128, 3  # Our default: the three groups of a wide residual network in miniature.
NEGATIVE_SLOPE = 0.1  # Ours; torch's own default, 0.01, is nearly a ReLU.


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
        self,
        *,
        num_classes: int,
        image_shape: tuple[int, int, int],
        width: int = WIDTH,
        num_blocks: int = NUM_BLOCKS,
    ) -> None:
        layers: list[nn.Module] = [nn.Linear(math.prod(image_shape), width)]
        layers += [ResidualBlock(width) for _ in range(num_blocks)]
        layers.append(nn.LeakyReLU(NEGATIVE_SLOPE))
        named = {f"layer{number}": layer for number, layer in enumerate(layers)}
        super().__init__(OrderedDict(flatten=nn.Flatten(), **named, head=nn.Linear(width, num_classes)))
        self.sites = (*named, "head")
