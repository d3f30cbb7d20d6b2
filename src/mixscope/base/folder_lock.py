"""Locks of folders: one process at a time writes one, and any other is told which.

The lock is the operating system's, on a file in the folder: it ends with the process, however that ends. On NFS it
holds between machines that mount the folder with locks (NFSv4, or NFSv3 with a lock manager).
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from mixscope.base.errors import UserError
from mixscope.base.files import check_writable, lock_or_not, sweep

LOCK_FILE = ".mixscope.lock"
NUM_TRIES = 100  # of opening the lock's file while others remove it
_HELD: set[int] = set()  # descriptors of this process's locks


class FolderLock:
    """A folder that this process alone writes, as `hold_folder` gives it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.has_locks, self._descriptor, self._process = folder, True, -1, os.getpid()
        self._made: list[Path] = []
        self._take()

    def renew(self) -> bool:
        """Take the lock again if its file is gone, as where the whole folder was deleted; return whether it was."""
        if not self.has_locks:
            return False
        if self._descriptor < 0:
            raise UserError(f"{self.folder} was deleted and is another process's now")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.folder / LOCK_FILE), os.fstat(self._descriptor)):
                return False
        self._drop()
        self._take()
        return True

    def release(self) -> None:
        """Let go of the folder, and leave nothing in it that was not there."""
        if os.getpid() != self._process:
            return  # a forked child; it let go when it began
        if self._descriptor in _HELD:
            with suppress(OSError):
                if os.path.samestat(os.stat(self.folder / LOCK_FILE), os.fstat(self._descriptor)):
                    (self.folder / LOCK_FILE).unlink()  # while it is locked: who waits for it will see that it is gone
            self._drop()
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()  # where nothing was written

    def _take(self) -> None:
        for _ in range(NUM_TRIES):
            try:
                folder = self.folder.absolute()
                missing = [place for place in (folder, *folder.parents) if not place.exists()]
                self.folder.mkdir(parents=True, exist_ok=True)
                self._made += [place for place in reversed(missing) if place not in self._made]
                self._descriptor = os.open(
                    self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666
                )
            except (FileNotFoundError, FileExistsError):
                continue  # another process that made the folder has just removed it
            _HELD.add(self._descriptor)
            try:
                is_locked = lock_or_not(self._descriptor)
            except OSError:  # a file system without locks
                self.has_locks = False
                (self.folder / LOCK_FILE).unlink(missing_ok=True)
                self._drop()
                return
            if not is_locked:
                holder = os.read(self._descriptor, 1000).decode(errors="replace") or "another process"
                self._drop()
                advice = "wait until that has ended, or choose another folder"
                raise UserError(f"{self.folder} is in use by {holder}; {advice}")
            if os.fstat(self._descriptor).st_nlink:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())
                return
            self._drop()  # removed by its last holder before it was locked
        raise UserError(f"{self.folder} must stay in place, but others keep removing it")

    def _drop(self) -> None:
        _HELD.discard(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


@contextmanager
def hold_folder(folder: Path, *, inside: Sequence[str] = (), note: Callable[[str], None]) -> Iterator[FolderLock]:
    """Hold a folder for this process, which alone then writes it; it is made, and stays if anything is written.

    Temporary files that killed processes left in it, and `inside` its subfolders of these names, are removed. Its
    subfolders may be held by others. `note` is told where the file system has no locks to keep others out. A
    `UserError` if another process holds the folder, saying which since when, or it cannot be written.
    """
    check_writable(folder)
    lock = FolderLock(folder)
    try:
        if not lock.has_locks:
            note(f"{folder} is on a file system without locks: no other process must write it meanwhile")
        for place in (folder, *(folder / name for name in inside)):
            sweep(place)
        yield lock
    finally:
        lock.release()


def _let_go_in_child() -> None:
    """Close a forked child's copies: a lock lasts while any process has its file open."""
    while _HELD:
        os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
