"""Table of the image sets known by name; its rows stand in named_sets.toml."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mixscope.data.cifar import CIFAR10_FILES, CIFAR100_FILES, read_cifar10_folder, read_cifar100_folder
from mixscope.data.download import RemoteFile
from mixscope.data.idx import existing_idx, read_idx_folder
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set
from mixscope.data.svhn import read_svhn_folder


@dataclass(frozen=True)
class SetReader:
    """How the files of a set are read.

    Attributes:
        read: Decodes the files of a folder; given the folder and the K class names.
        is_slow: Whether that takes seconds, so that its result is cached.
        extracted: Paths, relative to the folder, that replace the downloaded archive where all of them are there.
    """

    read: Callable[[Path, tuple[str, ...]], DecodedSet]
    is_slow: bool = False
    extracted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """What is known about a set before any of its files is opened.

    Attributes:
        name: What the user writes.
        reader: Key of READERS.
        class_names: K names; where the files name the classes, only their number counts.
        image_shape: (C, H, W).
        num_train: Training images; all images where a seeded split divides them.
        num_test: Official test images, or 0.
        licence: As its authors state it.
        citation: One line.
        folders: Folder names it is looked for in; the first is the one downloads go to.
        files: What is downloaded; in the table an `address`, and MD5 checksums by file name.
        comes_with: Folder in an installed package that brings the set, which then has no files of its own.
    """

    name: str
    reader: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    licence: str
    citation: str
    folders: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    comes_with: str = ""

    @property
    def package_folder(self) -> Path | None:
        """The folder in an installed package that brings the set; None where none does."""
        package, _, inside = self.comes_with.partition("/")
        spec = find_spec(package) if package else None
        return None if spec is None or spec.origin is None else Path(spec.origin).parent / inside

    def files_in(self, folder: Path) -> tuple[Path, ...]:
        """Return the paths that are read from `folder`, whether they are there or not."""
        extracted = READERS[self.reader].extracted
        if extracted and all((folder / name).is_file() for name in extracted):
            return tuple(folder / name for name in extracted)
        if self.reader == "idx":
            return tuple(existing_idx(folder, file.name.removesuffix(".gz")) for file in self.files)
        return tuple(folder / file.name for file in self.files)

    def missing_in(self, folder: Path) -> tuple[str, ...]:
        """Return the names of the files that `folder` lacks; empty where the set can be read from it."""
        return tuple(path.name for path in self.files_in(folder) if not path.is_file())


def read_digits(_: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Return the 1,797 8 x 8 digits that come with scikit-learn, in its order.

    Their 17 grey levels 0..16 are stored as value * 15, so that uint8 holds them exactly and linearly.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(15).to(torch.uint8).unsqueeze(1)
    everything = LabelledImages(images, torch.from_numpy(digits.target).long())
    notes = "embedded in scikit-learn; grey levels 0..16 times 15"
    return checked_set(everything, None, class_names=class_names, notes=notes, source="digits")


READERS = {
    "digits": SetReader(read_digits),
    "idx": SetReader(read_idx_folder),
    "cifar10": SetReader(read_cifar10_folder, True, tuple(f"cifar-10-batches-py/{name}" for name in CIFAR10_FILES)),
    "cifar100": SetReader(read_cifar100_folder, True, tuple(f"cifar-100-python/{name}" for name in CIFAR100_FILES)),
    "svhn": SetReader(read_svhn_folder, True),
}


def _row(name: str, row: dict[str, Any]) -> NamedSet:
    address, md5s, classes = row.pop("address", ""), row.pop("md5", {}), row.pop("class_names")
    others: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return NamedSet(
        name=name,
        files=tuple(RemoteFile(address + file, md5, file) for file, md5 in md5s.items()),
        class_names=tuple(map(str, range(classes)) if isinstance(classes, int) else classes),
        **others,
    )


_TABLE = tomllib.loads(Path(__file__).with_name("named_sets.toml").read_text(encoding="utf-8"))
NAMED_SETS = {name: _row(name, row) for name, row in _TABLE.items()}
