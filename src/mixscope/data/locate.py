"""Places where the files of a named set may lie on this machine: layouts that people and torchvision leave behind."""

import os
from pathlib import Path

from mixscope.base.errors import UserError
from mixscope.data.cache import cache_folder
from mixscope.data.members import is_archive
from mixscope.data.named_sets import NAMED_SETS, NamedSet

DATA_VARIABLE = "MIXSCOPE_DATA"
FIRST_VARIABLE = "MIXSCOPE_DATA_FIRST"  # a data-dir for all that a command runs, in other processes too


def data_roots(data_dir: str | Path | None) -> list[Path]:
    """Return the folders in which named sets are looked for: `data_dir`, the one MIXSCOPE_DATA names, the cache.

    Between the first two comes the one that MIXSCOPE_DATA_FIRST names, where a command has set it.

    Raises:
        UserError: If data_dir or a variable names something that is not a folder.
    """
    roots = [] if data_dir is None else [existing_folder(data_dir, name="data-dir")]
    for variable in (FIRST_VARIABLE, DATA_VARIABLE):
        if from_environment := os.environ.get(variable):
            roots.append(existing_folder(from_environment, name=variable))
    return [*roots, cache_folder()]


def existing_folder(value: str | Path, *, name: str) -> Path:
    """Return the folder that the option or variable `name` names.

    Raises:
        UserError: If it is not there, or no folder.
    """
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise UserError(f"{name} must name a folder, but {folder} is none")
    return folder


def locate(named: NamedSet, data_dir: str | Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Return the first folder with all files of a set; or None and what the fullest folder lacks.

    In each root: NAME/, NAME/raw/ (as torchvision has it), raw/, and the root itself. An idx file may be gzipped. A set
    that an installed package brings is there.
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
    letter nor a digit, so that cifar100.zip is not taken for cifar10.

    Such a copy may be encoded anew (JPEG is lossy), so it is only looked for where the files themselves are nowhere.
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
