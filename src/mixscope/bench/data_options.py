"""Options of a run's images: which they are, how they are scaled, which of them are used."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from mixscope.base.errors import UserError
from mixscope.base.ranges import COUNTS, SEEDS, Range, check_ranges
from mixscope.data.geometry import LONGEST_SIDE, Crop, Geometry, Interpolation

SIDES = Range(1, LONGEST_SIDE)  # pixels
LATER = {"later": True}  # Options that came later are written only where they are given: earlier runs stay the same.


@dataclass(frozen=True)
class DataOptions:
    """Which images, and which of them."""

    data: str = "digits"
    """A named set (see `mixscope data`), a folder, archive or .npz of images, or hf:NAME."""
    data_dir: Path | None = None
    """Folder with local copies of the named sets; looked at before MIXSCOPE_DATA and the cache."""
    test_size: Annotated[float, Range(0, 1e9, excludes=(0,))] = 0.2
    """For sets without a test part of their own: its share, or its number of images if 1 or more."""
    split_seed: Annotated[int, SEEDS] = 0
    """Seed of that split, of subsets, of wrong labels, and of the pairs that are measured; not of training."""
    subset: Annotated[int | None, COUNTS] = None
    """Use this many training images, the same number of each class."""
    test_subset: Annotated[int | None, COUNTS] = None
    """Measure on this many test images, the same number of each class."""
    label_noise: Annotated[float, Range(0, 1, excludes=(1,))] = 0.0
    """Share of the labels, of training and test images alike, that are replaced by another class."""
    image_size: Annotated[tuple[int, ...], SIDES] = field(default=(), metadata=LATER)
    """Scale and crop images to this: 224, or height and width. Left out: they stay as they are and must agree."""
    resize: Annotated[tuple[int, ...], SIDES] = field(default=(), metadata=LATER)
    """Scale the shorter side to this before the crop (256 with image-size 224 is usual); left out: image-size."""
    crop: Crop = field(default="center", metadata=LATER)
    """center cuts out the middle; squash scales both sides, whatever the shape; border fits all and fills the rest."""
    interpolation: Interpolation = field(default="bilinear", metadata=LATER)
    """How images are scaled, as torchvision and timm name it; always antialiased, but nearest."""
    background: str = field(default="white", metadata=LATER)
    """What transparent images are put on, and crop border fills with: white, black, #rrggbb, R,G,B or a grey level."""

    def __post_init__(self) -> None:
        check_ranges(self)
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """How an image of any size becomes pixels."""
        for name, given in (("image-size", self.image_size), ("resize", self.resize)):
            if len(given) > 2:
                got = " ".join(map(str, given))
                raise UserError(f"{name} must be one number, or height and width, got {got}")
        return Geometry(
            self.image_size * (2 // len(self.image_size)) if self.image_size else None,
            resize=self.resize[0] if len(self.resize) == 1 else self.resize or None,
            crop=self.crop,
            interpolation=self.interpolation,
            background=self.background,
        )
