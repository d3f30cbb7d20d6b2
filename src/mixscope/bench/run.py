"""One described run: train a network as the options say, measure it along the way, and keep the records."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mixscope.base.errors import UserError, describe_error
from mixscope.base.files import check_out
from mixscope.base.folder_lock import FolderLock, hold_folder
from mixscope.base.reading import kind_and_reason
from mixscope.bench.build import Bench, anchored, assemble_bench
from mixscope.bench.description import describe_images, describe_machine, describe_model, method_label, new_record
from mixscope.bench.failures import RunFailedError, failure_words
from mixscope.bench.observer import Observer
from mixscope.bench.options import TrainOptions, options_from_dict, options_to_dict
from mixscope.bench.run_folder import CHECKPOINTS, RunFolder, fingerprint_of_run
from mixscope.bench.run_processes import (
    build_accelerator,
    check_alike,
    failing_together,
    fingerprint_of,
    losses_told,
    weights_of,
)
from mixscope.bench.tracking import Tracking
from mixscope.records.store import RECORD_FILE, REPORT_FILE, RUN_FILES, files_of_run, read_run
from mixscope.report.runs.runs_page import write_report
from mixscope.training.checkpoint import STATE_FILE, load_state
from mixscope.training.objective import NonFiniteLossError


def read_options(folder: Path) -> TrainOptions:
    """Return the options of the training run in a folder; a `UserError` if it holds none."""
    record = read_run(folder).record
    if record.get("kind") != "train":
        raise UserError(f"{folder} must hold a training run, got a run of kind {record.get('kind')!r}")
    try:
        options: TrainOptions = options_from_dict(TrainOptions, record["description"])
    except UserError as error:
        raise UserError(f"{folder / RECORD_FILE}: {error}") from error
    return options


@losses_told()
def run_training(
    options: TrainOptions,
    folder: Path,
    *,
    observer: Observer,
    resume: bool = False,
    repeats: Path | None = None,
    tracker: str | None = None,
    report: bool = True,
) -> None:
    """Train, measure, and write the run folder: run.json, metrics.jsonl, pictures.json, checkpoints/, report.html.

    Args:
        options: What to do. The same options give the same numbers on the same processor, threads and versions.
        folder: Made if missing.
        observer: Is told how it goes.
        resume: Go on from the folder's last checkpoint instead of starting anew.
        repeats: The run folder whose options these are; its images must be the same.
        tracker: "tensorboard" or "wandb": metrics go there too.
        report: Write the run's own page at the end.

    Raises:
        UserError: If an option does not fit the data or the network, before anything is written, or if the folder
            already holds a run, or another process writes there.
        RunFailedError: If the loss stops being finite.
        LostProcessError: If another process of the run ended.
    """
    accelerator = build_accelerator(options.device, options.training, tracker=tracker, folder=folder)
    with _only_run(accelerator, folder, resume=resume, observer=observer) as lock:
        bench = assemble_bench(anchored(options), accelerator, observer=observer)
        with failing_together(accelerator):
            record, lines, earlier_seconds = _take_up(bench, folder, observer=observer, resume=resume, repeats=repeats)
        check_alike(
            accelerator,
            lambda: {
                "the number of epochs trained": bench.training.epoch,
                "the fingerprint of the weights": fingerprint_of(weights_of(bench.model)),
            },
        )
        tracking = Tracking(accelerator, tracker, observer)
        with failing_together(accelerator):
            if lock is not None:
                tracking.start(folder, options_to_dict(bench.options))
        records = None if lock is None else RunFolder(bench, lock, record, observer, tracking, lines, earlier_seconds)
        with _end_told(records, folder, model=bench.options.model):
            _train(bench, records)
        if records is not None and report:
            title = f"{record['method']} on {record['data']['name']}"
            try:
                write_report(folder / REPORT_FILE, [read_run(folder)], title=title)
            except OSError as error:
                _finish(records, "failed", f"trained, but without a page: {error}")
                raise
            records.restore()
        accelerator.wait_for_everyone()
        tracking.finish()


@contextmanager
def _only_run(
    accelerator: Accelerator, folder: Path, *, resume: bool, observer: Observer
) -> Iterator[FolderLock | None]:
    """Hold the run's folder in the main process; where it is not to be had, all processes raise alike."""
    with ExitStack() as stack:
        lock = None
        with failing_together(accelerator):
            if accelerator.is_main_process:
                if not resume:  # a run that goes on may lie behind a link
                    check_out(folder, files=RUN_FILES)
                lock = stack.enter_context(hold_folder(folder, inside=[CHECKPOINTS], note=observer.note))
                if not resume and (found := files_of_run(folder)):
                    how = f", or continue it with --resume {folder}" if RECORD_FILE in found else ""
                    got = ", ".join(found)
                    raise UserError(f"{folder} must not hold a run yet, got {got}; choose another --out{how}")
        yield lock


