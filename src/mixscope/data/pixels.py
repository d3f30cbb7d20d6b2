"""Pixels of encoded images: decoded within a ceiling, of one size, stacked into one tensor per part."""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import one_line, reason_of
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set

if TYPE_CHECKING:
    import numpy as np

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
IMAGE_PIXELS = 1 << 24  # 4096 x 4096, more than networks for images are trained on
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # told by content; PIL knows some that run programs


def decode_image(content: bytes | bytearray, *, source: str) -> "np.ndarray":
    """Return the pixels of one encoded image as `image_pixels`; a `UserError` also if it is damaged or too large."""
    from PIL import Image, UnidentifiedImageError

    def words(error: BaseException) -> str:
        return f"none of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else reason_of(error)

    # PIL's decoders raise nearly anything on damaged files.
    with one_line(source, "not a readable image", Exception, words=words), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own ceiling is lower
        image = Image.open(io.BytesIO(content), formats=FORMATS)  # reads the header alone
        width, height = image.size
        if width * height > IMAGE_PIXELS:
            raise UserError(
                f"{source}: must have at most {IMAGE_PIXELS:,} pixels, got {width:,} x {height:,}; scale the image down"
            )
        image.load()
    return image_pixels(image, source=source)


def image_pixels(image: Any, *, source: str) -> "np.ndarray":
    """Return the pixels of a PIL image of 8 bits a channel, (H, W) uint8 where it is grey, else (H, W, 3) uint8."""
    import numpy as np

    if image.mode in GREY_MODES:
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    if image.mode in COLOUR_MODES:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    # Converting 16-bit grey to 8 bits clips it: refuse rather than spoil.
    raise UserError(f"{source}: images must have 8 bits a channel, got PIL mode {image.mode}")


def check_same_size(images: "Iterable[tuple[str, np.ndarray]]", *, source: str | Path) -> None:
    """Raise a `UserError` that names the first image of another height or width than the first, and both sizes."""
    first = ""
    for name, image in images:
        if not first:
            first, (height, width) = name, image.shape[:2]
        elif image.shape[:2] != (height, width):
            sizes = f"{name} is {image.shape[1]} x {image.shape[0]} and {first} is {width} x {height}"
            raise UserError(f"{source}: all images must have one size, but {sizes}")


def stacked_set(
    parts: "Mapping[str, tuple[dict[str, np.ndarray], Sequence[int]]]",
    *,
    class_names: tuple[str, ...],
    notes: str,
    source: str | Path,
) -> DecodedSet:
    """Make a set of decoded images and their labels; all grey they have one channel, else three.

    Of the training part, then the test part where there is one, `parts` has (H, W) and (H, W, 3) uint8 arrays by name,
    taken out as they are stacked so that none is held twice, and integer labels. A `UserError` where sizes differ, and
    as `checked_set`.
    """
    check_same_size((named for images, _ in parts.values() for named in images.items()), source=source)
    is_grey = all(image.ndim == 2 for images, _ in parts.values() for image in images.values())
    train, *test = (
        LabelledImages(_stack(images, channels=1 if is_grey else 3), torch.tensor(labels, dtype=torch.int64))
        for images, labels in parts.values()
    )
    return checked_set(train, test[0] if test else None, class_names=class_names, notes=notes, source=source)


def _stack(images: "dict[str, np.ndarray]", *, channels: int) -> Tensor:
    height, width = next(iter(images.values())).shape[:2]
    stacked = torch.empty(len(images), channels, height, width, dtype=torch.uint8)
    array = stacked.numpy()
    while images:
        _, image = images.popitem()  # the last, so that what was decoded last is given back to the system first
        array[len(images)] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return stacked
