"""Cards of the numbers that no report holds: of an epoch of training, of whole curves, of studies. No torch."""

import tomllib
from pathlib import Path

from mixscope.metrics.cards import Card

FLOOR_GAP, BLEND_ENTROPY = "train/loss_floor_gap", "train/blend_entropy"  # what the monitor of over-training reads

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LEARNING, OVERTRAINING, STUDIES = (
    tuple(Card(**card) for card in _TABLES[group]) for group in ("learning", "overtraining", "studies")
)
