"""A folder or an archive of images, one folder per class, decoded into one uint8 tensor per part."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mixscope._errors import UserError
from mixscope.data.images import DecodedSet, LabelledImages, check_decoded
from mixscope.data.members import read_members
from mixscope.data.progress import Progress

if TYPE_CHECKING:
    import numpy as np

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
PART_NAMES = ("train", "test", "val")
GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
REPORT_EVERY = 500
LAYOUT = "train/CLASS/FILE and test/CLASS/FILE, or CLASS/FILE"


def read_image_tree(path: Path, *, progress: Progress | None = None) -> DecodedSet:
    """Decode every image of a folder or archive.

    Two layouts: train/CLASS/FILE with test/CLASS/FILE (or val/ where there is no test/), or CLASS/FILE; one folder
    around everything is allowed. Class names in sorted order are the labels, files in sorted order the examples,
    so a folder and any archive of it give the same set. Hidden files, __MACOSX and files that are no images are left
    out. Images that are all grey have one channel; else all are RGB, transparency dropped.

    Args:
        path: A folder, or an archive (.zip, .tar, .tar.gz, .tgz, .tar.xz).
        progress: Told how many images are decoded.

    Raises:
        UserError: If an image cannot be read, sizes differ, a file is at another depth, a class is empty, or the
            archive is damaged or leads outside itself.
    """
    pixels: dict[str, np.ndarray] = {}
    folders: list[str] = []
    first = ""
    for name, content in read_members(path, _is_image):
        if content is None:
            if not _is_hidden(name):
                folders.append(name)
            continue
        if name in pixels:
            raise UserError(f"{path}: member {name!r} is in the archive twice")
        pixels[name] = decode_image(content, source=f"{path}: {name}")
        first = first or name
        check_same_size({first: pixels[first], name: pixels[name]}, source=str(path))
        if progress is not None and len(pixels) % REPORT_EVERY == 0:
            progress("decoding images", len(pixels), None)
    if not pixels:
        raise UserError(f"{path}: no images found; needed are files {LAYOUT} ({', '.join(IMAGE_SUFFIXES)})")
    if progress is not None:
        progress("decoding images", len(pixels), len(pixels))
    return _assemble(path, pixels, folders)


def decode_image(content: bytes, *, source: str) -> "np.ndarray":
    """Return the pixels of one encoded image, (H, W) uint8 where it is grey, else (H, W, 3) uint8.

    Raises:
        UserError: If it cannot be decoded, or has more than 8 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files.
        reason = "no format of images that is known" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{source}: not a readable image ({reason})") from error
    return image_pixels(image, source=source)


def image_pixels(image: Any, *, source: str) -> "np.ndarray":
    """Return the pixels of a PIL image, (H, W) uint8 where it is grey, else (H, W, 3) uint8.

    Raises:
        UserError: If its pixels have more than 8 bits a channel.
    """
    import numpy as np

    if image.mode in GREY_MODES:
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    if image.mode in COLOUR_MODES:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    # Converting 16-bit grey to 8 bits clips it: refuse rather than spoil.
    raise UserError(f"{source}: images must have 8 bits a channel, got PIL mode {image.mode}")


def check_same_size(pixels: "dict[str, np.ndarray]", *, source: str) -> None:
    """Raise unless all images have the height and width of the first.

    Raises:
        UserError: Naming the first image that differs, and both sizes.
    """
    names = list(pixels)
    height, width = pixels[names[0]].shape[:2]
    for name in names[1:]:
        if pixels[name].shape[:2] != (height, width):
            other_height, other_width = pixels[name].shape[:2]
            raise UserError(
                f"{source}: all images must have one size, but {name} is {other_width} x {other_height} "
                f"and {names[0]} is {width} x {height}"
            )


def stack_pixels(pixels: "Sequence[np.ndarray]", *, channels: int) -> Tensor:
    """Return (N, channels, H, W) uint8 from (H, W) and (H, W, 3) arrays; grey ones are repeated over three channels."""
    height, width = pixels[0].shape[:2]
    stacked = torch.empty(len(pixels), channels, height, width, dtype=torch.uint8)
    array = stacked.numpy()
    for row, image in enumerate(pixels):
        array[row] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return stacked


def _assemble(path: Path, pixels: "dict[str, np.ndarray]", folders: list[str]) -> DecodedSet:
    places, class_folders = _layout(sorted(pixels), folders, path)
    held = {part for part, _ in places.values()}
    if "train" not in held:
        raise UserError(f"{path}: no images under train/; needed are {LAYOUT}")
    test_part = next((part for part in ("test", "val") if part in held), None)
    class_names = sorted({name for part, name in [*places.values(), *class_folders] if part == "train"})
    labels = {name: label for label, name in enumerate(class_names)}
    channels = 1 if all(image.ndim == 2 for image in pixels.values()) else 3
    parts: dict[str, LabelledImages] = {}
    for part in ("train", test_part):
        names = [name for name, (place, _) in places.items() if place == part]
        strangers = sorted({places[name][1] for name in names} - set(class_names))
        if strangers:
            raise UserError(f"{path}: {part}/ has classes that train/ lacks: {', '.join(strangers)}")
        if part is not None and names:
            images = stack_pixels([pixels[name] for name in names], channels=channels)
            parts[part] = LabelledImages(images, torch.tensor([labels[places[name][1]] for name in names]))
    notes = f"images of {path.name}" + ("; val/ left out" if test_part == "test" and "val" in held else "")
    decoded = DecodedSet(parts["train"], parts.get(test_part or ""), tuple(class_names), notes)
    check_decoded(decoded, source=str(path))
    return decoded


def _layout(
    names: list[str], folders: list[str], path: Path
) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str]]]:
    """Return (part, class) of every image, and of every class folder, with or without images."""
    parts = {name: name.split("/") for name in names}
    folder_parts = [folder.split("/") for folder in folders]
    for _ in range(2):
        tops, depths = {part[0] for part in parts.values()}, {len(part) for part in parts.values()}
        if depths == {2}:  # CLASS/FILE
            classes = [("train", folder[0]) for folder in folder_parts if len(folder) == 1]
            return {name: ("train", part[0]) for name, part in parts.items()}, classes
        if depths == {3} and tops <= set(PART_NAMES) and len(tops) > 1:  # train/CLASS/FILE
            classes = [
                (folder[0], folder[1]) for folder in folder_parts if len(folder) == 2 and folder[0] in PART_NAMES
            ]
            return {name: (part[0], part[1]) for name, part in parts.items()}, classes
        if len(tops) > 1 or min(depths) < 3:
            break
        top = tops.pop()  # One folder around everything.
        parts = {name: part[1:] for name, part in parts.items()}
        folder_parts = [folder[1:] for folder in folder_parts if folder[0] == top and len(folder) > 1]
    usual = max(len(part) for part in parts.values())
    odd = next((name for name, part in parts.items() if len(part) != usual), names[0])
    raise UserError(f"{path}: images must lie as {LAYOUT}; {odd} does not")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
