"""Loading of data sets: a name, a path, or a hub name goes in, ImageData comes out."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mixscope.base.checks import nearest
from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.data.cache import decoded_once, written_once
from mixscope.data.cache_place import cache_folder
from mixscope.data.download import fetch_files
from mixscope.data.geometry import Geometry
from mixscope.data.hub import PREFIX, read_hub
from mixscope.data.image_data import DecodedSet, ImageData, LabelledImages, Progress
from mixscope.data.image_tree import NO_TRAIN, decode_image_tree
from mixscope.data.mapped import take_rows
from mixscope.data.members import ARCHIVE_SUFFIXES, is_archive
from mixscope.data.named_sets import NAMED_SETS, READERS, NamedSet, existing_folder, locate, locate_copy
from mixscope.data.npz import read_npz
from mixscope.data.pixel_store import StoredSet, pixel_store
from mixscope.data.rescaling import geometry_key, scaled_set
from mixscope.data.splits import stratified_split
from mixscope.data.tree_layout import TEST_PARTS, part_of


@dataclass(frozen=True)
class SetStatus:
    """Where a named set is on this machine."""

    named: NamedSet
    found: Path | None  # the folder that has all its files, or else an archive of its images
    missing: tuple[str, ...]  # names of the original files that are not there


def load_data(
    spec: str | Path,
    *,
    data_dir: str | Path | None = None,
    test_size: float = 0.2,
    split_seed: int = 0,
    geometry: Geometry = Geometry(),  # noqa: B008 (frozen)
    allow_test_only: bool = False,
    progress: Progress | None = None,
) -> ImageData:
    """Load a data set, downloading or decoding it the first time.

    Args:
        spec: A name of NAMED_SETS; or "hf:NAME" for the Hugging Face hub; or the path of a folder or archive of images
            (train/CLASS/FILE and test/CLASS/FILE, or CLASS/FILE) or of an .npz file. A name wins over a folder of the
            same name: write ./mnist for the folder.
        data_dir: Where named sets are looked for first; then in the folder that MIXSCOPE_DATA names, then in the
            cache. A set that is nowhere is downloaded to data_dir, or to the cache where none is given.
        test_size: Where the set has no test part of its own: the share (0, 1) or count (at least 1) split off.
        split_seed: Seed of that split.
        geometry: How images of any size become pixels; as it is made, they stay as they are and must agree in size.
        allow_test_only: Take a test part alone, in a folder, archive or .npz file: the training part is then empty. A
            folder of classes whose own name is that of a test part (imagenet/val) is one.
        progress: Told how far a download or the decoding is.

    Returns:
        The checked set on the CPU; memory-mapped where it comes from the cache.

    Raises:
        UserError: If the name is unknown, a path or data_dir is missing, or a file cannot be read or makes no set.

    Example:
        >>> data = load_data("digits", test_size=0.25)
        >>> data.image_shape, data.num_classes, len(data.train_images), len(data.test_images)
        ((1, 8, 8), 10, 1347, 450)
    """
    if data_dir is not None:
        existing_folder(data_dir, name="data-dir")  # also where the set is no named one: a slip must not go unseen
    if isinstance(spec, str) and not is_path(spec):
        if spec in NAMED_SETS:
            decoded = _read_named(NAMED_SETS[spec], data_dir, geometry, progress)
        elif spec.startswith(PREFIX):
            decoded = read_hub(spec.removeprefix(PREFIX), geometry=geometry, progress=progress)
        else:
            known = f"one of {', '.join(NAMED_SETS)}, {PREFIX}NAME or a path"
            raise UserError(f"data must be {known}, got {spec!r}{nearest(spec, NAMED_SETS)}")
        return _image_data(spec, decoded, source=spec, test_size=test_size, split_seed=split_seed)
    path = Path(spec).expanduser()
    decoded = _read_path(path, geometry, progress, allow_test_only=allow_test_only)
    name = path.resolve().name.split(".")[0]
    if allow_test_only and decoded.test is None and part_of(name) in TEST_PARTS:
        nothing = LabelledImages(decoded.train.images[:0], decoded.train.labels[:0])
        decoded = replace(decoded, train=nothing, test=decoded.train)
    return _image_data(name, decoded, source=str(path), test_size=test_size, split_seed=split_seed)


def data_status(data_dir: str | Path | None = None) -> tuple[SetStatus, ...]:
    """Say for every named set where it is on this machine, or which files are missing; decodes and downloads nothing.

    A `UserError` if data_dir, which is looked in first, or MIXSCOPE_DATA names a folder that is not there.
    """
    found = ((named, *locate(named, data_dir)) for named in NAMED_SETS.values())
    return tuple(SetStatus(named, folder or locate_copy(named, data_dir), lacks) for named, folder, lacks in found)


def fetch_data(name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Return the folder with the files of a named set, downloading them where this machine lacks them.

    It is looked for first, and downloaded to, in data_dir, or the cache where that is None. A `UserError` if the name
    is unknown, data_dir is not there, or a download fails.
    """
    if data_dir is not None:
        existing_folder(data_dir, name="data-dir")
    if name not in NAMED_SETS:
        raise UserError(f"data must be one of {', '.join(NAMED_SETS)}, got {name!r}{nearest(name, NAMED_SETS)}")
    named = NAMED_SETS[name]
    found, _ = locate(named, data_dir)
    if found is not None:
        return found
    root = cache_folder() if data_dir is None else Path(data_dir).expanduser()
    return fetch_files(named.files, root / named.folders[0], progress=progress)


