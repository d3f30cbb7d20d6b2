"""Members of a folder, a zip or a tar archive, read front to back; nothing is ever extracted to disk."""

import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from mixscope.base.errors import UserError
from mixscope.base.reading import (
    CHUNK_BYTES,
    SMALL_CHUNK_BYTES,
    check_regular,
    check_size,
    one_line,
    open_regular,
    read_at_most,
)
from mixscope.data.tar_stream import StrictHeader, unpacked

Member = tuple[str, bytes | bytearray | None]  # name and content; None for a folder
NameAndStatus = tuple[str, os.stat_result]
# Says by its name and its first bytes whether a file is to be read; None stands for what is no regular file.
Wanted = Callable[[str, bytes | None], bool]
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")
HEAD_BYTES = 512  # by which a file is told
FOLDER_DEPTH = 5  # One more than the deepest layout, TOP/train/CLASS/FILE; it also ends a loop of links.
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a zip's version or compression that does not exist
    UnicodeDecodeError,  # a name
    struct.error,  # a zip's extra fields
)


def is_archive(path: Path) -> bool:
    """Say whether the name ends like an archive that can be read here."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def read_members(path: Path, wanted: Wanted, *, ceiling: int, why: str) -> Iterator[Member]:
    """Yield the wanted files of a folder or archive, and every folder in it.

    Archives are decompressed once, front to back, one file in memory at a time, of at most `ceiling` bytes; `why` says
    what the files are and what to do about large ones. Names have "/" between their parts. A `UserError` if the archive
    is damaged or encrypted, a member points outside it, or what is wanted is not a plain file or larger than the
    ceiling.
    """
    with one_line(path, "damaged or incomplete archive", *DAMAGED):
        if path.is_dir():
            for name, status in _walk(path):
                if stat.S_ISDIR(status.st_mode):
                    yield name, None
                elif not stat.S_ISREG(status.st_mode):
                    if wanted(name, None):
                        check_regular(path / name, status)
                elif (content := _file_content(path / name, name, wanted, ceiling, why)) is not None:
                    yield name, content
        elif path.name.lower().endswith(".zip"):
            yield from _zip_members(path, wanted, ceiling, why)
        else:
            yield from _tar_members(path, wanted, ceiling, why)


def _file_content(path: Path, name: str, wanted: Wanted, ceiling: int, why: str) -> bytearray | None:
    with open_regular(path) as file:
        with one_line(path):
            head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
        if not wanted(name, head):
            return None
        check_size(os.fstat(file.fileno()).st_size, ceiling=ceiling, source=str(path), why=why)
        with one_line(path):
            return read_at_most(file, ceiling=ceiling, source=str(path), why=why)


def count_members(path: Path, wanted: Callable[[str], bool]) -> int:
    """Return how many files a folder or zip archive names that are wanted by name; 0 where only reading can tell."""
    if path.is_dir():
        return sum(wanted(name) for name, _ in folder_files(path))
    if not path.name.lower().endswith(".zip"):
        return 0
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return sum(wanted(name) for name in archive.namelist())
    except (*DAMAGED, OSError):
        return 0  # read_members says what is wrong


def folder_files(folder: Path) -> list[NameAndStatus]:
    """Return name and status of everything under `folder` that is no folder, sorted by name, to FOLDER_DEPTH."""
    return [(name, status) for name, status in _walk(folder) if not stat.S_ISDIR(status.st_mode)]


def _walk(folder: Path, prefix: str = "", above: tuple[os.stat_result, ...] = ()) -> Iterator[NameAndStatus]:
    """Yield all that lies under a folder, folders first seen; `above` are those it lies in."""
    with one_line(folder):
        above = (*above, os.stat(folder))
        with os.scandir(folder) as entries:
            statuses = sorted((entry.name, _status(entry)) for entry in entries)
    for name, status in statuses:
        yield prefix + name, status
        if stat.S_ISDIR(status.st_mode) and len(above) < FOLDER_DEPTH:
            if any(os.path.samestat(status, other) for other in above):
                raise UserError(f"{folder / name}: must not be a link to a folder that it lies in")
            yield from _walk(folder / name, f"{prefix}{name}/", above)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """Return what is behind a link; of one that leads nowhere or in a circle, the link itself."""
    try:
        return os.stat(entry.path)
    except OSError:
        return entry.stat(follow_symlinks=False)


def _zip_members(path: Path, wanted: Wanted, ceiling: int, why: str) -> Iterator[Member]:
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = _inside(info.filename, path)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise UserError(f"{path}: member {info.filename!r} is a link; only plain files and folders are read")
            if info.is_dir():
                yield name, None
                continue
            if info.flag_bits & 1:
                raise UserError(f"{path}: member {info.filename!r} is encrypted; give an archive without password")
            # Opening compares the name in the directory, which has no checksum, with the one beside the content.
            with archive.open(info) as stream:
                if not wanted(name, cast(zipfile.ZipExtFile, stream).peek(HEAD_BYTES)[:HEAD_BYTES]):
                    continue
                content = read_zip_member(stream, info, ceiling, f"{path}: {name}", why)
            yield name, content


def read_zip_member(stream: IO[bytes], info: zipfile.ZipInfo, ceiling: int, source: str, why: str) -> bytearray:
    """Return the content of an opened member of a zip archive, or raise above `ceiling`, whatever its header says."""
    check_size(info.file_size, ceiling=ceiling, source=source, why=why)
    is_bounded = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    chunk = CHUNK_BYTES if is_bounded else SMALL_CHUNK_BYTES
    return read_at_most(stream, ceiling=ceiling, source=source, why=why, chunk=chunk)


def _tar_members(path: Path, wanted: Wanted, ceiling: int, why: str) -> Iterator[Member]:
    with open_regular(path) as file:
        stream = unpacked(file, path)
        # "r|" never seeks. The decompressor is ours because tarfile's own takes a cut-off stream for the end.
        with tarfile.open(fileobj=cast(Any, stream), mode="r|", tarinfo=StrictHeader) as archive:
            for info in archive:
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every header it has passed
                name = _inside(info.name, path)
                if info.issym() or info.islnk():
                    raise UserError(f"{path}: member {info.name!r} is a link; only plain files and folders are read")
                if info.isdir():
                    yield name, None
                elif not info.isfile():
                    raise UserError(f"{path}: member {info.name!r} is not a plain file")
                else:
                    content = archive.extractfile(info)
                    assert content is not None  # a plain file always has content
                    head = content.read(HEAD_BYTES)
                    if wanted(name, head):
                        check_size(info.size, ceiling=ceiling, source=f"{path}: {name}", why=why)
                        yield name, head + content.read()
        while stream.read(CHUNK_BYTES):  # The rest of the stream holds its checksum.
            pass


def _inside(name: str, path: Path) -> str:
    """Return the member's name with plain "/" between its parts; raise where it leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{path}: member {name!r} points outside the archive; refusing to read it")
    return "/".join(part for part in parts if part not in ("", "."))
