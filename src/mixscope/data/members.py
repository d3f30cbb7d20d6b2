"""The files inside a folder, a zip or a tar archive, read front to back; nothing is ever extracted to disk."""

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
from typing import BinaryIO

from mixscope._errors import UserError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")
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


def read_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    """Yield the wanted files of a folder or archive, and every folder in it.

    Archives are decompressed once, front to back, one file in memory at a time.

    Args:
        path: A folder, or an archive with one of ARCHIVE_SUFFIXES.
        wanted: Says by its name whether a file is to be read.

    Yields:
        (name, content) with "/" between the parts; content is None for a folder.

    Raises:
        UserError: If the archive is damaged or encrypted, or a member points outside it or is not a plain file.
    """
    try:
        if path.is_dir():
            yield from _folder_members(path, wanted)
        elif path.name.lower().endswith(".zip"):
            yield from _zip_members(path, wanted)
        else:
            yield from _tar_members(path, wanted)
    except DAMAGED as error:
        raise UserError(f"{path}: damaged or incomplete archive ({error or type(error).__name__})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def folder_files(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return name and status of every file under `folder`, sorted by name, to a depth of FOLDER_DEPTH."""
    return [(name, status) for name, status in _walk(folder, "", FOLDER_DEPTH) if not stat.S_ISDIR(status.st_mode)]


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            statuses = sorted((entry.name, entry.stat()) for entry in entries)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read ({error.strerror or error})") from error
    for name, status in statuses:
        yield prefix + name, status
        if stat.S_ISDIR(status.st_mode) and depth > 1:
            yield from _walk(folder / name, f"{prefix}{name}/", depth - 1)


def _folder_members(folder: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    for name, status in _walk(folder, "", FOLDER_DEPTH):
        if stat.S_ISDIR(status.st_mode):
            yield name, None
        elif wanted(name):
            yield name, (folder / name).read_bytes()


def _zip_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(path) as archive:
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
                content = stream.read() if wanted(name) else None
            if content is not None:
                yield name, content


def _tar_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    with _decompressed(path) as stream:
        # "r|" never seeks. The decompressor is ours because tarfile's own takes a cut-off stream for the end.
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader) as archive:
            for info in archive:
                name = _inside(info.name, path)
                if info.issym() or info.islnk():
                    raise UserError(f"{path}: member {info.name!r} is a link; only plain files and folders are read")
                if info.isdir():
                    yield name, None
                elif not info.isfile():
                    raise UserError(f"{path}: member {info.name!r} is not a plain file")
                elif wanted(name):
                    content = archive.extractfile(info)
                    assert content is not None  # a plain file always has content
                    yield name, content.read()
        while stream.read(1 << 20):  # The rest of the stream holds its checksum.
            pass


def _decompressed(path: Path) -> gzip.GzipFile | lzma.LZMAFile | BinaryIO:
    name = path.name.lower()
    if name.endswith((".gz", ".tgz")):
        return gzip.open(path)
    return lzma.open(path) if name.endswith(".xz") else path.open("rb")


class _StrictHeader(tarfile.TarInfo):
    """A member header that, where damaged or cut off, is an error and not the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[override]
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # The regular end: a block of zeros.
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _inside(name: str, path: Path) -> str:
    """Return the member's name with plain "/" between its parts; raise where it leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{path}: member {name!r} points outside the archive; refusing to read it")
    return "/".join(part for part in parts if part not in ("", "."))