@contextmanager
def _end_told(records: RunFolder | None, folder: Path, *, model: str) -> Iterator[None]:
    """Say in run.json how the training inside the block ended; a `RunFailedError` where it is no fault of ours."""
    try:
        yield
    except NonFiniteLossError as error:
        _finish(records, "failed", str(error))
        raise RunFailedError(f"{error}; the last good checkpoint is {folder / CHECKPOINTS / STATE_FILE}") from error
    except KeyboardInterrupt:
        _finish(records, "interrupted", "interrupted by the user")
        raise
    except BaseException as error:
        _finish(records, "failed", describe_error(error))
        words = failure_words(error, model=model)
        if not words:
            raise
        raise RunFailedError(f"{words}; the last checkpoint is {folder / CHECKPOINTS / STATE_FILE}") from error
    _finish(records, "finished", "")


def _take_up(
    bench: Bench, folder: Path, *, observer: Observer, resume: bool, repeats: Path | None
) -> tuple[dict[str, Any], list[str], float]:
    """Bring the bench to where the run goes on; return the run's description, its lines of metrics and its seconds."""
    options = bench.options
    record = new_record(
        "train",
        name=folder.resolve().name,
        method=method_label(options),
        description=options_to_dict(options),
        data=describe_images(bench.data, unlabelled=bench.unlabelled),
        model=describe_model(bench.model, name=options.model, head=bench.head, sites=bench.sites),
        environment=describe_machine(bench.accelerator),
    )
    known = folder if resume else repeats
    if known is None:
        return record, [], 0.0
    earlier = read_run(known)
    _check_same_sources(record, earlier.record, known)
    if differences := _differences(record, earlier.record):
        observer.note(f"not the machine of {known}, so the last digits may differ: {differences}")
    if not resume:
        return record, [], 0.0
    lines: list[str] = []
    earlier_seconds = 0.0
    # A run that ended before its first checkpoint starts anew; one that has numbers to lose does not.
    if (folder / CHECKPOINTS / STATE_FILE).exists() or len(earlier.metrics) > 1:
        lines, earlier_seconds = _load_state(bench, folder / CHECKPOINTS, earlier.record)
    else:
        observer.note(f"{folder} has no checkpoint yet: its run begins anew")
    again = {"started": record["started"], "environment": record["environment"]}
    resumed = [*earlier.record.get("resumed", []), {**again, "epoch": bench.training.epoch}]
    return earlier.record | {"resumed": resumed}, lines, earlier_seconds


@losses_told()
def _train(bench: Bench, records: RunFolder | None) -> None:
    """Run the epochs that are left; the main process records."""
    if records is not None:
        records.start()
    for summary in bench.training.epochs():
        if records is not None:
            records.epoch_done(summary)
        bench.accelerator.wait_for_everyone()


def _load_state(bench: Bench, folder: Path, record: dict[str, Any]) -> tuple[list[str], float]:
    """Load the last checkpoint of the run that `record` describes; return its lines of metrics and its seconds."""
    state = load_state(folder)
    if state.get("run") != fingerprint_of_run(record):
        raise UserError(
            f"{folder / STATE_FILE} must be the checkpoint of the run that {folder.parent / RECORD_FILE} describes, "
            f"but it is another's, or the description was changed: put the file that was replaced back, "
            f"or begin anew with: mixscope train --from {folder.parent}"
        )
    try:
        bench.training.load_state(state["training"])
        return list(state["metrics"]), float(state["wall_seconds"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = kind_and_reason(error)
        raise UserError(f"{folder / STATE_FILE} must be a checkpoint of this run's network: {reason}") from error


def _finish(records: RunFolder | None, status: str, message: str) -> None:
    """Say in run.json how the run ended; a full disk, or a lost folder, must not hide the error that says so."""
    if records is not None:
        with suppress(OSError, UserError) if status == "failed" else nullcontext():
            records.finish(status, message)


def _check_same_sources(record: dict[str, Any], earlier: dict[str, Any], folder: Path) -> None:
    """Raise unless the images, and the file a network is made by, are those of the earlier run."""
    for entry, words in (("data", "images"), ("model", "file that makes the network")):
        now, then = record[entry].get("fingerprint"), earlier[entry].get("fingerprint")
        if now != then:
            raise UserError(
                f"the {words} must be unchanged to repeat or resume {folder}, got other contents "
                f"(fingerprint {str(then)[:12]} then, {str(now)[:12]} now)"
            )


def _differences(record: dict[str, Any], earlier: dict[str, Any]) -> str:
    """Say in what the machine differs from the earlier run's as far as it may change the last digits."""
    now, then = record["environment"], earlier["environment"]
    keys = ("mixscope", "torch", "processor", "num_threads", "device", "num_processes")
    return ", ".join(
        f"{key} {now.get(key)} instead of {then.get(key)}" for key in keys if now.get(key) != then.get(key)
    )
