"""Reading of files a user names: regular ones only, and never more of them than a ceiling allows.

A pipe would hang the reader, a device never ends, and a small compressed file can unfold to any size: what a file says
of its own size is compared with a ceiling before anything is read, and counted while it is read, because it may lie.
"""

import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO

from mixscope.base.errors import UserError

CHUNK_BYTES = 1 << 20  # read and unpacked at a time
SMALL_CHUNK_BYTES = 1 << 12  # where unpacking cannot be stopped midway, as that of bz2 and LZMA members of a zip
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link that leads nowhere",
}
ADVICE = re.compile(r"allow_pickle|weights_only|max_header_size|set_int_max_str_digits|add_safe_globals|trust", re.I)


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; a `UserError` if it is not there, may not be read, or is no regular file."""
    with one_line(path):
        try:
            status = os.stat(path)
        except ValueError as error:  # a zero in the name
            raise UserError(f"{str(path)!r}: no name of a file ({error})") from error
        check_regular(path, status)  # before opening: opening a device may already do something
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.open(path, flags), "rb")  # noqa: SIM115 (the caller closes it)
    try:
        check_regular(path, os.fstat(file.fileno()))  # another may stand under the name by now
    except BaseException:
        file.close()
        raise
    return file


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raise a `UserError` unless what was found under `path` is a regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: must be a regular file, got {KINDS.get(stat.S_IFMT(status.st_mode), 'another kind')}")


def read_regular(path: Path, *, ceiling: int, why: str) -> bytearray:
    """Return a file's content of at most `ceiling` bytes; a `UserError` as `open_regular`, or if the file is larger.

    `why` says whose ceiling it is and what to do, for example "an image; make it smaller".
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(size, ceiling=ceiling, source=str(path), why=why)
        with one_line(path):
            return read_at_most(file, ceiling=ceiling, source=str(path), why=why)


def read_at_most(stream: IO[bytes], *, ceiling: int, source: str, why: str, chunk: int = CHUNK_BYTES) -> bytearray:
    """Return what a stream holds, read in chunks, or raise a `UserError` as soon as it is above `ceiling` bytes."""
    content = bytearray()
    while part := stream.read(min(chunk, ceiling + 1 - len(content))):
        content += part
        check_size(len(content), ceiling=ceiling, source=source, why=why, is_exact=False)
    return content


def check_size(size: int, *, ceiling: int, source: str, why: str, is_exact: bool = True) -> None:
    """Raise a `UserError`, with `why`, where a size in bytes is above its ceiling."""
    if size > ceiling:
        got = f"got {size_words(size)}" if is_exact else "and there is more"
        raise UserError(f"{source}: must be at most {size_words(ceiling)} for {why}, {got}")


def check_nothing_packed(path: Path, file: BinaryIO) -> None:
    """Raise a `UserError` where a zip archive unfolds to more than its own size. What is no archive passes."""
    members = zip_members(file)
    if members is None:
        return
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    packed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        reason = f"as torch.save writes them, but {packed} is compressed"
        raise UserError(f"{path}: must hold its parts as they are, {reason}")
    check_size(sum(m.file_size for m in members), ceiling=size, source=str(path), why="its parts, the file's own size")


def zip_members(file: BinaryIO) -> list[zipfile.ZipInfo] | None:
    """Return the members of a zip archive, None of what is none; the file is at its beginning afterwards."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return None
    finally:
        file.seek(0)


def memory_bytes() -> int:
    """Return the machine's memory; 1 TiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 40


def size_words(size: int) -> str:
    """Return a number of bytes in words.

    Example:
        >>> size_words(999), size_words(2 << 20), size_words(3 << 29)
        ('999 bytes', '2 MiB', '1.5 GiB')
    """
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size:,} bytes"


def reason_of(error: BaseException) -> str:
    """Return another library's error in one line, without its advice to read the file all the same."""
    return _without_advice(error) or type(error).__name__


def kind_and_reason(error: BaseException) -> str:
    """Return the same with the kind of the error before it: of some the words alone say nothing."""
    return ": ".join(filter(None, (type(error).__name__, _without_advice(error))))


@contextmanager
def one_line(
    source: object, what: str = "damaged", *damages: type[Exception], words: Callable[[BaseException], str] = reason_of
) -> Iterator[None]:
    """Turn what reading a file raises inside the block into a `UserError` of one line, which begins with the source.

    `damages` are the errors by which its reader shows that the file is `what`; those of the system besides say that it
    cannot be read; `words` puts an error into words.
    """
    try:
        yield
    except UserError:
        raise
    except damages as error:
        raise UserError(f"{source}: {what} ({words(error)})") from error
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({words(error)})") from error


def _without_advice(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.;:!?])\s+", " ".join(str(error).split())):
        if ADVICE.search(sentence):
            break
        kept.append(sentence)
    return " ".join(kept)
