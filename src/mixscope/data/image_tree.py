"""Image trees: a folder or an archive with one folder per class, decoded into one uint8 tensor per part."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mixscope.base.errors import UserError
from mixscope.base.reading import check_size, memory_bytes
from mixscope.data.image_data import DecodedSet, Progress
from mixscope.data.members import count_members, read_members
from mixscope.data.pixels import check_same_size, decode_image, stacked_set

if TYPE_CHECKING:
    import numpy as np

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
PART_NAMES = ("train", "test", "val")
REPORT_EVERY = 500
FILE_BYTES = 1 << 27  # 128 MiB of one encoded image: twice the most pixels in four bytes each
MEMORY_SHARE = 0.5  # of the machine's memory, that the decoded images may take: splits and subsets are copies
SMALLER = "{}; scale the images down"
LAYOUT = "train/CLASS/FILE and test/CLASS/FILE, or CLASS/FILE"


def read_image_tree(path: Path, *, progress: Progress | None = None) -> DecodedSet:
    """Decode every image of a folder or archive.

    Two layouts: train/CLASS/FILE with test/CLASS/FILE (or val/ where there is no test/), or CLASS/FILE; one folder
    around everything is allowed. Class names in sorted order are the labels, files in sorted order the examples, so a
    folder and any archive of it give the same set. Hidden files, __MACOSX and files that are no images are left out.
    Images that are all grey have one channel; else all are RGB, transparency dropped. A `UserError` if an image cannot
    be read, sizes differ, a file is at another depth, a class is empty, or the archive is damaged or leads outside
    itself.
    """
    pixels: dict[str, np.ndarray] = {}
    folders: list[str] = []
    expected, first = count_members(path, _is_image), ""
    for name, content in read_members(path, _is_image, ceiling=FILE_BYTES, why=SMALLER.format("one image")):
        if content is None:
            if not _is_hidden(name):
                folders.append(name)
            continue
        if name in pixels:
            raise UserError(f"{path}: member {name!r} is in the archive twice")
        pixels[name] = decode_image(content, source=f"{path}: {name}")
        first = first or name
        check_same_size(((first, pixels[first]), (name, pixels[name])), source=path)
        check_size(
            max(expected, len(pixels)) * max(pixels[first].nbytes, pixels[name].nbytes),
            ceiling=int(MEMORY_SHARE * memory_bytes()),
            source=f"{path}: {max(expected, len(pixels)):,} images decoded",
            why=SMALLER.format("half of this machine's memory"),
        )
        if progress is not None and len(pixels) % REPORT_EVERY == 0:
            progress("decoding images", len(pixels), expected or None)
    # A folder that is named like an image and holds none: something else is meant by the name.
    inner = {parent.as_posix() for name in pixels for parent in PurePosixPath(name).parents}
    stray = next((folder for folder in folders if _is_image(folder) and folder not in inner), None)
    if stray is not None:
        raise UserError(f"{path}: {stray} must be an image, as its name says, got a folder without images")
    if not pixels:
        raise UserError(f"{path}: no images found; needed are files {LAYOUT} ({', '.join(IMAGE_SUFFIXES)})")
    if progress is not None:
        progress("decoding images", len(pixels), len(pixels))
    return _assemble(path, pixels, folders)


def _assemble(path: Path, pixels: "dict[str, np.ndarray]", folders: list[str]) -> DecodedSet:
    places, class_folders = _layout(sorted(pixels), folders, path)
    held = {part for part, _ in places.values()}
    if "train" not in held:
        raise UserError(f"{path}: no images under train/; needed are {LAYOUT}")
    test_part = next((part for part in ("test", "val") if part in held), None)
    class_names = sorted({name for part, name in [*places.values(), *class_folders] if part == "train"})
    labels = {name: label for label, name in enumerate(class_names)}
    parts: dict[str, tuple[dict[str, np.ndarray], list[int]]] = {}
    for part in ("train", test_part or "no test part"):
        names = [name for name, (place, _) in places.items() if place == part]
        strangers = sorted({places[name][1] for name in names} - set(class_names))
        if strangers:
            raise UserError(f"{path}: {part}/ has classes that train/ lacks: {', '.join(strangers)}")
        if names:
            parts[part] = {name: pixels.pop(name) for name in names}, [labels[places[name][1]] for name in names]
    notes = f"images of {path.name}" + ("; val/ left out" if test_part == "test" and "val" in held else "")
    return stacked_set(parts, class_names=tuple(class_names), notes=notes, source=path)


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
            pairs = [(folder[0], folder[1]) for folder in folder_parts if len(folder) == 2]
            classes = [(part, name) for part, name in pairs if part in PART_NAMES]
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
