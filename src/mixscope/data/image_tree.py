"""Image trees: a folder or an archive with one folder per class, decoded one image at a time."""

import os
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from mixscope.base.errors import UserError
from mixscope.data.cache_place import cache_folder
from mixscope.data.geometry import Geometry
from mixscope.data.image_data import DecodedSet, Progress
from mixscope.data.image_formats import IMAGE_SUFFIXES, standing_of
from mixscope.data.image_notes import Tally
from mixscope.data.members import FOLDER_DEPTH, count_members, read_members
from mixscope.data.pixel_store import PixelStore, StoredSet, pixel_store
from mixscope.data.pixels import Decoded, decode_image
from mixscope.data.tree_layout import LAYOUT, TreeLayout, part_of, tree_layout

REPORT_EVERY = 500
FILE_BYTES = 1 << 27  # 128 MiB of one encoded image: twice the most pixels in four bytes each
SMALLER = "one image; scale the images down"
THREADS = min(4, os.cpu_count() or 1)  # PIL decodes outside Python's lock
NO_TRAIN = f"no images under train/; needed are {LAYOUT}; `mixscope measure` takes a test part alone"


def read_image_tree(
    path: Path,
    *,
    geometry: Geometry = Geometry(),  # noqa: B008 (frozen)
    progress: Progress | None = None,
    allow_test_only: bool = False,
) -> DecodedSet:
    """Return the set of `decode_image_tree` with its images in memory."""
    with pixel_store(cache_folder() / "decoded") as store:
        stored = decode_image_tree(path, store, geometry=geometry, progress=progress, allow_test_only=allow_test_only)
        return stored.loaded(source=path)


def decode_image_tree(
    path: Path, store: PixelStore, *, geometry: Geometry, progress: Progress | None, allow_test_only: bool
) -> StoredSet:
    """Decode every image of a folder or archive into a store.

    Two layouts: train/CLASS/FILE with test/CLASS/FILE (or val/ where there is no test/; usual spellings of all three),
    or CLASS/FILE; one folder around everything is allowed. Class names in sorted order are the labels, files in sorted
    order the examples, so a folder and any archive of it give the same set. Files are told by their content: what is
    hidden, in __MACOSX or no image is left out and counted. Images that are all grey have one channel; else all are
    RGB. A `UserError` if an image cannot be read, sizes differ and no image size is given, one is at another depth,
    a class is empty, there is no training part unless that is allowed, or the archive is damaged or
    leads outside itself.
    """
    found = _Tree(path, Tally())
    expected = count_members(path, _is_named_like_one)
    advice = "" if geometry.image_size else "; give an image size to scale them (--image-size 224)"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # of odd metadata; and our own ceiling is lower
        for name, decoded in _decoded(found, geometry):
            if name in store.places:
                raise UserError(f"{path}: member {name!r} is in the archive twice")
            found.tally.add(decoded)
            store.add(name, decoded.pixels, source=path, expected=expected, advice=advice)
            if progress is not None and found.tally.count % REPORT_EVERY == 0:
                progress("decoding images", found.tally.count, expected or None)
    found.check_folders(store.places)
    if progress is not None:
        progress("decoding images", found.tally.count, found.tally.count)
    if problem := found.tally.problem(geometry):
        raise UserError(f"{path}: {problem}")
    layout = tree_layout(store.places, found.folders, path=path)
    if not layout.train and not allow_test_only:
        raise UserError(f"{path}: {NO_TRAIN}")
    labels = {name: label for label, name in enumerate(layout.class_names)}
    parts = {
        part: (list(files), [labels[name] for name in files.values()])
        for part, files in (("train", layout.train), ("test", layout.test))
        if files
    }
    notes = "; ".join([found.tally.notes(geometry, name=path.name), *_layout_notes(layout)])
    stored = StoredSet(store, parts, layout.class_names, notes, found.tally.cautions(geometry))
    stored.check(source=path)
    return stored


@dataclass
class _Tree:
    """What lies in a folder or archive besides its images."""

    path: Path
    tally: Tally
    folders: list[str] = field(default_factory=list)

    def wants(self, name: str, head: bytes | None) -> bool:
        """Say whether a file is to be read, by its first bytes; None where it is no regular file."""
        if _is_hidden(name):
            self.tally.leave_out(name, kind="hidden")
            return False
        if head is None:
            if _is_named_like_one(name):
                return True  # which tells what it is
            self.tally.leave_out(name, kind="no regular file")
            return False
        standing = standing_of(name, head)
        if standing != "image":
            self.tally.leave_out(name, is_image=standing == "other image")
        return standing == "image"

    def add_folder(self, name: str) -> None:
        """Put a folder down, and count it where it lies too deep to be looked into."""
        self.folders.append(name)
        if self.path.is_dir() and name.count("/") + 1 >= FOLDER_DEPTH:
            self.tally.leave_out(name, kind="folder too deep")

    def check_folders(self, images: dict[str, tuple[int, int]]) -> None:
        """Raise where there are no images, or a folder is named like one: something else is meant by the name."""
        inner = {parent.as_posix() for name in images for parent in PurePosixPath(name).parents}
        stray = next((name for name in self.folders if _is_named_like_one(name) and name not in inner), None)
        if stray is not None:
            raise UserError(f"{self.path}: {stray} must be an image, as its name says, got a folder without images")
        if not images:
            seen = f" ({sum(self.tally.left_out.values())} other files)" if self.tally.left_out else ""
            raise UserError(
                f"{self.path}: no images found{seen}; needed are files {LAYOUT} ({', '.join(IMAGE_SUFFIXES)})"
            )


def _decoded(tree: _Tree, geometry: Geometry) -> Iterator[tuple[str, Decoded]]:
    """Yield the images in the order they are read; a few are decoded at a time, and the folders are put down."""
    waiting: deque[tuple[str, Future[Decoded]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for name, content in read_members(tree.path, tree.wants, ceiling=FILE_BYTES, why=SMALLER):
                if content is None:
                    if not _is_hidden(name):
                        tree.add_folder(name)
                    continue
                decode = partial(decode_image, content, source=f"{tree.path}: {name}", geometry=geometry)
                waiting.append((name, pool.submit(decode)))
                if len(waiting) > THREADS:
                    first, decoded = waiting.popleft()
                    yield first, decoded.result()
            while waiting:
                first, decoded = waiting.popleft()
                yield first, decoded.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _layout_notes(layout: TreeLayout) -> list[str]:
    """Say which parts were used, and where labels are not what one might think."""
    notes = [
        f"{count:,} {'image' if count == 1 else 'images'} of {name}/ left out" for name, count in layout.unused.items()
    ]
    if layout.test_folder is not None and part_of(layout.test_folder) == "val":
        notes.insert(0, f"{layout.test_folder}/ is the test part")
    names = layout.class_names
    if all(name.isdecimal() for name in names) and list(names) != sorted(names, key=int):
        wrong = next(label for label, name in enumerate(names) if int(name) != label)
        notes.append(f"classes are in the order of text: label {wrong} is {names[wrong]!r}")
    if layout.num_merged:
        notes.append(f"{layout.num_merged} class folders that differ only in Unicode form are one class each")
    return notes


def _is_named_like_one(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
