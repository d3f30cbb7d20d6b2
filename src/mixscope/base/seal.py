"""Checksums inside files: a file that carries the SHA-256 of its own content, so that damage shows when it is read."""

import hashlib
import mmap
import os
from pathlib import Path

from mixscope.base.reading import open_regular

LENGTH = 64  # hexadecimal digits
MARK = b"mixscope-sha256:"
EMPTY_SEAL = MARK + b"0" * LENGTH


def fill_seal(content: bytearray | memoryview, position: int) -> None:
    """Write the SHA-256 of a file's content, taken with zeros in its own place, into the empty seal at a position."""
    end = position + len(EMPTY_SEAL)
    if bytes(content[position:end]) != EMPTY_SEAL:
        raise ValueError(f"content must hold the empty seal at {position}, but it does not")
    content[end - LENGTH : end] = hashlib.sha256(content).hexdigest().encode()


def seal_fits(path: Path) -> bool | None:
    """Return whether a regular file is as it was when it was sealed, or None if it carries no seal."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            return None  # nothing can be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(MARK)
            if start < 0:
                return None
            start += len(MARK)
            with memoryview(content) as view:
                digest = hashlib.sha256(view[:start])
                digest.update(b"0" * LENGTH)
                digest.update(view[start + LENGTH :])
                return bytes(view[start : start + LENGTH]) == digest.hexdigest().encode()
