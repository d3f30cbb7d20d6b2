"""Layout of image trees: which part and which class a file belongs to, by the folders it lies in."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mixscope.base.errors import UserError

LAYOUT = "train/CLASS/FILE and test/CLASS/FILE, or CLASS/FILE"
PART_WORDS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst"),
    "val": ("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
}
PART_SUFFIX = r"[-_ ]?(set|data|dataset|images|imgs|split)?"
TEST_PARTS = ("test", "val")  # the first one there is used


@dataclass(frozen=True)
class TreeLayout:
    """The parts of a tree of images."""

    train: dict[str, str]  # class by file, in sorted order
    test: dict[str, str]
    test_folder: str | None  # as it is spelt
    unused: dict[str, int]  # folder and number of images of a part that is not used
    class_names: tuple[str, ...]  # sorted
    num_merged: int  # class folders that are another's in other Unicode form


def part_of(folder: str) -> str | None:
    """Return "train", "test" or "val" for a folder's name in one of the usual spellings, in any case, or None.

    Example:
        >>> part_of("Training_Set"), part_of("valid"), part_of("cats")
        ('train', 'val', None)
    """
    name = folder.strip().lower()
    for part, words in PART_WORDS.items():
        if re.fullmatch(f"({'|'.join(words)}){PART_SUFFIX}", name):
            return part
    return None


def tree_layout(files: Iterable[str], folders: Iterable[str], *, path: Path) -> TreeLayout:
    """Find the parts and classes of image files, by their names with "/" in them, and of the folders there are.

    One folder around everything is allowed. Class names are Unicode NFC, as one disk writes them and another does not.
    A `UserError` where the files lie in neither layout, a part is there twice, or a test class is new.
    """
    names = sorted(files, key=lambda name: (_normal(name), name))
    cut = _folders_around(names)
    split = {name: name.split("/")[cut:] for name in names}
    around = names[0].split("/")[:cut]
    inner = [
        folder.split("/")[cut:] for folder in folders if folder.split("/")[:cut] == around and folder.count("/") >= cut
    ]
    depths = {len(parts) for parts in split.values()}
    tops = {parts[0] for parts in split.values()}
    if depths == {2} and len({part_of(top) for top in tops} - {None}) > 1 and all(map(part_of, tops)):
        parted = ", ".join(f"{top}/" for top in sorted(tops))
        raise UserError(f"{path}: {parted} must hold one folder per class, got images")
    if depths == {2}:
        classes = {name: _normal(parts[0]) for name, parts in split.items()}
        known, num_merged = _class_names(parts[0] for parts in (*split.values(), *inner))
        return TreeLayout(classes, {}, None, {}, known, num_merged)
    if depths != {3} or not all(map(part_of, tops)):
        raise UserError(f"{path}: images must lie as {LAYOUT}; {_odd_one(split, tops, depths)} does not")
    spelt = _spellings(tops, path)
    test_folder = next((spelt[part] for part in TEST_PARTS if part in spelt), None)
    train = {name: _normal(parts[1]) for name, parts in split.items() if part_of(parts[0]) == "train"}
    test = {name: _normal(parts[1]) for name, parts in split.items() if parts[0] == test_folder}
    unused = {
        folder: sum(parts[0] == folder for parts in split.values())
        for part, folder in spelt.items()
        if part != "train" and folder != test_folder
    }
    leading = spelt.get("train", test_folder)
    under = (parts[1] for parts in (*split.values(), *inner) if parts[0] == leading and len(parts) > 1)
    known, num_merged = _class_names(under)
    strangers = sorted(set(test.values()) - set(known))
    if strangers:
        raise UserError(f"{path}: {test_folder}/ has classes that {leading}/ lacks: {', '.join(strangers)}")
    return TreeLayout(train, test, test_folder, unused, known, num_merged)


def _folders_around(names: Collection[str]) -> int:
    """Return 1 where one folder, which is neither a part nor a class, lies around everything, else 0."""
    split = [name.split("/") for name in names]
    tops, depths = {parts[0] for parts in split}, {len(parts) for parts in split}
    if len(tops) > 1 or min(depths) < 3:
        return 0
    return 0 if depths == {3} and part_of(tops.pop()) else 1


def _spellings(tops: Iterable[str], path: Path) -> dict[str, str]:
    """Return the folder of every part."""
    spelt: dict[str, str] = {}
    for top in sorted(tops):
        part = part_of(top)
        assert part is not None
        if part in spelt:
            raise UserError(f"{path}: {spelt[part]}/ and {top}/ are one part in two spellings; keep one of them")
        spelt[part] = top
    return spelt


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _class_names(folders: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Return the sorted class names of folders, and how many folders share another's."""
    spelt = set(folders)
    names = tuple(sorted({_normal(folder) for folder in spelt}))
    return names, len(spelt) - len(names)


def _odd_one(split: dict[str, list[str]], tops: Collection[str], depths: Collection[int]) -> str:
    """Return a file that lies deeper or higher than any layout has it, else one that lies otherwise than most."""
    for name, parts in split.items():
        if len(depths) > 1 and len(parts) not in (2, 3):
            return name
    usual = max(depths, key=lambda depth: (sum(len(parts) == depth for parts in split.values()), depth))
    for name, parts in split.items():
        if len(parts) != usual or (len(depths) == 1 and len(tops) > 1 and part_of(parts[0]) is None):
            return name
    return next(iter(split))