def _read_named(
    named: NamedSet, data_dir: str | Path | None, geometry: Geometry, progress: Progress | None
) -> DecodedSet:
    folder, _ = locate(named, data_dir)
    copy = locate_copy(named, data_dir) if folder is None else None
    if copy is not None:
        decoded = _read_path(copy, geometry, progress)
        if len(decoded.class_names) != len(named.class_names):
            raise UserError(f"{copy} must hold {len(named.class_names)} classes, got {len(decoded.class_names)}")
        return replace(decoded, notes=f"{decoded.notes}, not the original files: pixels may differ")
    found = fetch_data(named.name, data_dir, progress) if folder is None else folder
    reader = READERS[named.reader]
    if not reader.is_slow:
        return scaled_set(reader.read(found, named.class_names), geometry)
    kind = f"{named.name} {geometry_key(geometry)}".strip()
    return decoded_once(
        kind, named.files_in(found), lambda: scaled_set(reader.read(found, named.class_names), geometry)
    )


def _read_path(
    path: Path, geometry: Geometry, progress: Progress | None, *, allow_test_only: bool = False
) -> DecodedSet:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return scaled_set(read_npz(path, allow_test_only=allow_test_only), geometry)
    if path.is_dir() or is_archive(path):

        def make(write: Callable[[StoredSet], None]) -> None:
            with pixel_store(cache_folder() / "decoded") as store:
                write(
                    decode_image_tree(
                        path, store, geometry=geometry, progress=progress, allow_test_only=allow_test_only
                    )
                )

        decoded = written_once(f"images {geometry!r}", [path], make)
        if not decoded.has_train and not allow_test_only:
            raise UserError(f"{path}: {NO_TRAIN}")
        return decoded
    raise UserError(f"{path}: must be a folder, an .npz file or an archive ({', '.join(ARCHIVE_SUFFIXES)})")


def _image_data(name: str, decoded: DecodedSet, *, source: str, test_size: float, split_seed: int) -> ImageData:
    """Return the set with its own test part, or with one split off; errors begin with `source`."""
    train, test, notes = decoded.train, decoded.test, decoded.notes
    if test is None:
        try:
            generator = named_generator(split_seed, "data split")
            kept, held_out = stratified_split(train.labels, test_size, generator, class_names=decoded.class_names)
        except UserError as error:
            raise UserError(f"{source} has no test part, and none can be split off: {error}") from error
        notes += f"; no test part, {len(held_out)} of {len(train)} split off with split_seed {split_seed}"
        train, test = (LabelledImages(take_rows(train.images, rows), train.labels[rows]) for rows in (kept, held_out))
    counts = torch.bincount(test.labels, minlength=len(decoded.class_names)).tolist()
    absent = [label for label, count in zip(decoded.class_names, counts, strict=True) if not count]
    if absent:
        notes += f"; no test image of class {', '.join(absent)}"
    if not decoded.has_train:
        notes += "; a test part alone: channel_mean and channel_std are those of the test images"
    return ImageData(
        name=name,
        train_images=train.images,
        train_labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        class_names=decoded.class_names,
        notes=notes,
        has_train=decoded.has_train,
        cautions=decoded.cautions,
    )


def is_path(spec: str) -> bool:
    """Return whether `load_data` takes a spec as the path of a file or folder."""
    if spec in NAMED_SETS or spec.startswith(PREFIX):
        return False
    return "/" in spec or os.sep in spec or spec.lower().endswith((*ARCHIVE_SUFFIXES, ".npz")) or Path(spec).exists()
