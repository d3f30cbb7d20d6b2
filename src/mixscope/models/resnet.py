"""Residual networks of basic blocks, with the stem used for small images (He et al. 2016)."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from mixscope.models.convnet import initialise_he

STAGE_CHANNELS = (64, 128, 256, 512)  # He et al. 2016, Table 1, as the blocks at the end of this file


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or a 1x1 convolution where the shape changes (option B)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        hidden = F.relu(self.norm1(self.conv1(inputs)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class ResNet(nn.Sequential):
    """ResNet-18 or ResNet-34 for small images.

    Deviation: the stem is one 3x3 convolution of stride 1 without max-pooling, as is usual on CIFAR, since the 7x7 stem
    of ImageNet would shrink a 32x32 image to 8x8 at once. Initialisation as in `initialise_he`.

    Args:
        blocks: Number of basic blocks in each of the four stages.

    Attributes:
        sites: "layer0" (the stem): (B, 64, H, W); "layer1" to "layer4": (B, 64, H, W), (B, 128, H/2, W/2),
            (B, 256, H/4, W/4), (B, 512, H/8, W/8), rounded up; "pool": (B, 512); "head": (B, K).
        head: The classifier; its input is the output of "pool", at least 0.
    """

    def __init__(
        self, *, num_classes: int, image_shape: tuple[int, int, int], blocks: tuple[int, int, int, int]
    ) -> None:
        channels = STAGE_CHANNELS
        stem = nn.Sequential(
            nn.Conv2d(image_shape[0], channels[0], kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
        )
        stages = {
            f"layer{number}": stage(BasicBlock, before, after, num_blocks=num_blocks, stride=1 if number == 1 else 2)
            for number, (before, after, num_blocks) in enumerate(
                zip((channels[0], *channels), channels, blocks, strict=False), start=1
            )
        }
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head = nn.Linear(channels[-1], num_classes)
        super().__init__(OrderedDict(layer0=stem, **stages, pool=pool, head=head))
        self.sites = ("layer0", *stages, "pool", "head")
        initialise_he(self)


def stage(
    block: Callable[..., nn.Module], in_channels: int, out_channels: int, *, num_blocks: int, stride: int
) -> nn.Sequential:
    """Return blocks in a row; the first changes the number of channels and the size of the maps."""
    first = block(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)))


resnet18 = partial(ResNet, blocks=(2, 2, 2, 2))
resnet34 = partial(ResNet, blocks=(3, 4, 6, 3))
