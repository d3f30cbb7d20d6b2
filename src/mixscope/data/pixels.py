"""Pixels of encoded images: decoded within a ceiling, upright, on a ground, of 8 bits a channel, scaled and cropped."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixscope.base.errors import UserError
from mixscope.base.reading import one_line, reason_of
from mixscope.data.geometry import Geometry
from mixscope.data.image_formats import FORMATS, other_format
from mixscope.data.members import HEAD_BYTES

if TYPE_CHECKING:
    import numpy as np

GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "P", "PA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
IMAGE_PIXELS = 1 << 24  # 4096 x 4096, more than networks for images are trained on
SCALED_IMAGE_PIXELS = 1 << 26  # of an image that is scaled down: cameras give 8192 x 8192
ORIENTATION = 274  # the EXIF tag
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of one image, and what was noticed on the way."""

    pixels: "np.ndarray"  # (H, W) uint8 where it is grey, else (H, W, 3) uint8
    size: tuple[int, int]  # (W, H) in the file
    is_turned: bool  # as its EXIF orientation asks
    is_transparent: bool  # in some places
    is_blank: bool  # transparent, and on the ground nothing of it shows
    brightest: int | None  # of 16-bit grey levels; None where there are 8 bits
    is_animated: bool  # its first frame was taken


def decode_image(content: bytes | bytearray, *, source: str, geometry: Geometry) -> Decoded:
    """Decode one encoded image; see `image_pixels`; a `UserError` also if it is damaged or too large."""
    from PIL import Image, UnidentifiedImageError

    def words(error: BaseException) -> str:
        if not isinstance(error, UnidentifiedImageError):
            return reason_of(error)
        other = other_format(bytes(content[:HEAD_BYTES]))
        return f"{f'{other}, ' if other else ''}none of {', '.join(FORMATS)}"

    ceiling = IMAGE_PIXELS if geometry.image_size is None else SCALED_IMAGE_PIXELS
    # PIL's decoders raise nearly anything on damaged files.
    with one_line(source, "not a readable image", Exception, words=words):
        image = Image.open(io.BytesIO(content), formats=FORMATS)  # reads the header alone
        width, height = image.size
        if width * height > ceiling:
            advice = "scale the image down" if geometry.image_size else "scale the image down, or give an image size"
            raise UserError(f"{source}: must have at most {ceiling:,} pixels, got {width:,} x {height:,}; {advice}")
        image.load()
    return image_pixels(image, source=source, geometry=geometry)


def image_pixels(image: Any, *, source: str, geometry: Geometry) -> Decoded:
    """Return the pixels of a PIL image as a network is to get them.

    It is turned upright by its EXIF orientation, transparency is put on the geometry's background, 16-bit grey keeps
    its higher 8 bits (as PIL reads 16-bit colour, and torchvision scales integers), and the geometry is applied. A
    `UserError` if it has floats or more than 16 bits.
    """
    import numpy as np

    size, is_animated = image.size, bool(getattr(image, "is_animated", False))
    with one_line(source, "not a readable image", Exception):
        image, is_turned = _upright(image)
        plain, alpha, brightest = _opaque(image, source)
        is_blank = False
        if alpha is not None:
            if not geometry.has_grey_ground:
                plain = plain.convert("RGB")
            ground = geometry.ground if plain.mode == "RGB" else geometry.ground[0]
            plain = _on_ground(plain, alpha, ground)
            is_blank = _is_flat(plain) and not _is_flat(alpha)
        plain = geometry.apply(plain)
        return Decoded(np.asarray(plain), size, is_turned, alpha is not None, is_blank, brightest, is_animated)


def _upright(image: Any) -> tuple[Any, bool]:
    """Return the image turned as its EXIF orientation asks, and whether it was."""
    from PIL import Image

    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data raise nearly anything; the pixels are sound
        turn = None
    if turn is None:
        return image, False
    turned = image.transpose(Image.Transpose[turn])
    turned.info = image.info
    return turned, True


def _opaque(image: Any, source: str) -> tuple[Any, Any, int | None]:
    """Return the image as L or RGB, its alpha channel where it is transparent, and its brightest level of 16 bits."""
    if image.mode in DEEP_MODES:
        return _shallow(image, source)
    if image.mode not in GREY_MODES + COLOUR_MODES:
        depth = " (floats)" if image.mode == "F" else ""
        raise UserError(f"{source}: images must have 8 or 16 bits a channel, got PIL mode {image.mode}{depth}")
    wanted = "L" if image.mode in GREY_MODES else "RGB"
    if not image.has_transparency_data:
        return image if image.mode == wanted else image.convert(wanted), None, None
    with_alpha = image.convert("LA" if wanted == "L" else "RGBA")
    alpha = with_alpha.getchannel("A")
    if wanted == "L":
        plain = with_alpha.getchannel("L")
    else:
        with_alpha.info.pop("transparency", None)
        plain = with_alpha.convert("RGB")
    return plain, alpha if alpha.getextrema()[0] < 255 else None, None


def _shallow(image: Any, source: str) -> tuple[Any, Any, int]:
    """Return the higher 8 of the 16 bits of a grey image, its alpha channel where it has one, its brightest level."""
    import numpy as np
    from PIL import Image

    levels = np.asarray(image)
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > 0xFFFF:
        raise UserError(f"{source}: images must have 8 or 16 bits a channel, got levels from {low:,} to {high:,}")
    clear = image.info.get("transparency")
    alpha = None
    if isinstance(clear, int) and (levels == clear).any():
        alpha = Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8))
    return Image.fromarray((levels.astype(np.uint16) >> 8).astype(np.uint8)), alpha, high


def _on_ground(image: Any, alpha: Any, ground: Any) -> Any:
    from PIL import Image

    whole = Image.new(image.mode, image.size, ground)
    whole.paste(image, mask=alpha)
    return whole


def _is_flat(image: Any) -> bool:
    extrema = image.getextrema()
    return all(low == high for low, high in (extrema if isinstance(extrema[0], tuple) else (extrema,)))
