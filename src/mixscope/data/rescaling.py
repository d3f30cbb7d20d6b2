"""Rescaling of sets that were decoded already: arrays and the named sets, through the same geometry as files."""

from dataclasses import replace

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.data.geometry import Geometry
from mixscope.data.image_data import DecodedSet, LabelledImages


def geometry_key(geometry: Geometry) -> str:
    """Return what names a geometry in the cache; empty where it changes nothing of opaque images."""
    return repr(geometry) if changes_pixels(geometry) else ""


def changes_pixels(geometry: Geometry) -> bool:
    """Whether the geometry scales opaque images or changes their channels."""
    return geometry.image_size is not None or geometry.channels is not None


def scaled_set(decoded: DecodedSet, geometry: Geometry) -> DecodedSet:
    """Return the set with all images through the geometry; itself where that changes nothing."""
    if not changes_pixels(geometry):
        return decoded
    train, test = (
        None if part is None else LabelledImages(_scaled(part.images, geometry), part.labels)
        for part in (decoded.train, decoded.test)
    )
    assert train is not None
    return replace(decoded, train=train, test=test, notes=f"{decoded.notes}: {geometry}")


def _scaled(images: Tensor, geometry: Geometry) -> Tensor:
    """Return (N, C, H, W) uint8 for the same of another size."""
    import numpy as np
    from PIL import Image

    channels = geometry.channels or images.shape[1]
    if images.shape[1] not in (1, 3):
        raise UserError(f"images must have 1 or 3 channels to be scaled, got {images.shape[1]}")
    height, width = geometry.image_size or images.shape[2:]
    scaled = torch.empty(len(images), channels, height, width, dtype=torch.uint8)
    for row, image in enumerate(images):
        array = image.permute(1, 2, 0).numpy()
        picture = geometry.apply(
            Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))
        )
        pixels = torch.from_numpy(np.array(picture))
        scaled[row] = pixels if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return scaled
