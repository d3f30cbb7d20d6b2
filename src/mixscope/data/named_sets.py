"""Table of the image sets known by name, whose rows stand in named_sets.toml, and where here their files may lie.

The layouts looked for are those that people and torchvision leave behind.
"""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixscope.base.errors import UserError
from mixscope.data.cache_place import cache_folder
from mixscope.data.cifar import CIFAR10_FILES, CIFAR100_FILES, read_cifar10_folder, read_cifar100_folder
from mixscope.data.download import RemoteFile
from mixscope.data.idx_and_matlab import existing_idx, read_idx_folder, read_svhn_folder
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set
from mixscope.data.members import is_archive

DATA_VARIABLE = "MIXSCOPE_DATA"
FIRST_VARIABLE = "MIXSCOPE_DATA_FIRST"  # a data-dir for all that a command runs, in other processes too


@dataclass(frozen=True)
class SetReader:
    """How the files of a set are read, given their folder and the K class names."""

    read: Callable[[Path, tuple[str, ...]], DecodedSet]
    is_slow: bool = False  # Whether that takes seconds, so that its result is cached.
    extracted: tuple[str, ...] = ()  # Paths in the folder that replace the archive where all of them are there.


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """What is known about a set before any of its files is opened."""

    name: str  # as the user writes it
    reader: str  # key of READERS
    class_names: tuple[str, ...]  # K names; where the files name the classes, only their number counts
    image_shape: tuple[int, int, int]  # (C, H, W)
    num_train: int  # all images where a seeded split divides them
    num_test: int  # of the official test part, or 0
    licence: str  # as its authors state it
    citation: str
    folders: tuple[str, ...] = ()  # names it is looked for under; downloads go to the first
    files: tuple[RemoteFile, ...] = ()  # what is downloaded; in the table an `address`, and MD5 by file name
    comes_with: str = ""  # folder in an installed package that brings the set, which then has no files of its own

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


def read_digits(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Return the 1,797 8 x 8 digits that come with scikit-learn, in its order, without the second it takes to load.

    Their 17 grey levels 0..16 are stored as value * 15, so that uint8 holds them exactly and linearly.
    """
    table = torch.from_numpy(np.loadtxt(folder / "digits.csv.gz", delimiter=","))
    everything = LabelledImages(table[:, :-1].mul(15).to(torch.uint8).view(-1, 1, 8, 8), table[:, -1].long())
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


def data_roots(data_dir: str | Path | None) -> list[Path]:
    """Return the folders in which named sets are looked for: `data_dir`, the one MIXSCOPE_DATA names, the cache.

    Between the first two comes the one that MIXSCOPE_DATA_FIRST names, where a command has set it.
    """
    roots = [] if data_dir is None else [existing_folder(data_dir, name="data-dir")]
    for variable in (FIRST_VARIABLE, DATA_VARIABLE):
        if from_environment := os.environ.get(variable):
            roots.append(existing_folder(from_environment, name=variable))
    return [*roots, cache_folder()]


def existing_folder(value: str | Path, *, name: str) -> Path:
    """Return the folder that the option or variable `name` names; a `UserError` if it is not there, or no folder."""
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise UserError(f"{name} must name a folder, but {folder} is none")
    return folder


def locate(named: NamedSet, data_dir: str | Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Return the first folder with all files of a set; or None and what the fullest folder lacks.

    In each root: NAME/, NAME/raw/ (as torchvision has it), raw/, and the root itself. An idx file may be gzipped.
    """
    if (folder := named.package_folder) is not None:
        return folder, ()
    fewest = tuple(file.name for file in named.files)
    for root in data_roots(data_dir):
        places = [root / name / raw for name in named.folders for raw in ("", "raw")]
        for place in [*places, root / "raw", root]:
            missing = named.missing_in(place)
            if place in (root / "raw", root) and _is_of_another_set(named, place):
                continue
            if not missing:
                return place, ()
            fewest = min(fewest, missing, key=len)
    return None, fewest


def locate_copy(named: NamedSet, data_dir: str | Path | None) -> Path | None:
    """Return an archive of images that stands in for a set's own files, or None: in a folder of its name.

    The archive is called as the set is, for example cifar10.zip or cifar10_png.tar.xz; after the name comes neither a
    letter nor a digit, so that cifar100.zip is not taken for cifar10. Such a copy may be encoded anew (JPEG is lossy),
    so it is only looked for where the files themselves are nowhere.
    """
    own = {file.name for file in named.files}
    for root in data_roots(data_dir):
        for folder in named.folders:
            for path in sorted((root / folder).glob(f"{named.name}[!A-Za-z0-9]*")):
                if path.is_file() and is_archive(path) and path.name not in own:
                    return path
    return None


def _is_of_another_set(named: NamedSet, place: Path) -> bool:
    """Say whether files lying directly in `place` are another set's: the idx sets share their file names.

    Told by the name of the folder (or of the one around raw/), or by the checksum of a gzipped label file. Unzipped
    files in a folder of any other name are taken for what was asked for.
    """
    folder = place.parent if place.name == "raw" else place
    return any(
        folder.name.lower() in {name.lower() for name in other.folders}
        or any("labels" in file.name and file.is_at(place / file.name) for file in other.files)
        for other in NAMED_SETS.values()
        if other is not named
    )
