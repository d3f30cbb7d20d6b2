"""Every scalar this project measures: its key in the records, definition, unit, range, good end, source. No torch."""

from difflib import get_close_matches

from mixscope.metrics.cards import MetricEntry
from mixscope.metrics.feature_entries import CHANNELS, COLLAPSE, COLLAPSE_ON_TEST, LINEARITY
from mixscope.metrics.training_entries import CALIBRATION, LEARNING, OVERTRAINING

# The groups in the order of the pages, each under its heading.
GROUPS: dict[str, tuple[MetricEntry, ...]] = {
    "Learning": LEARNING,
    "Calibration": CALIBRATION,
    "Neural collapse": COLLAPSE,
    "Neural collapse on test images": COLLAPSE_ON_TEST,
    "Channels: features of blends": CHANNELS,
    "Linearity of layers": LINEARITY,
    "Over-training": OVERTRAINING,
}

CATALOGUE: tuple[MetricEntry, ...] = tuple(entry for entries in GROUPS.values() for entry in entries)

_BY_KEY = {entry.key: entry for entry in CATALOGUE}


def find_metric(key: str) -> MetricEntry:
    """Return the entry of a key of the records, with or without the site of a linearity number.

    Raises:
        ValueError: If there is no such number.

    Example:
        >>> find_metric("linearity/block1/floor").title
        'Floor of the non-linearity'
    """
    if not isinstance(key, str):
        raise ValueError(f"key must be a string, got a {type(key).__name__}")
    parts = key.split("/")
    short = f"{parts[0]}/{parts[-1]}" if parts[0] == "linearity" else key
    if short not in _BY_KEY:
        close = get_close_matches(short, _BY_KEY, n=3)
        raise ValueError(
            f"key must be a metric of the catalogue, got {key!r}"
            + (f" (did you mean {' or '.join(close)}?)" if close else "")
        )
    return _BY_KEY[short]
