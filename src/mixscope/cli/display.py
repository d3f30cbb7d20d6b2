"""Terminal output of the commands: streams that take any text and never stop work, a live progress display, tables."""

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mixscope.base.text import printable
from mixscope.bench.observer import Observer

PIPE_WIDTH = 200


class Stream:
    """A text stream that writes what its encoding lacks as escapes, and falls silent once it cannot be written.

    Attributes:
        error: Why it fell silent, or None. A reader that has gone away (`| head`) is no error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_silent = False
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        encoding = self._stream.encoding or "utf-8"
        self._attempt(lambda: self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding)))
        return len(text)

    def flush(self) -> None:
        """Hand on what has been written."""
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        """Be the stream in all else."""
        return getattr(self._stream, name)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._is_silent:
            return
        try:
            action()
        except OSError as error:
            self._is_silent = True
            if error.errno != errno.EPIPE:
                self.error = error
            # What is left in the buffer must go somewhere, or Python's own flush at the end complains.
            with suppress(OSError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


class Speech:
    """Makes `Stream`s of standard output and error inside the block, also where they are closed."""

    def __enter__(self) -> "Speech":
        for number in (0, 1, 2):  # a closed one would be the number of the next file that is opened
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        self._before = sys.stdout, sys.stderr
        self.output, self.errors = (Stream(stream or open(os.devnull, "w")) for stream in self._before)  # noqa: SIM115
        sys.stdout, sys.stderr = self.output, self.errors
        return self

    def __exit__(self, *exception: object) -> None:
        self.output.flush()
        self.errors.flush()
        sys.stdout, sys.stderr = self._before

    def finish(self) -> None:
        """See that all has been said.

        Raises:
            OSError: If standard output could not be written, a reader that went away excepted.
        """
        self.output.flush()
        if self.output.error is not None:
            error = self.output.error
            raise OSError(error.errno, error.strerror, "standard output")


class ProgressDisplay(Observer):
    """A progress bar for loading, one for the run under way and, over several runs, one for all of them."""

    def __init__(self, console: Console, *, num_runs: int = 1) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("all runs", total=num_runs, numbers="") if num_runs > 1 else None
        self._run: TaskID | None = None
        self._loading: TaskID | None = None

    def __enter__(self) -> "ProgressDisplay":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def run_started(self, name: str, num_epochs: int) -> None:
        """Begin the bar of one run."""
        if self._run is not None:
            self._progress.remove_task(self._run)
        self._run = self._progress.add_task(printable(name), total=num_epochs, numbers="")

    def run_done(self) -> None:
        """Count one run as done."""
        if self._all is not None:
            self._progress.advance(self._all)

    def loading(self, task: str, done: int, total: int | None) -> None:
        """Show how far reading or downloading data has come."""
        task = printable(task)
        if self._loading is None:
            self._loading = self._progress.add_task(task, total=total or None, numbers="")
        self._progress.update(self._loading, description=task, completed=done, total=total or None)
        if total and done >= total:
            self._progress.remove_task(self._loading)
            self._loading = None

    def note(self, message: str) -> None:
        """Print a line that stays."""
        say(self.console, f"note: {message}")

    def epoch_done(self, epoch: int, num_epochs: int, values: Mapping[str, Any]) -> None:
        """Show an epoch's numbers."""
        if self._run is None:
            return
        numbers = f"loss {values['train/loss']:.3f}"
        if "test/error" in values:
            numbers += f"  test error {100 * values['test/error']:.2f}%  ECE {values['test/ece']:.3f}"
            self._progress.update(self._run, numbers=numbers)
        self._progress.update(self._run, completed=epoch)


def make_console(*, quiet: bool = False) -> Console:
    """Return the console the commands speak through: it takes every text as it stands.

    Square brackets are no styles and colons no pictures. What goes into a file or a pipe is not cut to 80 columns.
    """
    console = Console(quiet=quiet, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def say(console: Console, text: str) -> None:
    """Print a line, however long; what is no printable character is written as an escape."""
    console.print(printable(text), soft_wrap=True)


def say_text(console: Console, text: str) -> None:
    """Print several lines, with an empty one before and after."""
    for line in ("", *text.split("\n"), ""):
        say(console, line)


def say_page(console: Console, page: Path) -> None:
    """Print where a page is."""
    say(console, f"page: {page.resolve()}")


def print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    table = Table(title=printable(title), title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(printable(column), justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console.print(table)


def print_numbers(console: Console, values: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> None:
    """Print every number by its key, and those of the layers in a table of their own."""
    rows = [[key, format_number(value)] for key, value in values.items() if not key.startswith("linearity/")]
    print_table(console, "All numbers", ["quantity", "value"], rows)
    if layers:
        columns = ["site", "nonlinearity", "floor", "angle_degrees", "relative_defect"]
        cells = [[format_number(layer[column]) for column in columns] for layer in layers]
        print_table(console, "Linearity of layers", [column.replace("_", " ") for column in columns], cells)


def format_number(value: Any) -> str:
    """Write a number in four significant digits, and a missing one as a dash."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
