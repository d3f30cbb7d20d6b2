"""Convolutional network of four layers, sized for two CPU cores; and the initialisation its relatives share."""

from torch import Tensor, nn

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


class ConvNet(nn.Module):
    """Four 3x3 convolutions of 32, 64, 128 and 256 channels, with batch norm and ReLU; global average; a linear head.

    Layers 2 to 4 halve the image. In training mode an image of 8x8 or less needs a batch of at least 2, since layer 4
    then holds one pixel per image. The architecture is ours; initialisation as in `initialise_he`.

    Attributes:
        sites: "layer1" to "layer4": (B, 32, H, W), (B, 64, H/2, W/2), ..., rounded up; "pool": (B, 256);
            "head": (B, K).
        head: The classifier; its input is the output of "pool", at least 0.

    Example:
        >>> model = ConvNet(num_classes=10, image_shape=(3, 32, 32))
        >>> sum(parameter.numel() for parameter in model.parameters())
        391466
    """

    def __init__(self, *, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.layer1 = _block(image_shape[0], CHANNELS[0], stride=1)
        self.layer2 = _block(CHANNELS[0], CHANNELS[1], stride=2)
        self.layer3 = _block(CHANNELS[1], CHANNELS[2], stride=2)
        self.layer4 = _block(CHANNELS[2], CHANNELS[3], stride=2)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(CHANNELS[3], num_classes)
        self.sites = ("layer1", "layer2", "layer3", "layer4", "pool", "head")
        initialise_he(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(inputs))))
        return self.head(self.pool(hidden))
