"""Catalogue of every scalar this project measures, read off the reports' fields. No torch."""

import tomllib
from difflib import get_close_matches
from pathlib import Path

from mixscope.metrics.blends.blend_reports import ChannelReport, NonlinearityReport
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.scaling_report import ScalingReport
from mixscope.metrics.cards import Card, cards_of
from mixscope.metrics.collapse.collapse_report import CollapseOnTest, CollapseReport

FLOOR_GAP, BLEND_ENTROPY = "train/loss_floor_gap", "train/blend_entropy"  # what the monitor of over-training reads

# Cards of what no report holds: numbers of an epoch of training, of whole curves, of studies.
_TABLES = tomllib.loads(Path(__file__).with_name("training_cards.toml").read_text(encoding="utf-8"))
LEARNING, OVERTRAINING, STUDIES = (
    tuple(Card(**card) for card in _TABLES[group]) for group in ("learning", "overtraining", "studies")
)


def _by_level(cards: tuple[Card, ...]) -> tuple[Card, ...]:
    """Sort by NC0 to NC4, the rest behind."""
    return tuple(sorted(cards, key=lambda card: (not card.title.startswith("NC"), card.key.split("/")[1][:3])))


# The groups in the order of the pages, each under its heading.
GROUPS: dict[str, tuple[Card, ...]] = {
    "Learning": LEARNING,
    "Accuracy and calibration": cards_of(CalibrationReport, "test"),
    "Temperature scaling": cards_of(ScalingReport, "scaling"),
    "Neural collapse": _by_level(cards_of(CollapseReport, "nc")),
    "Neural collapse on test images": cards_of(CollapseOnTest, "nc_test"),
    "Channels: features of blends": cards_of(ChannelReport, "channels"),
    "Linearity of layers": cards_of(NonlinearityReport, "linearity"),
    "Over-training": OVERTRAINING,
    "Networks of the studies": STUDIES,
}

CATALOGUE: tuple[Card, ...] = tuple(card for cards in GROUPS.values() for card in cards)

_BY_KEY = {card.key: card for card in CATALOGUE}


def find_metric(key: str) -> Card:
    """Return the card of a key of the records, with or without the site of a linearity number.

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
