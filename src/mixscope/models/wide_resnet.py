"""Wide residual networks (Zagoruyko and Komodakis 2016), with the layers counted as in Chaudhry et al. 2022."""

from collections import OrderedDict
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from mixscope.base.errors import UserError
from mixscope.models.convnet import initialise_he
from mixscope.models.resnet import stage

BASE_CHANNELS = 16  # Zagoruyko and Komodakis 2016, Table 1: the groups have 16k, 32k and 64k channels.


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice, plus a shortcut.

    The shortcut is the input itself, or, where the shape changes, a 1x1 convolution of the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        activated = F.relu(self.norm1(inputs))
        hidden = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return hidden + (inputs if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Sequential):
    """WRN-D-K: one convolution, three groups of (D - 4) / 6 blocks with K times the usual channels, a linear head.

    Without dropout; initialisation as in `initialise_he`.

    Args:
        depth: D, equal to 6n + 4 for some n of at least 1.
        widen: K, at least 1.

    Attributes:
        sites: "layer0" to "layer5" as in Chaudhry et al. 2022: output of the initial convolution (B, 16, H, W); outputs
            of the three groups (B, 16K, H, W), (B, 32K, H/2, W/2), (B, 64K, H/4, W/4), rounded up; average pool
            (B, 64K); logits.
        head: The classifier; its input is the output of "layer4", at least 0.

    Raises:
        UserError: If depth is not 6n + 4 or widen is below 1.
    """

    def __init__(self, *, num_classes: int, image_shape: tuple[int, int, int], depth: int, widen: int) -> None:
        if depth < 10 or depth % 6 != 4:
            raise UserError(f"depth of a wide-resnet must be 6n + 4 (10, 16, 22, 28, 34, 40, ...), got {depth}")
        if widen < 1:
            raise UserError(f"widening factor of a wide-resnet must be at least 1, got {widen}")
        num_blocks = (depth - 4) // 6
        channels = [BASE_CHANNELS * widen * factor for factor in (1, 2, 4)]
        layers = {
            "layer0": nn.Conv2d(image_shape[0], BASE_CHANNELS, kernel_size=3, padding=1, bias=False),
            "layer1": stage(PreActivationBlock, BASE_CHANNELS, channels[0], num_blocks=num_blocks, stride=1),
            "layer2": stage(PreActivationBlock, channels[0], channels[1], num_blocks=num_blocks, stride=2),
            "layer3": stage(PreActivationBlock, channels[1], channels[2], num_blocks=num_blocks, stride=2),
            "layer4": nn.Sequential(nn.BatchNorm2d(channels[2]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "head": nn.Linear(channels[2], num_classes),
            "layer5": nn.Identity(),  # The logits under the paper's name.
        }
        super().__init__(OrderedDict(layers))
        self.sites = tuple(name for name in layers if name != "head")
        initialise_he(self)


wide_resnet_28_2 = partial(WideResNet, depth=28, widen=2)
wide_resnet_28_10 = partial(WideResNet, depth=28, widen=10)
