"""Runs the trials that have no record yet, several at a time; what is finished is never done again."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch

from mixscope._errors import UserError
from mixscope.papers.trial import Trial, find_records, run_trial


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
    trials under way are lost and nothing else.

    Args:
        trials: Those with a record are skipped.
        folder: Of the records; made if missing.
        num_jobs: Processes. 1 runs the trials in this process.
        tell: Is told of every trial that ended.
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
    pool = ProcessPoolExecutor(num_jobs, mp_context=context, initializer=_begin_process)
    try:
        futures: set[Future[Ending]] = {pool.submit(_attempt, trial, folder) for trial in trials}
        while futures:
            finished, futures = wait(futures, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _begin_process() -> None:
    """Compute with one thread; Ctrl-C is for the process that waits for this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _attempt(trial: Trial, folder: Path) -> Ending:
    """Run a trial; what a user can mend (data that are not there) is told, anything else is a mistake of ours."""
    try:
        return trial, run_trial(trial, folder), ""
    except UserError as error:
        return trial, float("nan"), str(error)
