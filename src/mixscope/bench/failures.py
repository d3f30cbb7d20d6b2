"""Failures of a run under way that are no fault of ours: a network that diverges or raises, or torch's compiler."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixscope.base.errors import describe_error
from mixscope.bench.measurement import Subject
from mixscope.capturing.capture import capture_batches
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.training.objective import NonFiniteLossError

COMPILER = ("torch._dynamo", "torch._inductor")
LARGEST = 1e15  # outputs beyond it are nobody's: sums of their squares leave float32


class RunFailedError(RuntimeError):
    """Training could not go on; the last good checkpoint is kept."""


def failure_words(error: BaseException, *, model: str) -> str:
    """Return what failed, in one line; "" where it may be a mistake of ours, whose traceback is needed."""
    if _is_of_the_network(error, model):
        return f"{model} raised {describe_error(error)}"
    if type(error).__module__.startswith(COMPILER):
        return f"torch cannot compile this network on this machine, leave out --compile: {describe_error(error)}"
    return ""


def _is_of_the_network(error: BaseException, model: str) -> bool:
    """Return whether the user's own network, of "FILE.py:FACTORY", raised an error: its code lies in FILE's folder."""
    # What is no ordinary error, as `sys.exit` raises, is nothing that mixscope or torch raise either.
    file, _, _ = model.rpartition(":")
    if not isinstance(error, Exception) or not file.endswith(".py"):
        return not isinstance(error, Exception)
    folder = Path(file).resolve().parent
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(Path(frame.f_code.co_filename).resolve().parent == folder for frame in frames)


@contextmanager
def divergence_told(subject: Subject, *, epoch: int | None = None) -> Iterator[None]:
    """Raise a `NonFiniteLossError` for an error of measuring, where what the network gives is beyond all measure."""
    try:
        yield
    except (ArithmeticError, RuntimeError, ValueError) as error:
        if isinstance(error, NonFiniteLossError) or _is_bounded(subject):
            raise
        when = "" if epoch is None else f", measured after epoch {epoch}"
        raise NonFiniteLossError(
            f"the loss stopped being finite: the network gives NaN, infinite or enormous values{when}; "
            "a lower learning rate or weight decay usually helps"
        ) from error


def _is_bounded(subject: Subject) -> bool:
    """Return whether logits and features of all images are below `LARGEST` (NaN is not)."""
    features = () if subject.head is None else (f"{subject.head}{INPUT_SUFFIX}",)
    sites = tuple(dict.fromkeys((*features, *subject.sites)))
    return all(
        bool((values.abs() < LARGEST).all())
        for batches in (subject.probe.train, subject.probe.test)
        for seen in capture_batches(subject.model, batches, sites=sites)
        for values in (seen.logits, *seen.features.values())
    )
