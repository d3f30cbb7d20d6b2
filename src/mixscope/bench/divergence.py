"""Divergence of a network in training, told where measuring meets it: its outputs are no longer finite."""

from collections.abc import Iterator
from contextlib import contextmanager

from mixscope.bench.measurement import Subject
from mixscope.capturing.capture import capture_batches
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.training.finite import NonFiniteLossError

LARGEST = 1e15  # outputs beyond it are nobody's: sums of their squares leave float32


@contextmanager
def divergence_told(subject: Subject, *, epoch: int | None = None) -> Iterator[None]:
    """Turn an error of measuring inside the block into a divergence, where the network is to blame.

    Raises:
        NonFiniteLossError: If what the network gives, or its features, are not finite or beyond all measure.
    """
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
    sites = tuple(dict.fromkeys((f"{subject.head}{INPUT_SUFFIX}", *subject.sites)))
    return all(
        bool((values.abs() < LARGEST).all())
        for batches in (subject.probe.train, subject.probe.test)
        for seen in capture_batches(subject.model, batches, sites=sites)
        for values in (seen.logits, *seen.features.values())
    )
