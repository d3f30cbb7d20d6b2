"""From the words of the command line to a command."""

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from mixscope._errors import UserError
from mixscope.cli.commands import Command, Data, Demo, Measure, Report, Train
from mixscope.cli.reproduce import Reproduce
from mixscope.cli.theory import Theory

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": Demo,
    "train": Train,
    "measure": Measure,
    "theory": Theory,
    "reproduce": Reproduce,
    "report": Report,
    "data": Data,
}


def parse(arguments: Sequence[str]) -> Command:
    """Turn the command line into a command. `train --from` and `--resume` take their defaults from that run.

    Raises:
        UserError: If an option's value makes no sense. Words that are no options at all are explained by tyro, which
            prints and exits with 2.
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
        sys.stderr.write(said.getvalue())
        raise


def _parse(arguments: Sequence[str]) -> Command:
    if arguments[:1] == ["train"]:
        known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        known.add_argument("--from", dest="earlier", type=Path)
        known.add_argument("--resume", dest="earlier", type=Path)
        earlier = known.parse_known_args(arguments[1:])[0].earlier
        if earlier is not None:
            from mixscope.experiment.run import read_options

            default = Train(options=read_options(earlier))
            return tyro.cli(Train, prog="mixscope train", args=arguments[1:], default=default)
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="mixscope", description="See what mixup does to a network.", args=list(arguments)
    )
    return command
