"""Cache folder: where downloads and decoded images lie, and the words where it cannot be written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixscope.base.errors import UserError

CACHE_VARIABLE = "MIXSCOPE_CACHE"


def cache_folder() -> Path:
    """Return the folder for downloads and decoded images: MIXSCOPE_CACHE, or the system's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mixscope")


def disk_error(folder: Path, error: OSError) -> UserError:
    """Return the one-line error for a folder that cannot be written."""
    advice = f"free some space there or set {CACHE_VARIABLE} to another folder"
    return UserError(f"cannot write to {folder}: {error.strerror or error}; {advice}")


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the system raises in the block into `disk_error`."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error
