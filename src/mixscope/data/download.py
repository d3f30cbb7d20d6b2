"""Downloads, checked by their MD5; a file appears whole or not at all."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mixscope.base.errors import UserError
from mixscope.base.files import atomic_file
from mixscope.base.reading import check_size, open_regular
from mixscope.data.cache_place import disk_error
from mixscope.data.image_data import Progress

CHUNK_BYTES = 1 << 18
FILE_BYTES = 1 << 32  # 4 GiB; the largest named set's file has 183 MB
TIMEOUT_SECONDS = (10, 60)  # to connect, and between two chunks


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    url: str
    md5: str  # 32 hexadecimal digits
    name: str  # of the file here

    def is_at(self, path: Path) -> bool:
        """Return whether a regular file with this checksum lies there."""
        if not path.is_file():
            return False
        with open_regular(path) as file:
            return hashlib.file_digest(file, _new_md5).hexdigest() == self.md5


def fetch_files(files: Sequence[RemoteFile], folder: Path, *, progress: Progress | None = None) -> Path:
    """Download the files that `folder` lacks, or has with another checksum; it is made if needed, and returned.

    Where another process is fetching into the folder, this one waits, and then fetches what is still missing. A
    `UserError` if the server cannot be reached or answers with an error, a checksum is wrong, a file is larger than
    FILE_BYTES, or the folder cannot be written.
    """
    try:
        with _only_process(folder):
            is_new = not folder.exists()
            try:
                for file in files:
                    if not file.is_at(folder / file.name):
                        _fetch(file, folder / file.name, progress)
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


def _fetch(file: RemoteFile, path: Path, progress: Progress | None) -> None:
    import requests
    import urllib3

    # identity, and no decoding: bytes and checksum are those of the file, also where a server calls .gz an encoding.
    headers, digest, done = {"Accept-Encoding": "identity"}, _new_md5(), 0
    with atomic_file(path) as stream:
        try:
            with requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
                response.raise_for_status()
                length = response.headers.get("Content-Length")
                for part in response.raw.stream(CHUNK_BYTES, decode_content=False):
                    done += len(part)
                    check_size(done, ceiling=FILE_BYTES, source=file.url, why="a file of a named set", is_exact=False)
                    if progress is not None:
                        progress(f"downloading {file.name}", done, None if length is None else int(length))
                    stream.write(part)
                    digest.update(part)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            advice = f"put {file.name} by hand into {path.parent}, or set MIXSCOPE_DATA to a folder that has it"
            raise UserError(f"cannot download {file.url} ({_reason(error)}); try again, or {advice}") from error
        if digest.hexdigest() != file.md5:
            wrong = f"expected md5 {file.md5}, got {digest.hexdigest()}"
            raise UserError(f"{file.name} from {file.url}: wrong checksum, {wrong}; the file is removed, try again")


def _reason(error: Exception) -> str:
    """Return the innermost cause in a few words; requests wraps it in several layers."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    while isinstance(inner := error.__cause__ or error.__context__, Exception):
        error = inner
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error).replace("\n", " ")


def _new_md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
