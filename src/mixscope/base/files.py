"""Files that appear whole or not at all, and carry the SHA-256 of their content; places to write to."""

import glob
import hashlib
import mmap
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mixscope.base.errors import UserError
from mixscope.base.reading import open_regular

TEMPORARY = re.compile(r"\..+\.\d+\.tmp", flags=re.DOTALL)
PAGE_SUFFIXES = (".html", ".htm")
SEAL_LENGTH = 64  # hexadecimal digits
SEAL_MARK = b"mixscope-sha256:"
EMPTY_SEAL = SEAL_MARK + b"0" * SEAL_LENGTH


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under `path` whole or not at all (write, fsync, rename).

    What a killed process left of an earlier try is removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        with _temporary_file(path) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if os.name == "nt":
                    file.close()  # Windows renames no open file; elsewhere it stays locked until it has its name
                Path(file.name).replace(path)
            finally:
                with suppress(OSError):
                    Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        # A failed write names no file, and a failed rename the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files in `folder` that nobody is writing any more, of the file `name` or of all.

    A writer locks its temporary file, and the system lets go of the lock when the writer ends, however it ends.
    """
    pattern = ".*.tmp" if name is None else f".{glob.escape(name)}.*.tmp"
    for path in folder.glob(pattern):
        with suppress(OSError):  # another user's, or just gone
            if TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with path.open("r+b") as file:
                    if lock_or_not(file.fileno()):
                        path.unlink()


def lock_or_not(descriptor: int) -> bool:
    """Lock an open file without waiting; return whether that could be done. An OSError where there are no locks."""
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)


def check_writable(folder: Path) -> None:
    """Raise a `UserError` unless `folder` is, or can be made, a folder that can be written to. Makes nothing."""
    places = (folder.absolute(), *folder.absolute().parents)
    existing = next((place for place in places if place.exists() or place.is_symlink()), places[-1])
    if existing.is_symlink() and not existing.exists():
        raise UserError(f"{folder} must be a folder, but {existing} is a link to nowhere")
    if not existing.is_dir():
        raise UserError(f"{folder} must be a folder, but {existing} is none")
    if not os.access(existing, os.W_OK):
        raise UserError(f"{folder} must be writable, but {existing} is not")


def check_out(folder: Path, *, files: Iterable[str] = ()) -> None:
    """Raise a `UserError` unless `folder`, of --out, can take the files that a command writes. Makes nothing.

    It is a folder that can be written to, or a place for one, not a link; nothing but plain files is ever replaced.
    """
    if folder.suffix.lower() in PAGE_SUFFIXES and not folder.is_dir():
        raise UserError(f"out must be a folder, which the page is written into, got {folder}; try {folder.parent}")
    if folder.is_symlink():
        raise UserError(f"out must be a folder of its own, but {folder} is a link")
    check_writable(folder)
    for name in files:
        path = folder / name
        if path.parent.exists() and not path.parent.is_dir():
            raise UserError(f"{path.parent} must be a folder, or not there, but it is a file")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            what = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "a device"
            raise UserError(f"{path} must be a plain file, or not there, but it is {what}")


def fill_seal(content: bytearray | memoryview, position: int) -> None:
    """Write the SHA-256 of a file's content, taken with zeros in its own place, into the empty seal at a position."""
    end = position + len(EMPTY_SEAL)
    if bytes(content[position:end]) != EMPTY_SEAL:
        raise ValueError(f"content must hold the empty seal at {position}, but it does not")
    content[end - SEAL_LENGTH : end] = hashlib.sha256(content).hexdigest().encode()


def seal_fits(path: Path) -> bool | None:
    """Return whether a regular file is as it was when it was sealed, or None if it carries no seal."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            return None  # nothing can be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(SEAL_MARK)
            if start < 0:
                return None
            start += len(SEAL_MARK)
            with memoryview(content) as view:
                digest = hashlib.sha256(view[:start])
                digest.update(b"0" * SEAL_LENGTH)
                digest.update(view[start + SEAL_LENGTH :])
                return bytes(view[start : start + SEAL_LENGTH]) == digest.hexdigest().encode()


def _temporary_file(path: Path) -> IO[bytes]:
    """Open a new file beside `path`, locked where the file system has locks."""
    while True:
        file = path.with_name(f".{path.name}.{secrets.randbelow(10**12)}.tmp").open("xb")
        with suppress(OSError):
            lock_or_not(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # swept between being opened and being locked
