"""Standard output and error of a command: any text in any encoding, and never a reason to stop work."""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO


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
        self.output, self.errors = (
            Stream(open(os.devnull, "w") if stream is None else stream)  # noqa: SIM115
            for stream in self._before
        )
        sys.stdout, sys.stderr = self.output, self.errors
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
