"""Data sets: uint8 images in memory with labels, class names and where they came from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.kinds import checked
from mixscope.data.mapped import read_through, take_rows
from mixscope.data.splits import balanced_subset

# Called as progress(what, done, total), for example ("decoding images", 1500, None); total is None where unknown.
Progress = Callable[[str, int, int | None], None]
# Pixels counted at a time: the copy of a chunk stays in the processor's cache, whatever the size of the set.
CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One part of a data set."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64 in [0, K)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class DecodedSet:
    """A data set as its files hold it, before any split of ours."""

    train: LabelledImages  # everything where the files have no test part
    test: LabelledImages | None  # the official one
    class_names: tuple[str, ...]  # K names; label k is class_names[k]
    notes: str  # where it came from and what was noticed, one line
    cautions: tuple[str, ...] = ()  # what the user should know, each one line

    @property
    def has_train(self) -> bool:
        """Whether there is a training part; else `train` holds no images."""
        return len(self.train) > 0


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set ready for training: uint8 images, integer labels, checked by `checked_set` when it is made."""

    name: str  # short, for records and error messages
    train_images: Tensor  # (N, C, H, W) uint8
    train_labels: Tensor  # (N,) int64 in [0, K), every class present
    test_images: Tensor  # (M, C, H, W) uint8
    test_labels: Tensor  # (M,) int64 in [0, K)
    class_names: tuple[str, ...]  # K names; label k is class_names[k]
    notes: str  # where it came from and how it was split, one line
    has_train: bool = True  # False: test images alone, and train_images and train_labels hold nothing
    cautions: tuple[str, ...] = ()  # what the user should know, each one line

    def __post_init__(self) -> None:
        train = LabelledImages(self.train_images, self.train_labels)
        test = LabelledImages(self.test_images, self.test_labels)
        checked_set(
            train, test, class_names=self.class_names, notes=self.notes, source=self.name, has_train=self.has_train
        )

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.test_images.shape[1:]
        return channels, height, width

    @property
    def channel_mean(self) -> tuple[float, ...]:
        """Mean of each channel of the training images, or else the test images, scaled to [0, 1]; float64."""
        return self._channel_moments[0]

    @property
    def channel_std(self) -> tuple[float, ...]:
        """Population standard deviation of each channel, in the same unit; 1 for a channel that never changes."""
        return self._channel_moments[1]

    @cached_property
    def _channel_moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return channel_moments(self.train_images if self.has_train else self.test_images)

    def to(self, device: torch.device | str) -> "ImageData":
        """Return the same data with its four tensors on `device`."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @checked
    def subset(self, size: int, *, generator: torch.Generator) -> "ImageData":
        """Return the data with a class-balanced random part of the training images; see `balanced_subset`."""
        return self._balanced("train", "training", size, generator)

    @checked
    def test_subset(self, size: int, *, generator: torch.Generator) -> "ImageData":
        """Return the data with a class-balanced random part of the test images; see `balanced_subset`."""
        return self._balanced("test", "test", size, generator)

    def _balanced(self, part: str, words: str, size: int, generator: torch.Generator) -> "ImageData":
        images, labels = (getattr(self, f"{part}_{kind}") for kind in ("images", "labels"))
        if len(labels) == 0:
            raise UserError(f"{self.name}: there are no {words} images to take {size} of")
        kept = balanced_subset(labels, size, self.num_classes, generator, class_names=self.class_names)
        chosen = {f"{part}_images": take_rows(images, kept), f"{part}_labels": labels[kept.to(labels.device)]}
        return replace(self, **chosen, notes=f"{self.notes}; {size} of {len(labels)} {words} images, balanced")


def channel_moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel, pixels scaled to [0, 1].

    Computed from one histogram of the 256 values per channel of (N, C, H, W) uint8, so the only rounding is in the last
    step. A standard deviation of 0 is given as 1, so that normalising gives 0 rather than NaN.
    """
    channels = images.shape[1]
    histograms = torch.zeros(channels, 256, dtype=torch.int64, device=images.device)
    for chunk in read_through(images, max(1, CHUNK_VALUES // images[0].numel())):
        for channel in range(channels):
            histograms[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256)
    means, stds = [], []
    for histogram in histograms.tolist():
        count = sum(histogram)
        total = sum(value * times for value, times in enumerate(histogram))
        squares = sum(value**2 * times for value, times in enumerate(histogram))
        # Python integers: the variance times count^2 is exact, so nothing cancels and a constant channel gives 0.
        variance = (count * squares - total**2) / (255 * count) ** 2
        means.append(total / (255 * count))
        stds.append(variance**0.5 or 1.0)
    return tuple(means), tuple(stds)


def checked_set(
    train: LabelledImages,
    test: LabelledImages | None,
    *,
    class_names: tuple[str, ...],
    notes: str,
    source: str | Path,
    cautions: tuple[str, ...] = (),
    has_train: bool = True,
) -> DecodedSet:
    """Return what was read, unless images and labels make no data set; the training part is empty unless it has one.

    A `UserError`, which begins with the source, if the counts of images and labels differ, a label is out of range, a
    class has no training image, a part is empty, or a dtype or shape is wrong.
    """
    if has_train or test is None:
        _check_part(train, part="training", num_classes=len(class_names), source=source)
    if len(class_names) < 2:
        raise UserError(f"{source}: there must be at least two classes, got {len(class_names)}")
    counts = torch.bincount(train.labels.cpu(), minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts.tolist(), strict=True) if count == 0]
    if empty and has_train:
        raise UserError(f"{source}: no training image of class {', '.join(empty)}; every class needs at least one")
    if test is not None:
        _check_part(test, part="test", num_classes=len(class_names), source=source)
        train_shape, test_shape = train.images.shape[1:], test.images.shape[1:]
        if train_shape != test_shape:
            shapes = f"{tuple(train_shape)} and {tuple(test_shape)}"
            raise UserError(f"{source}: training and test images must have one shape, got {shapes}")
    return DecodedSet(train, test, class_names, notes, cautions)


def _check_part(data: LabelledImages, *, part: str, num_classes: int, source: str | Path) -> None:
    """Raise unless `data` is at least one uint8 image with one int64 label in [0, num_classes) each."""
    images, labels = data.images, data.labels
    if images.dtype is not torch.uint8 or images.ndim != 4:
        got = f"{images.dtype} of shape {tuple(images.shape)}"
        raise UserError(f"{source}: {part} images must be uint8 of shape (N, C, H, W), got {got}")
    if labels.dtype is not torch.int64 or labels.ndim != 1:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise UserError(f"{source}: {part} labels must be int64 of shape (N,), got {got}")
    if len(images) != len(labels):
        raise UserError(f"{source}: {len(images)} {part} images but {len(labels)} {part} labels")
    if images.numel() == 0:
        raise UserError(f"{source}: no {part} images, got shape {tuple(images.shape)}")
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0 or high >= num_classes:
        raise UserError(f"{source}: {part} labels must lie in [0, {num_classes}), got values from {low} to {high}")
