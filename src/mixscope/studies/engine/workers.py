"""Worker processes of a study: they end with the process that started them; one that ends early is accounted for."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch

Places = SimpleQueue[tuple[int, str]]  # (process, the run it is at or "")

OWN_GROUPS, CONTROL_GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_places: Places | None = None  # in a worker: where it says what it is at


class Watch:
    """What the parent knows of its workers: what each is at, and how often memory has run out since they began."""

    def __init__(self, context: BaseContext) -> None:
        self.places: Places = context.SimpleQueue()
        self._at: dict[int | None, str] = {}
        self._oom_kills = num_oom_kills()

    def catch_up(self) -> None:
        """Take in what workers have said; now and then, as they can say no more than a pipe holds."""
        while not self.places.empty():
            process, name = self.places.get()
            self._at[process] = name

    def account_of_ends(self, processes: Sequence[BaseProcess]) -> str:
        """Say what is known of workers that ended and should not have: which, at what, and how.

        All of them have ended. The pool ends by SIGTERM those that are left, so what ended in this way is accounted for
        only where nothing else is.
        """
        self.catch_up()
        sentences = [
            f"worker process {process.pid}{_at_what(self._at.get(process.pid))} ended {_how(process.exitcode)}"
            for process in processes
            if process.exitcode not in (0, -signal.SIGTERM)
        ] or [f"a worker process ended {_how(-signal.SIGTERM)}"]
        oom_kills = num_oom_kills()
        if oom_kills is not None and self._oom_kills is not None and oom_kills > self._oom_kills:
            sentences.append(
                f"the kernel killed {oom_kills - self._oom_kills} of this control group's processes meanwhile because "
                "memory ran out (fewer --jobs need less)"
            )
        return "; ".join(sentences)


def begin_worker(places: Places) -> None:
    """Prepare a worker: one thread to compute with, Ctrl-C left to the process that started it, whose end is its end.

    `places` are told of every run that begins and ends here.
    """
    global _places
    _places = places
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how a pool ends its workers, also where its parent ignores it
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """Let it be known inside the block, where this process is a worker, that it is at a run of this name."""
    _say(name)
    try:
        yield
    finally:
        _say("")


def num_oom_kills() -> int | None:
    """Return how many processes of this one's control group the kernel has killed for want of memory; None: not told.

    The counter `oom_kill` is in the group's memory.events (version 2) or memory.oom_control (version 1).
    """
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            file = CONTROL_GROUPS / path.lstrip("/") / "memory.events"
        elif controllers == "memory":
            file = CONTROL_GROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        try:
            counters = dict(entry.split() for entry in file.read_text().splitlines())
            return int(counters["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _end_with_parent() -> None:
    """Wait for the parent's end, then end this process, whatever its other threads do.

    The parent holds the other end of a pipe, which the system closes however the parent ends.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _say(name: str) -> None:
    if _places is not None:
        _places.put((os.getpid(), name))


def _at_what(name: str | None) -> str:
    if name is None:
        return ", before its first run,"
    return f", at {name}," if name else ", between two runs,"


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"by signal {-code}"
