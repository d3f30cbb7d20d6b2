"""Runs the trials that have no record yet, several at a time; what is finished is never done again."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from mixscope.base.errors import UserError
from mixscope.studies.engine.trial import Trial, find_records, run_trial
from mixscope.studies.engine.workers import Watch, at_work, begin_worker


@dataclass(frozen=True)
class Progress:
    """A trial that ended.

    Attributes:
        trial: Which.
        num_done: Trials done, it included.
        num_trials: All that had to be done.
        wall_seconds: It took; NaN if it could not be done.
        error: Why it could not be done, or "".
    """

    trial: Trial
    num_done: int
    num_trials: int
    wall_seconds: float
    error: str


def pending(trials: Sequence[Trial], folder: Path) -> list[Trial]:
    """Return the trials without a record, each description once."""
    done = find_records(folder)
    waiting: dict[str, Trial] = {}
    for trial in trials:
        if trial.digest not in done:
            waiting.setdefault(trial.digest, trial)
    return list(waiting.values())


def run_pending(trials: Sequence[Trial], folder: Path, *, num_jobs: int, tell: Callable[[Progress], None]) -> None:
    """Run the trials that have no record, and write one for each.

    Every trial computes with one thread, so that its numbers do not depend on how many run at once. Interrupted, the
    trials under way are lost and nothing else. Where one fails by a mistake of ours, those under way beside it still
    end and are recorded, and no other begins.

    Args:
        trials: Those with a record are skipped.
        folder: Of the records; made if missing.
        num_jobs: Processes. 1 runs the trials in this process.
        tell: Is told of every trial that ended.

    Raises:
        UserError: If a process ended before its work was done; what is known of it is said.
    """
    waiting = pending(trials, folder)
    folder.mkdir(parents=True, exist_ok=True)
    endings = _one_by_one(waiting, folder) if num_jobs == 1 else _side_by_side(waiting, folder, num_jobs)
    for num_done, (trial, seconds, error) in enumerate(endings, start=1):
        tell(Progress(trial, num_done, len(waiting), seconds, error))


Ending = tuple[Trial, float, str]


def _one_by_one(trials: Sequence[Trial], folder: Path) -> Iterator[Ending]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for trial in trials:
            yield _attempt(trial, folder)
    finally:
        torch.set_num_threads(num_threads)


def _side_by_side(trials: Sequence[Trial], folder: Path, num_jobs: int) -> Iterator[Ending]:
    # Fresh interpreters: forking a process whose libraries hold threads can hang.
    context = multiprocessing.get_context("spawn")
    watch = Watch(context)
    pool = ProcessPoolExecutor(num_jobs, mp_context=context, initializer=begin_worker, initargs=(watch.places,))
    try:
        for ending in _in_pool(pool, trials, folder, num_jobs):
            watch.catch_up()
            yield ending
    except BaseException as error:
        processes = list((pool._processes or {}).values())
        if isinstance(error, BrokenProcessPool):
            pool.shutdown()  # which ends the others
            raise UserError(
                f"{watch.account_of_ends(processes)}; what is finished is kept: the same command goes on"
            ) from error
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _in_pool(pool: ProcessPoolExecutor, trials: Sequence[Trial], folder: Path, num_jobs: int) -> Iterator[Ending]:
    """Keep every process busy; after a mistake of ours begin nothing more, see what is under way end, and raise it."""

    def begin(some: Iterable[Trial]) -> set[Future[Ending]]:
        with _interrupts_ignored():
            return {pool.submit(_attempt, trial, folder) for trial in some}

    waiting, mistake = iter(trials), None
    futures = begin(islice(waiting, num_jobs))  # no more than can run: what was handed over cannot be called back
    while futures:
        finished, futures = wait(futures, return_when=FIRST_COMPLETED)
        for future in finished:
            if future.exception() is None:
                yield future.result()
            else:
                mistake = mistake or future.exception()
        if mistake is None:
            futures |= begin(islice(waiting, len(finished)))
    if mistake is not None:
        raise mistake


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C from their first moment: they inherit it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change what a signal does
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _attempt(trial: Trial, folder: Path) -> Ending:
    """Run a trial; what a user can mend (data that are not there) is told, anything else is a mistake of ours."""
    try:
        with at_work(trial.name):
            return trial, run_trial(trial, folder), ""
    except UserError as error:
        return trial, float("nan"), str(error)
