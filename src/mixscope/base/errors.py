"""Errors of the user, which the command line shows as a single line, and the words for errors of other code."""

from collections.abc import Iterator
from contextlib import contextmanager

MAX_LENGTH = 500  # of another's message, in characters: a line that is still read


class UserError(ValueError):
    """A mistake in what the user gave: a path, a file, an option. The command line prints it and exits with 2."""


def describe_error(error: BaseException) -> str:
    r"""Return "Kind: message" in one line, also for an error that fails to say what it is.

    Example:
        >>> describe_error(RuntimeError("no such\nlayer"))
        'RuntimeError: no such layer'
    """
    try:
        message = " ".join(str(error).split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # its own code, which may raise anything
        message = ""
    if len(message) > MAX_LENGTH:
        message = f"{message[:MAX_LENGTH]}..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turn whatever the user's own code raises in the block, `sys.exit` too, into a `UserError`; Ctrl-C stays.

    The message begins with `what`, for example "net.py: Net raised".
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UserError(f"{what} {describe_error(error)}") from error
