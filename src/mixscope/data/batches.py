"""Batches cut from uint8 images that stay on the device: of a training, and of an evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_same_length
from mixscope.base.generators import named_generator
from mixscope.data.augmentation import NO_AUGMENTATION, Augmentation, augment, draw_augmentation

__all__ = ["Augmentation", "EvaluationBatches", "TrainingBatches"]


@dataclass(eq=False, repr=False)
class ImagesOnDevice:
    """Images and labels that are moved to a device once, and made into inputs there.

    Inputs are (pixel / 255 - mean) / std, computed as pixel * scale + shift. Multiplied, then added, never fused: two
    roundings a pixel, so a batch has the same bits in either memory format and whatever its size.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        batch_size: Examples per batch; the last batch may have fewer.
        mean: C numbers subtracted from pixels scaled to [0, 1].
        std: C positive numbers the result is divided by.
        device: Where batches are made.
        channels_last: Give batches in torch.channels_last memory format.

    Raises:
        ValueError: If shapes, dtypes or counts do not fit.
    """

    images: Tensor
    labels: Tensor
    _: KW_ONLY
    batch_size: int
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device | str = "cpu"
    channels_last: bool = False

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

    Attributes:
        seed: Seed of all draws.
        augmentation: What is changed at random.
        smallest: A last batch of fewer examples than this joins the one before it (batch norm needs 2).

    Example:
        >>> images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
        >>> batches = TrainingBatches(images, torch.arange(5), batch_size=2, mean=(0.0,), std=(1.0,), seed=0)
        >>> [len(labels) for inputs, labels in batches.epoch(0)]
        [2, 2, 1]
        >>> inputs, labels = next(batches.epoch(0))
        >>> torch.equal((inputs.flatten() * 255).round().long(), labels)
        True
    """

    _: KW_ONLY
    seed: int
    augmentation: Augmentation = NO_AUGMENTATION
    smallest: int = 1

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
            is_last = batch == len(self) - 1
            places = slice(batch * self.batch_size, count if is_last else (batch + 1) * self.batch_size)
            rows = order[places]
            images = augment(self.images.index_select(0, rows), draw.places(places))
            yield self.inputs_of(images), self.labels.index_select(0, rows)


@dataclass(eq=False, repr=False)
class EvaluationBatches(ImagesOnDevice):
    """Normalised batches in the order of the images; may be iterated over again and again.

    Example:
        >>> images = torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)
        >>> batches = EvaluationBatches(images, torch.arange(3), batch_size=2, mean=(0.5,), std=(0.25,))
        >>> [(inputs.mean().item(), labels.tolist()) for inputs, labels in batches]
        [(2.0, [0, 1]), (2.0, [2])]
    """

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (B, C, H, W) float32 inputs and (B,) int64 labels, on the device."""
        for images, labels in zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True):
            yield self.inputs_of(images), labels
