"""Geometry of images: how one of any size becomes the pixels a network gets.

As torchvision's and timm's evaluation transforms do it on PIL images: scaled with PIL's antialiased resize, on 8-bit
pixels, then cropped in the middle. Sources: torchvision 0.20, transforms/functional.py (`resize`, `center_crop`); timm
1.0, data/transforms_factory.py (`transforms_imagenet_eval`) and data/transforms.py (`ResizeKeepRatio`,
`CenterCropOrPad`); transformers 5, image_transforms.py (`center_crop`).
"""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from mixscope.base.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Crop = Literal["center", "squash", "border"]
Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos", "box", "hamming"]
Rounding = Literal["nearest", "floor"]
GREYS = {"white": 255, "black": 0}
LONGEST_SIDE = 8192  # of what comes out
SCALED_PIXELS = 1 << 26  # of an image between scaling and cropping: a strip grows very long


@dataclass(frozen=True)
class Geometry:
    """How an image of any size becomes the pixels a network gets; as it is made, images stay as they are.

    Raises:
        UserError: If a size is not 1 to 8192, a crop is larger than what it is cut from, the background is no colour,
            or an option is given that does nothing without image_size.
    """

    image_size: tuple[int, ...] | None = None  # (H, W) that come out; None: images stay as they are and must agree
    _: KW_ONLY
    # What the shorter side is scaled to before the crop, or the (H, W) of a box that the scaled image covers (center),
    # takes the shape of (squash) or fits into (border). None: image_size.
    resize: int | tuple[int, ...] | None = None
    # timm's words: "center" scales the shorter side and cuts out the middle; "squash" scales both sides, whatever the
    # shape; "border" fits the longer side and fills the rest with the background.
    crop: Crop = "center"
    interpolation: Interpolation = "bilinear"
    # None: all grey stays grey, else RGB. 3: grey is repeated. 1: to grey (ITU-R 601 luma, PIL's "L").
    channels: int | None = None
    # The ground that transparency is put on, and what "border" fills with: a name, "#rrggbb", "R,G,B", a grey level
    # from 0 to 255, or (R, G, B).
    background: str | int | tuple[int, ...] = "white"
    # Where an odd number of rows or columns is cut off: "nearest" is torchvision's round((H - h) / 2), half to even;
    # "floor" is (H - h) // 2, transformers' own center_crop.
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        for name in ("image_size", "resize", "background"):
            if isinstance(given := getattr(self, name), list):
                object.__setattr__(self, name, tuple(given))
        for name, choices in (("crop", Crop), ("interpolation", Interpolation), ("rounding", Rounding)):
            if getattr(self, name) not in get_args(choices):
                must = ", ".join(get_args(choices))
                raise UserError(f"{name} must be one of {must}, got {getattr(self, name)!r}")
        _ = self.ground
        if self.channels not in (None, 1, 3):
            raise UserError(f"channels must be 1 or 3, got {self.channels}")
        if self.image_size is None:
            for name in ("resize", "crop", "interpolation"):
                if getattr(self, name) != getattr(Geometry, name):
                    raise UserError(f"{name} must go with image-size, which is not given")
            return
        sides = self.resize if isinstance(self.resize, tuple) else (self.resize or 1,) * 2
        for name, pair in (("image-size", self.image_size), ("resize", sides)):
            if len(pair) != 2 or not all(1 <= side <= LONGEST_SIDE for side in pair):
                got = " ".join(map(str, pair))
                raise UserError(f"{name} must be 1 to {LONGEST_SIDE} pixels a side, height first, got {got}")

    @cached_property
    def ground(self) -> tuple[int, int, int]:
        """The background as (R, G, B)."""
        return parse_colour(self.background)

    @property
    def has_grey_ground(self) -> bool:
        """Whether the background is a level of grey."""
        return len(set(self.ground)) == 1

    def apply(self, image: "Image") -> "Image":
        """Return a PIL image of mode L or RGB scaled and cropped to image_size, in the wanted channels."""
        from PIL import Image

        if self.channels is not None:
            image = image.convert("RGB" if self.channels == 3 else "L")
        if self.image_size is None:
            return image
        size = self.scaled_size(image.size)
        if size != image.size:
            if size[0] * size[1] > SCALED_PIXELS:
                got = f"{image.size[0]:,} x {image.size[1]:,}"
                raise UserError(f"must be scaled to at most {SCALED_PIXELS:,} pixels, got {got}, which become more")
            image = image.resize(size, Image.Resampling[self.interpolation.upper()])
        height, width = self.image_size
        if image.size == (width, height):
            return image
        fill = self.ground if self.crop == "border" else (0, 0, 0)  # torchvision pads with zeros
        cut = Image.new("RGB", (width, height), fill).convert(image.mode)
        cut.paste(image, (-self._offset(image.width, width), -self._offset(image.height, height)))
        return cut

    def scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (W, H) before the crop, for an image of (W, H)."""
        assert self.image_size is not None
        width, height = size
        box_height, box_width = self._box()
        if self.crop == "squash":
            return box_width, box_height
        shorter = self.resize if isinstance(self.resize, int) else box_height
        if self.crop == "center" and (isinstance(self.resize, int) or box_height == box_width):
            short, long = sorted(size)  # torchvision's Resize(shorter)
            longer = int(shorter * long / short)
            return (shorter, longer) if width <= height else (longer, shorter)
        ratios = height / box_height, width / box_width  # timm's ResizeKeepRatio
        ratio = max(ratios) if self.crop == "border" else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def _box(self) -> tuple[int, int]:
        """Return the (H, W) that the image covers, takes the shape of, or fits into."""
        assert self.image_size is not None
        height, width = self.image_size
        if isinstance(self.resize, tuple):
            return self.resize[0], self.resize[1]
        if self.resize is None:
            return height, width
        return round(self.resize * height / min(height, width)), round(self.resize * width / min(height, width))

    def _offset(self, size: int, wanted: int) -> int:
        """Return where the crop begins; below 0 where the image is smaller than the crop."""
        if self.rounding == "floor":
            return (size - wanted) // 2
        return round((size - wanted) / 2) if size >= wanted else -((wanted - size) // 2)

    def __str__(self) -> str:
        """Return what is done, in words; empty where nothing is."""
        colours = {None: "", 1: "to grey", 3: "to RGB"}[self.channels]
        if self.image_size is None:
            return colours
        height, width = self.image_size
        box_height, box_width = self._box()
        if self.crop == "squash":
            scaled = f"both sides to {box_height} x {box_width} whatever the shape"
        elif self.crop == "border":
            scaled = f"fitted into {box_height} x {box_width}, the rest {self.ground_words}"
        elif isinstance(self.resize, int) or box_height == box_width:
            scaled = f"shorter side to {self.resize if isinstance(self.resize, int) else box_height}"
        else:
            scaled = f"scaled to cover {box_height} x {box_width}"
        parts = (scaled, f"centre {height} x {width}", self.interpolation, colours)
        return ", ".join(filter(None, parts))

    @property
    def ground_words(self) -> str:
        """The background in words."""
        named = {(level,) * 3: name for name, level in GREYS.items()}
        return named.get(self.ground, f"RGB {','.join(map(str, self.ground))}")


def parse_colour(value: str | int | tuple[int, ...]) -> tuple[int, int, int]:
    """Return the (R, G, B) of a name, "#rrggbb", "R,G,B", a grey level, or three numbers; else a `UserError`."""
    if isinstance(value, str) and value in GREYS:
        return (GREYS[value],) * 3
    from PIL import ImageColor

    levels: tuple[int, ...] = ()
    if isinstance(value, str):
        words = [word.strip() for word in value.split(",")]
        if all(word.isascii() and word.isdigit() for word in words):
            levels = tuple(int(word) for word in words if len(word) <= 3)
        else:
            try:
                levels = ImageColor.getrgb(value)
            except ValueError:
                levels = ()
    else:
        levels = (value,) if isinstance(value, int) else value
    if len(levels) == 1:
        levels *= 3
    if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
        must = "a colour's name, #rrggbb, R,G,B or a grey level from 0 to 255"
        raise UserError(f"background must be {must}, got {value!r}")
    return levels[0], levels[1], levels[2]
