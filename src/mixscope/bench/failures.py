"""Failures of a run under way that are no fault of ours: the user's own network, or torch's compiler."""

import traceback
from pathlib import Path

from mixscope.base.errors import describe_error

COMPILER = ("torch._dynamo", "torch._inductor")


class RunFailedError(RuntimeError):
    """Training could not go on; the last good checkpoint is kept."""


def failure_words(error: BaseException, *, model: str) -> str:
    """Return what failed, in one line; "" where it may be a mistake of ours, whose traceback is needed.

    `model` is the name of the network, for example "FILE.py:FACTORY".
    """
    if _is_of_the_network(error, model):
        return f"{model} raised {describe_error(error)}"
    if type(error).__module__.startswith(COMPILER):
        return f"torch cannot compile this network on this machine, leave out --compile: {describe_error(error)}"
    return ""


def _is_of_the_network(error: BaseException, model: str) -> bool:
    """Return whether the user's own network raised an error: its code lies in the folder of FILE.py.

    What is no ordinary error, as `sys.exit` raises, is nothing that mixscope or torch raise either.
    """
    file, _, _ = model.rpartition(":")
    if not isinstance(error, Exception) or not file.endswith(".py"):
        return not isinstance(error, Exception)
    folder = Path(file).resolve().parent
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(Path(frame.f_code.co_filename).resolve().parent == folder for frame in frames)
