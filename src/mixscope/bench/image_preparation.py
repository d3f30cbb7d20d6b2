"""Preparation of images for a network that was trained elsewhere: geometry, normalisation, classes, each with why."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from mixscope.base.errors import UserError, users_code
from mixscope.bench.options import DataOptions
from mixscope.data.geometry import Geometry
from mixscope.data.image_data import ImageData
from mixscope.models.hub_models import output_names
from mixscope.models.preprocessing import Preprocessing

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as torchvision's weights take them
Normalise = Literal["imagenet", "images", "none"]
GIVEN = "as given"
NOTHING_SAYS = "nothing says what the network was trained with: --normalise, or --mean and --std"


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel of pixels scaled to [0, 1], as a user gives them.

    Attributes:
        normalise: A usual one by name; None: what the network says, else that of the images.
        mean: Of each channel, or one for all; in the place of the other's.
        std: Likewise.
    """

    normalise: Normalise | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.normalise is not None and (self.mean is not None or self.std is not None):
            raise UserError(f"normalise must stand without mean and std, got {self.normalise} beside them")
        if self.mean is not None and not all(0 <= value <= 1 for value in self.mean):
            got = " ".join(f"{value:g}" for value in self.mean)
            raise UserError(f"mean must lie in [0, 1], as pixels do here, got {got}; of pixels up to 255 divide by 255")


@dataclass(frozen=True)
class ChannelScale:
    """The mean and standard deviation that are used, and where they come from, in words."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    def __str__(self) -> str:
        """Return what is done to pixels."""
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"mean {mean}, std {std} ({self.source})"


def choose_geometry(data: DataOptions, own: Preprocessing | None) -> tuple[Geometry, str]:
    """Return how images become pixels, and where that comes from: as given, else as the network says, else none."""
    if data.image_size:
        return replace(data.geometry, channels=None if own is None else own.channels), GIVEN
    if own is None:
        return data.geometry, "no size given, and nothing says one"
    options: dict[str, Any] = {"channels": own.channels, "rounding": own.rounding, "background": data.background}
    if own.image_size is None:
        return Geometry(**options), own.source
    options |= {"resize": own.resize, "crop": own.crop, "interpolation": own.interpolation}
    return Geometry(own.image_size, **options), own.source


def choose_scale(given: Normalisation, own: Preprocessing | None, model: nn.Module, images: ImageData) -> ChannelScale:
    """Return the normalisation: as given, else as the network says, else that of the images."""
    channels = images.image_shape[0]
    images_own = "the test images' own" if not images.has_train else "the training images' own"
    mean, std = images.channel_mean, images.channel_std
    source = f"{images_own}; {NOTHING_SAYS}"
    if given.normalise == "imagenet":
        mean, std, source = IMAGENET_MEAN, IMAGENET_STD, "ImageNet's, as given"
    elif given.normalise == "none" or (given.normalise is None and own is not None and own.mean is None):
        mean, std, source = (0.0,), (1.0,), "none, as given" if own is None or given.normalise else own.source
    elif given.normalise == "images":
        source = f"{images_own}, as given"
    elif own is not None and own.mean is not None and own.std is not None:
        mean, std, source = own.mean, own.std, own.source
    elif (config := _own_config(model)) is not None:
        mean, std, source = config
    if given.mean is not None or given.std is not None:
        source = GIVEN if given.mean is not None and given.std is not None else f"{source}; in part {GIVEN}"
        mean, std = given.mean or mean, given.std or std
    return ChannelScale(_per_channel(mean, channels, "mean"), _per_channel(std, channels, "std"), source)


def match_classes(model: nn.Module, images: ImageData) -> tuple[ImageData, str]:
    """Return the images with their classes in the order of a network's outputs where it names them, and what was done.

    transformers' networks name their outputs. Where these are the images' classes in another order, labels follow the
    network; where they are others, nothing is changed, and that is said.
    """
    with users_code("config of the model raised"):
        named = output_names(getattr(model, "config", None))
    if named is None or len(named) != images.num_classes:
        return images, ""
    outputs = tuple(unicodedata.normalize("NFC", name) for name in named)
    if outputs == images.class_names:
        return images, ""
    if sorted(outputs) != sorted(images.class_names):
        ours, theirs = images.class_names[0], outputs[0]
        words = f"the network names its outputs otherwise: output 0 is {theirs!r} and class 0 is {ours!r}"
        return images, f"{words}; they are taken for the same, in this order"
    place = torch.tensor([outputs.index(name) for name in images.class_names])
    train, test = (place[labels] for labels in (images.train_labels, images.test_labels))
    ordered = replace(images, class_names=outputs, train_labels=train, test_labels=test)
    return ordered, "classes are in the order of the network's outputs, which has the same names"


def _own_config(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...], str] | None:
    """Return what a timm model says of itself, also where a user's own factory made it."""
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, dict) or not config.get("mean") or not config.get("std"):
        return None
    return tuple(map(float, config["mean"])), tuple(map(float, config["std"])), "the network's own pretrained_cfg"


def _per_channel(values: Sequence[float], channels: int, name: str) -> tuple[float, ...]:
    """Return one value per channel; one value alone serves all channels, and any other number is refused."""
    if len(values) not in (1, channels):
        numbers = "1 value" if channels == 1 else f"1 or {channels} values"
        raise UserError(f"{name} must have {numbers} for {channels} channels, got {len(values)}")
    return tuple(values) * channels if len(values) == 1 else tuple(values)
