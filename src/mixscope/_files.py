"""Files that appear whole or not at all, and what a killed process leaves of them."""

import glob
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mixscope._errors import UserError

TEMPORARY = re.compile(r"\..+\.\d+\.tmp", flags=re.DOTALL)


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
    """Lock an open file for this process without waiting; return whether that could be done.

    Raises:
        OSError: If its file system has no locks.
    """
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)


def check_writable(folder: Path) -> None:
    """Raise unless `folder` is, or can be made, a folder that can be written to. Makes nothing.

    Raises:
        UserError: Naming what stands in the way.
    """
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"{folder} must be a folder, but {existing} is none")
    if not os.access(existing, os.W_OK):
        raise UserError(f"{folder} must be writable, but {existing} is not")


def _temporary_file(path: Path) -> IO[bytes]:
    """Open a new file beside `path`, locked where the file system has locks."""
    while True:
        file = path.with_name(f".{path.name}.{secrets.randbelow(10**12)}.tmp").open("xb")
        with suppress(OSError):
            lock_or_not(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # swept between being opened and being locked
