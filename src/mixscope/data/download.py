"""Downloads that resume, are checked by their MD5, and leave nothing behind that is not the whole file.

Several processes may ask for the same files: one fetches them, the others wait.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mixscope.base.errors import UserError
from mixscope.data.cache import disk_error
from mixscope.data.progress import Progress

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = (10, 60)  # to connect, and between two chunks
RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        url: Its full address.
        md5: Its MD5 checksum, 32 hexadecimal digits.
        name: Its file name here.
    """

    url: str
    md5: str
    name: str


def fetch_files(files: Sequence[RemoteFile], folder: Path, *, progress: Progress | None = None) -> Path:
    """Download the files that `folder` lacks, or has with another checksum.

    A download that was cut off stays as NAME.part and goes on where it stopped, if the server allows it. Where another
    process is fetching into the folder, this one waits, and then fetches what is still missing.

    Args:
        files: What to download.
        folder: Where to put it; made if needed.
        progress: Told the bytes that have arrived.

    Returns:
        `folder`.

    Raises:
        UserError: If the server cannot be reached or answers with an error, a checksum is wrong (the file is then
            removed), or the folder cannot be written.
    """
    try:
        with _only_process(folder):
            is_new = not folder.exists()
            try:
                for file in files:
                    _fetch(file, folder, progress)
            finally:
                if is_new:
                    with suppress(OSError):
                        folder.rmdir()  # where nothing arrived; a folder with anything in it stays
    except OSError as error:
        raise disk_error(folder, error) from error
    return folder


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Hold a lock beside `folder`, which itself may come and go; wait for it where another process holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f".{folder.name}.lock"
    with FileLock(lock):
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()  # while it is held: whoever waits for it sees that, and locks a new file


def _fetch(file: RemoteFile, folder: Path, progress: Progress | None) -> None:
    """Download a file unless it is there with its checksum."""
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{file.name}.part"
    try:
        with _quiet_pooch():
            downloader = ResumingDownloader(file, part, progress)
            pooch.retrieve(file.url, f"md5:{file.md5}", fname=file.name, path=folder, downloader=downloader)
    finally:
        with suppress(OSError):
            if not part.stat().st_size:
                part.unlink()  # opened, but no byte came


class ResumingDownloader:
    """A downloader in pooch's sense: called with address, output path and pooch's own object."""

    def __init__(self, file: RemoteFile, part: Path, progress: Progress | None) -> None:
        self.file = file
        self.part = part
        self.progress = progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Download `url` into the part file, check it, and move it to `output_file`."""
        import pooch

        self._receive(url)
        found = pooch.file_hash(str(self.part), alg="md5")
        if found != self.file.md5:
            self.part.unlink()
            raise UserError(
                f"{self.file.name} from {url}: wrong checksum, expected md5 {self.file.md5}, got {found}; "
                f"the file is removed, try again"
            )
        os.replace(self.part, output_file)

    def _receive(self, url: str) -> None:
        import requests
        import urllib3

        start = self.part.stat().st_size if self.part.exists() else 0
        # identity: a server must not compress on the way, so that bytes and checksum are those of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
                if start and response.status_code == RANGE_NOT_SATISFIABLE:
                    return  # Nothing is missing; the checksum decides.
                response.raise_for_status()
                if response.status_code != requests.codes.partial_content:
                    start = 0  # The server sends everything again.
                length = response.headers.get("Content-Length")
                total = None if length is None else start + int(length)
                with self.part.open("ab" if start else "wb") as stream:
                    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                        start += stream.write(chunk)
                        if self.progress is not None:
                            self.progress(f"downloading {self.file.name}", start, total)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise UserError(
                f"cannot download {url} ({_reason(error)}); try again to resume, or put {self.file.name} by hand into "
                f"{self.part.parent}, or set MIXSCOPE_DATA to a folder that has it"
            ) from error


def _reason(error: Exception) -> str:
    """Return the innermost cause in a few words; requests wraps it in several layers."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    while isinstance(inner := error.__cause__ or error.__context__, Exception):
        error = inner
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error).replace("\n", " ")


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from writing to standard error."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
