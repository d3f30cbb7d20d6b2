"""Convolutional networks for small images: one of four layers, ResNet, and wide residual networks."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from mixscope.base.errors import UserError

CHANNELS = (32, 64, 128, 256)  # Our choice: 391,466 parameters and 15 million multiply-adds for CIFAR-10.
STAGE_CHANNELS = (64, 128, 256, 512)  # He et al. 2016, Table 1, as the blocks at the end of this file
BASE_CHANNELS = 16  # Zagoruyko and Komodakis 2016, Table 1: the groups have 16k, 32k and 64k channels.


def initialise_he(model: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan_out) and set the biases of linear layers to 0, in place.

    fan_out is the kernel's area times the output channels. Batch norm keeps scale 1 and shift 0, linear weights keep
    PyTorch's initialisation. Source: He et al. 2015 (the backward form, which keeps the size of gradients).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def _conv(in_channels: int, out_channels: int, *, size: int = 3, stride: int = 1) -> nn.Conv2d:
    # Batch norm has a shift of its own, so a bias of the convolution before it would do nothing.
    return nn.Conv2d(in_channels, out_channels, kernel_size=size, stride=stride, padding=size // 2, bias=False)


def _conv_norm_relu(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, out_channels, stride=stride), nn.BatchNorm2d(out_channels), nn.ReLU())


def _blocks(
    block: Callable[..., nn.Module], in_channels: int, out_channels: int, *, num_blocks: int, stride: int
) -> nn.Sequential:
    """Return blocks in a row; the first changes the number of channels and the size of the maps."""
    first = block(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)))


class ConvNet(nn.Sequential):
    """Four 3x3 convolutions of 32, 64, 128 and 256 channels, with batch norm and ReLU; global average; a linear head.

    Layers 2 to 4 halve the image. In training mode an image of 8x8 or less needs a batch of at least 2, since layer 4
    then holds one pixel per image. The architecture is ours; initialisation as in `initialise_he`.

    Attributes:
        sites: "layer1" to "layer4": (B, 32, H, W), (B, 64, H/2, W/2), ..., rounded up; "pool": (B, 256);
            "head": (B, K).
        head: The classifier; its input is the output of "pool", at least 0.
    """

    def __init__(self, *, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        channels = (image_shape[0], *CHANNELS)
        layers: dict[str, nn.Module] = {
            f"layer{number}": _conv_norm_relu(channels[number - 1], channels[number], stride=1 if number == 1 else 2)
            for number in range(1, len(channels))
        }
        layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        layers["head"] = nn.Linear(channels[-1], num_classes)
        super().__init__(OrderedDict(layers))
        self.sites = tuple(layers)
        initialise_he(self)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or a 1x1 convolution where the shape changes (option B)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, stride=stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            shortcut = _conv(in_channels, out_channels, size=1, stride=stride)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        hidden = F.relu(self.norm1(self.conv1(inputs)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class ResNet(nn.Sequential):
    """Residual network of `blocks` basic blocks in each of four stages, for small images (He et al. 2016).

    Deviation: the stem is one 3x3 convolution of stride 1 without max-pooling, as is usual on CIFAR, since the 7x7 stem
    of ImageNet would shrink a 32x32 image to 8x8 at once. Initialisation as in `initialise_he`.

    Attributes:
        sites: "layer0" (the stem): (B, 64, H, W); "layer1" to "layer4": (B, 64, H, W), (B, 128, H/2, W/2),
            (B, 256, H/4, W/4), (B, 512, H/8, W/8), rounded up; "pool": (B, 512); "head": (B, K).
        head: The classifier; its input is the output of "pool", at least 0.
    """

    def __init__(
        self, *, num_classes: int, image_shape: tuple[int, int, int], blocks: tuple[int, int, int, int]
    ) -> None:
        channels = (STAGE_CHANNELS[0], *STAGE_CHANNELS)
        layers: dict[str, nn.Module] = {"layer0": _conv_norm_relu(image_shape[0], channels[0])}
        for number, num_blocks in enumerate(blocks, start=1):
            stride, sizes = 1 if number == 1 else 2, channels[number - 1 : number + 1]
            layers[f"layer{number}"] = _blocks(BasicBlock, *sizes, num_blocks=num_blocks, stride=stride)
        layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        layers["head"] = nn.Linear(channels[-1], num_classes)
        super().__init__(OrderedDict(layers))
        self.sites = tuple(layers)
        initialise_he(self)


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice, plus a shortcut.

    The shortcut is the input itself, or, where the shape changes, a 1x1 convolution of the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv(in_channels, out_channels, stride=stride)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = _conv(in_channels, out_channels, size=1, stride=stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        activated = F.relu(self.norm1(inputs))
        hidden = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return hidden + (inputs if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Sequential):
    """WRN-D-K: one convolution, three groups of (D - 4) / 6 blocks with K times the usual channels, a linear head.

    D is `depth`, K is `widen`. Without dropout; initialisation as in `initialise_he`. Source: Zagoruyko and Komodakis
    2016, with the layers counted as in Chaudhry et al. 2022.

    Attributes:
        sites: "layer0": output of the initial convolution (B, 16, H, W); "layer1" to "layer3": outputs of the groups
            (B, 16K, H, W), (B, 32K, H/2, W/2), (B, 64K, H/4, W/4), rounded up; "layer4": average pool (B, 64K);
            "layer5": logits.
        head: The classifier; its input is the output of "layer4", at least 0.

    Raises:
        UserError: If depth is not 6n + 4 for some n of at least 1, or widen is below 1.
    """

    def __init__(self, *, num_classes: int, image_shape: tuple[int, int, int], depth: int, widen: int) -> None:
        if depth < 10 or depth % 6 != 4:
            raise UserError(f"depth of a wide-resnet must be 6n + 4 (10, 16, 22, 28, 34, 40, ...), got {depth}")
        if widen < 1:
            raise UserError(f"widening factor of a wide-resnet must be at least 1, got {widen}")
        group = partial(_blocks, PreActivationBlock, num_blocks=(depth - 4) // 6)
        channels = [BASE_CHANNELS * widen * factor for factor in (1, 2, 4)]
        layers = {
            "layer0": _conv(image_shape[0], BASE_CHANNELS),
            "layer1": group(BASE_CHANNELS, channels[0], stride=1),
            "layer2": group(channels[0], channels[1], stride=2),
            "layer3": group(channels[1], channels[2], stride=2),
            "layer4": nn.Sequential(nn.BatchNorm2d(channels[2]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "head": nn.Linear(channels[2], num_classes),
            "layer5": nn.Identity(),  # The logits under the paper's name.
        }
        super().__init__(OrderedDict(layers))
        self.sites = tuple(name for name in layers if name != "head")
        initialise_he(self)


resnet18 = partial(ResNet, blocks=(2, 2, 2, 2))
resnet34 = partial(ResNet, blocks=(3, 4, 6, 3))
wide_resnet_28_2 = partial(WideResNet, depth=28, widen=2)
wide_resnet_28_10 = partial(WideResNet, depth=28, widen=10)
