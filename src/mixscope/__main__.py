"""The command line: `mixscope COMMAND`, or `python -m mixscope COMMAND`."""

import errno
import os
import signal
import sys
from typing import NoReturn

from mixscope.base.errors import UserError, describe_error
from mixscope.base.text import printable

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2, never a traceback."""
    from mixscope.cli.display import Speech
    from mixscope.cli.parsing import parse

    signal.signal(signal.SIGTERM, _interrupt)  # a cluster's polite stop leaves a resumable run, as Ctrl-C does
    with Speech() as speech:
        try:
            command = parse(sys.argv[1:])
            if command is not None:
                command.run()
            speech.finish()
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
        except (MemoryError, RuntimeError) as error:
            if _is_out_of_memory(error):
                words = "memory ran out; smaller batches or sets need less"
                _stop(f"failed: {words} ({describe_error(error)})", EXIT_FAILED)
            from mixscope.bench.failures import RunFailedError
            from mixscope.bench.run_processes import LostProcessError

            if not isinstance(error, (RunFailedError, LostProcessError)):
                raise
            _stop(f"failed: {error}", EXIT_FAILED)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out: torch says so by an error of its own on a GPU, and in words on the CPU."""
    words = ("not enough memory", "can't allocate memory")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(part in describe_error(error) for part in words)
    )


def _leave_group(code: int) -> None:
    """End one of several processes at once, all that it had to do and say being done and said."""
    # On a busy machine torch now and then aborts on its way out, while the threads of its process group end, and the
    # launcher then calls the whole run failed; and it interrupts the others, whose last words would be lost.
    if _is_one_of_several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _stop(message: str, code: int) -> NoReturn:
    one_line = printable(" ".join(message.split()))
    if _is_one_of_several():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's, in the middle of this message
    sys.stderr.write(f"mixscope: {one_line}\n")  # at once: several processes may speak
    _leave_group(code)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
