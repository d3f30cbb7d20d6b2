"""What a reader needs to know about one number. No torch."""

from dataclasses import dataclass
from typing import Literal

# What may be done to the features (and the classifier with them) without the number noticing. Every number ignores the
# order of the examples and the names of the classes.
ROTATION, SHIFT, SCALE = "rotation", "shift", "scale"


@dataclass(frozen=True)
class MetricEntry:
    """What a reader needs to know about one number.

    Attributes:
        key: Name in the records, GROUP/NAME. For linearity the records have the site between: linearity/SITE/NAME.
        symbol: As written in formulas and on axes.
        title: In words.
        definition: The formula with its convention; letters as in docs/notation.md.
        unit: "" for a dimensionless number.
        low: Smallest possible value, None for no bound.
        high: Largest possible value, None for no bound.
        better: The good end: "low", "high", or "none" where neither end is good (a number to read, not to optimise).
        source: Where the definition comes from.
        note: What to keep in mind when reading it.
        ignores: Which of "rotation", "shift" and "scale" of the features, the classifier moving along, leave it as it
            is. A rotation turns features and classifier alike; a shift adds a vector to every feature, and what it does
            to the logits to the classifier's bias; a scale multiplies features and classifier by positive numbers.
    """

    key: str
    symbol: str
    title: str
    definition: str
    unit: str
    low: float | None
    high: float | None
    better: Literal["low", "high", "none"]
    source: str
    note: str
    ignores: tuple[str, ...] = ()
