"""Batches cut from uint8 images that stay on the device, and the crops and mirroring of those of a training."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope.base.checks import check_at_least, check_same_length
from mixscope.base.generators import named_generator
from mixscope.data.mapped import read_through


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images: a crop of their own size, and mirroring of half of them left to right.

    The crop is taken after `crop_padding` pixels of value 0 were put around the image, at least 0, which is no crop;
    CIFAR is usually trained with 4 (He et al. 2016).
    """

    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        check_at_least(0, crop_padding=self.crop_padding)


@dataclass(frozen=True)
class AugmentationDraw:
    """The random changes of N images, drawn beforehand; None where there are none."""

    padding: int
    offsets: Tensor | None  # (2, N) int64 in [0, 2 * padding]: first row and column of the crop in the padded image
    flips: Tensor | None  # (N,) bool: which images are mirrored after the crop

    def places(self, places: slice) -> "AugmentationDraw":
        """Return the draw of these places only."""
        offsets, flips = (None if draw is None else draw[..., places] for draw in (self.offsets, self.flips))
        return AugmentationDraw(self.padding, offsets, flips)


def draw_augmentation(
    augmentation: Augmentation, count: int, *, seed: int, epoch: int, device: torch.device
) -> AugmentationDraw:
    """Draw the crops and flips of one epoch: a function of (seed, epoch), made on the CPU, then moved to `device`."""
    padding = augmentation.crop_padding
    offsets = flips = None
    if padding:
        generator = named_generator(seed, "crop offsets", epoch)
        offsets = torch.randint(2 * padding + 1, (2, count), generator=generator).to(device)
    if augmentation.flip:
        flips = torch.randint(2, (count,), generator=named_generator(seed, "flips", epoch)).bool().to(device)
    return AugmentationDraw(padding, offsets, flips)


def augment(images: Tensor, draw: AugmentationDraw) -> Tensor:
    """Crop and mirror a batch of images.

    Rows of the padded images are gathered whole, then the columns of every row; mirroring only turns the column
    numbers round. No loop over images, and no index the size of the batch. (B, C, H, W) uint8 in and out.
    """
    if draw.offsets is None and draw.flips is None:
        return images
    count, channels, height, width = images.shape
    columns = torch.arange(width, device=images.device).expand(count, width)
    if draw.flips is not None:
        columns = torch.where(draw.flips[:, None], columns.flip(1), columns)
    if draw.offsets is not None:
        tops, lefts = draw.offsets.unsqueeze(2)
        columns = columns + lefts
        padded = F.pad(images, (draw.padding,) * 4)
        padded_height, padded_width = padded.shape[2:]
        # Row number in the batch seen as one long column of rows.
        first_rows = torch.arange(count * channels, device=images.device).view(count, channels) * padded_height
        rows = (first_rows + tops).unsqueeze(2) + torch.arange(height, device=images.device)
        images = padded.view(-1, padded_width).index_select(0, rows.flatten())
    strips = images.reshape(count, channels * height, -1)
    gathered = strips.gather(2, columns.unsqueeze(1).expand(-1, channels * height, -1))
    return gathered.view(count, channels, height, width)


@dataclass(eq=False, repr=False)
class ImagesOnDevice:
    """Images and labels that are moved to a device once, and made into inputs there.

    Inputs are (pixel / 255 - mean) / std, computed as pixel * scale + shift. Multiplied, then added, never fused: two
    roundings a pixel, so a batch has the same bits in either memory format and whatever its size.
    """

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    _: KW_ONLY
    batch_size: int  # the last batch may have fewer examples
    mean: Sequence[float]  # C numbers, of pixels scaled to [0, 1]
    std: Sequence[float]  # C positive numbers
    device: torch.device | str = "cpu"
    channels_last: bool = False  # torch's memory format of the batches

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype is not torch.uint8 or images.ndim != 4:
            got = f"{images.dtype} of shape {tuple(images.shape)}"
            raise ValueError(f"images must be uint8 of shape (N, C, H, W), got {got}")
        if labels.dtype is not torch.int64 or labels.ndim != 1:
            raise ValueError(f"labels must be int64 of shape (N,), got {labels.dtype} of shape {tuple(labels.shape)}")
        check_same_length(images=images, labels=labels)
        check_at_least(1, images=len(images), batch_size=self.batch_size)
        _, channels, _, width = images.shape
        if not len(self.mean) == len(self.std) == channels:
            counts = f"{len(self.mean)} and {len(self.std)}"
            raise ValueError(f"mean and std must have one number per channel, {channels}, got {counts}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be positive, got {tuple(self.std)}")
        self.images, self.labels = images.to(self.device), labels.to(self.device)
        means, stds = (torch.tensor(values, dtype=torch.float64) for values in (self.mean, self.std))
        # Channels last, a row of pixels is one run of W * C numbers, and the C factors are repeated along it.
        view = (width * channels,) if self.channels_last else (channels, 1, 1)
        self._scale, self._shift = (
            factors.float().repeat(width if self.channels_last else 1).view(view).to(self.device)
            for factors in (1 / (255 * stds), -means / stds)
        )

    def inputs_of(self, images: Tensor) -> Tensor:
        """Return (B, C, H, W) float32 for (B, C, H, W) uint8."""
        if not self.channels_last:
            return images.float().mul_(self._scale).add_(self._shift)
        count, channels, height, width = images.shape
        rows = images.permute(0, 2, 3, 1).contiguous().float().view(count, height, width * channels)
        return rows.mul_(self._scale).add_(self._shift).view(count, height, width, channels).permute(0, 3, 1, 2)


@dataclass(eq=False, repr=False)
class TrainingBatches(ImagesOnDevice):
    """Shuffled, augmented, normalised batches.

    The order of an epoch, its crops and its flips are functions of (seed, epoch) alone: the same on every machine and
    device, whatever was drawn before. Draws belong to the place in the epoch, so the batch size changes no image.
    """

    _: KW_ONLY
    seed: int
    augmentation: Augmentation = Augmentation()
    smallest: int = 1  # A last batch of fewer examples joins the one before it (batch norm needs 2).

    def __len__(self) -> int:
        """Return the number of batches in one epoch."""
        full, rest = divmod(len(self.labels), self.batch_size)
        return full + (rest >= self.smallest and rest > 0) if full else 1

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (B, C, H, W) float32 inputs and (B,) int64 labels of an epoch, on the device, from batch `start` on.

        Each epoch has its own order, crops and flips; a late start changes no batch.
        """
        count, device = len(self.labels), self.images.device
        order = torch.randperm(count, generator=named_generator(self.seed, "training order", epoch)).to(device)
        draw = draw_augmentation(self.augmentation, count, seed=self.seed, epoch=epoch, device=device)
        for batch in range(start, len(self)):
            end = count if batch == len(self) - 1 else (batch + 1) * self.batch_size
            places = slice(batch * self.batch_size, end)
            rows = order[places]
            images = augment(self.images.index_select(0, rows), draw.places(places))
            yield self.inputs_of(images), self.labels.index_select(0, rows)


@dataclass(eq=False, repr=False)
class EvaluationBatches(ImagesOnDevice):
    """Normalised batches in the order of the images; may be iterated over again and again."""

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (B, C, H, W) float32 inputs and (B,) int64 labels, on the device."""
        for images, labels in zip(
            read_through(self.images, self.batch_size), self.labels.split(self.batch_size), strict=True
        ):
            yield self.inputs_of(images), labels
