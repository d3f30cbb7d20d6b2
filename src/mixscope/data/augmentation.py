"""Augmentation: random crops and mirroring, drawn as data once an epoch, applied as tensor operations."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope.base.checks import check_at_least
from mixscope.base.generators import named_generator


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images.

    Attributes:
        crop_padding: Pixels of value 0 put around the image before a random crop of its own size, at least 0, which is
            no crop. CIFAR is usually trained with 4 (He et al. 2016).
        flip: Whether half of the images are mirrored left to right.
    """

    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        check_at_least(0, crop_padding=self.crop_padding)


NO_AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class AugmentationDraw:
    """The random changes of N images, drawn beforehand.

    Attributes:
        padding: Pixels of value 0 around each image before the crop.
        tops: (N,) int64 in [0, 2 * padding]: first row of the crop in the padded image; None without crop.
        lefts: (N,) int64 in [0, 2 * padding]: first column of the crop; None without crop.
        flips: (N,) bool: which images are mirrored after the crop; None without flips.
    """

    padding: int
    tops: Tensor | None
    lefts: Tensor | None
    flips: Tensor | None

    def places(self, places: slice) -> "AugmentationDraw":
        """Return the draw of these places only."""
        tops, lefts, flips = (None if draw is None else draw[places] for draw in (self.tops, self.lefts, self.flips))
        return AugmentationDraw(self.padding, tops, lefts, flips)


def draw_augmentation(
    augmentation: Augmentation, count: int, *, seed: int, epoch: int, device: torch.device
) -> AugmentationDraw:
    """Draw the crops and flips of one epoch: a function of (seed, epoch), made on the CPU, then moved to `device`."""
    padding = augmentation.crop_padding
    tops = lefts = flips = None
    if padding:
        offsets = torch.randint(2 * padding + 1, (2, count), generator=named_generator(seed, "crop offsets", epoch))
        tops, lefts = offsets.to(device)
    if augmentation.flip:
        flips = torch.randint(2, (count,), generator=named_generator(seed, "flips", epoch)).bool().to(device)
    return AugmentationDraw(padding, tops, lefts, flips)


def augment(images: Tensor, draw: AugmentationDraw) -> Tensor:
    """Crop and mirror a batch of images.

    Rows of the padded images are gathered whole, then the columns of every row; mirroring only turns the column
    numbers round. No loop over images, and no index the size of the batch. (B, C, H, W) uint8 in and out.
    """
    if draw.tops is None and draw.flips is None:
        return images
    count, channels, height, width = images.shape
    columns = torch.arange(width, device=images.device).expand(count, width)
    if draw.flips is not None:
        columns = torch.where(draw.flips[:, None], columns.flip(1), columns)
    if draw.tops is not None and draw.lefts is not None:
        columns = columns + draw.lefts[:, None]
        padded = F.pad(images, (draw.padding,) * 4)
        padded_height, padded_width = padded.shape[2:]
        # Row number in the batch seen as one long column of rows.
        first_rows = torch.arange(count * channels, device=images.device).view(count, channels) * padded_height
        rows = (first_rows + draw.tops[:, None]).unsqueeze(2) + torch.arange(height, device=images.device)
        images = padded.view(-1, padded_width).index_select(0, rows.flatten())
    strips = images.reshape(count, channels * height, -1)
    gathered = strips.gather(2, columns.unsqueeze(1).expand(-1, channels * height, -1))
    return gathered.view(count, channels, height, width)
