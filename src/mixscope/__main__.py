"""The command line: `mixscope COMMAND`, or `python -m mixscope COMMAND`."""

import errno
import os
import signal
import sys
from typing import NoReturn

from mixscope._errors import UserError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2, never a traceback."""
    from mixscope.cli.parsing import parse

    signal.signal(signal.SIGTERM, _interrupt)  # a cluster's polite stop leaves a resumable run, as Ctrl-C does
    try:
        parse(sys.argv[1:]).run()
        _leave_group(0)
    except UserError as error:
        _stop(f"error: {error}", EXIT_USAGE)
    except OSError as error:
        if error.errno is None:  # no answer of the system's: a mistake of ours
            raise
        reasons = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
        place = f"{error.filename}: " if error.filename else ""
        _stop(f"error: {place}{reasons.get(error.errno, error.strerror)}", EXIT_USAGE)
    except KeyboardInterrupt as error:
        _stop(str(error) or "interrupted", EXIT_INTERRUPTED)
    except RuntimeError as error:
        from mixscope.experiment.processes import LostProcessError
        from mixscope.experiment.run import RunFailedError

        if not isinstance(error, (RunFailedError, LostProcessError)):
            raise
        _stop(f"failed: {error}", EXIT_FAILED)


def _leave_group(code: int) -> None:
    """End one of several processes at once, all that it had to do and say being done and said.

    On a busy machine torch now and then aborts on its way out, while the threads of its process group end (seen once in
    fifty runs of two processes), and the launcher then calls the whole run failed. And where one process ends, the
    launcher interrupts the others, whose own last words would be lost in the middle.
    """
    if _is_one_of_several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _stop(message: str, code: int) -> NoReturn:
    one_line = " ".join(message.split())
    if _is_one_of_several():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's, in the middle of this message
    sys.stderr.write(f"mixscope: {one_line}\n")  # at once: several processes may speak
    _leave_group(code)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
