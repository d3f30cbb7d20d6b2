"""Parsing of the command line: from its words to a command."""

import argparse
import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from mixscope.base.errors import UserError
from mixscope.cli.commands import Demo, Measure, Train
from mixscope.cli.listings import Data, Report, Theory
from mixscope.cli.reproduce import Reproduce

BORDERS, RULES, COLOURS = " │|", "─-", re.compile(r"\x1b\[[\d;]*m")  # of the boxes in which tyro says what is wrong

Command = Demo | Train | Measure | Theory | Reproduce | Report | Data
COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": Demo,
    "train": Train,
    "measure": Measure,
    "theory": Theory,
    "reproduce": Reproduce,
    "report": Report,
    "data": Data,
}


def parse(arguments: Sequence[str]) -> Command | None:
    """Turn the command line into a command; None where help was asked for, and printed.

    `train --from` and `--resume` take their defaults from that run.

    Raises:
        UserError: If an option is unknown, or a value makes no sense.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return _parse(arguments)
    except SystemExit as stopped:
        cause: BaseException | None = stopped
        while cause is not None:
            if isinstance(cause, UserError):
                raise UserError(str(cause)) from None
            cause = cause.__cause__ or cause.__context__
        if not stopped.code:
            return None
        raise UserError(_sentence(said.getvalue())) from None


def _parse(arguments: Sequence[str]) -> Command:
    if arguments[:1] == ["train"]:
        known = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        known.add_argument("--from", dest="earlier", type=Path)
        known.add_argument("--resume", dest="earlier", type=Path)
        try:
            earlier = known.parse_known_args(arguments[1:])[0].earlier
        except argparse.ArgumentError:
            earlier = None  # tyro says what is wrong
        if earlier is not None:
            from mixscope.bench.run import read_options

            default = Train(options=read_options(earlier))
            return tyro.cli(Train, prog="mixscope train", args=arguments[1:], default=default)
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="mixscope", description="See what mixup does to a network.", args=list(arguments)
    )
    return command


def _sentence(box: str) -> str:
    """Return what tyro says in a box, in parts divided by lines, as one line, without an option's help text."""
    parts: list[list[str]] = [[]]
    for row in COLOURS.sub("", box).splitlines()[1:-1]:
        text = row.strip(BORDERS)
        if text.strip(RULES):
            parts[-1].append(text)
        else:
            parts.append([])
    sentences = (" ".join(words).rstrip(".:") for words in parts if words)
    return "; ".join(sentence for sentence in sentences if not sentence.startswith("Argument helptext"))
