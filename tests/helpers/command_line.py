"""The command line in this process: what it says, how it ends, and what it leaves behind."""

import contextlib
import io
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from mixscope.__main__ import main


@dataclass(frozen=True)
class Ended:
    """How a command ended. `code` is 1 where it ended in a traceback, as Python does; it is then part of `errors`."""

    code: int
    output: str
    errors: str


def run_command(*arguments: object) -> Ended:
    """Run `mixscope ARGUMENTS` in this process and leave its state as it was."""
    handler, threads, environment = signal.getsignal(signal.SIGTERM), torch.get_num_threads(), dict(os.environ)
    output, errors, code = io.StringIO(), io.StringIO(), 0
    try:
        with (
            mock.patch.object(sys, "argv", ["mixscope", *map(str, arguments)]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except Exception:
                code = 1
                errors.write(traceback.format_exc())
    finally:
        signal.signal(signal.SIGTERM, handler)
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
    return Ended(code, output.getvalue(), errors.getvalue())


def files_below(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return every path below a folder with its kind, size and time of change; links are not followed."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(place, name)
            state = os.lstat(path)
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            found[path] = (state.st_mode, 0 if is_folder else state.st_size, 0 if is_folder else state.st_mtime_ns)
    return found
