"""Convolutional network of four layers, sized for two CPU cores; and the initialisation its relatives share."""

from collections import OrderedDict

from torch import nn

CHANNELS = (32, 64, 128, 256)  # Our choice: 391,466 parameters and 15 million multiply-adds for CIFAR-10.


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


def _block(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    # Batch norm has a shift of its own, so a bias of the convolution before it would do nothing.
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


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
        layers = {
            f"layer{number}": _block(channels[number - 1], channels[number], stride=1 if number == 1 else 2)
            for number in range(1, len(channels))
        }
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__(OrderedDict(**layers, pool=pool, head=nn.Linear(channels[-1], num_classes)))
        self.sites = (*layers, "pool", "head")
        initialise_he(self)
