"""Cards of the measured numbers: what a reader needs to know about one, written on the report's field. No torch."""

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal

# What may be done to the features (and the classifier with them) without the number noticing. Every number ignores the
# order of the examples and the names of the classes.
ROTATION, SHIFT, SCALE = "rotation", "shift", "scale"

GOOD_END = {"low": "low is good", "high": "high is good", "none": "neither end is good"}
ARROWS = {"low": " ↓ better", "high": " ↑ better", "none": ""}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a reader needs to know about one number.

    Attributes:
        key: Name in the records, GROUP/NAME. For linearity the records have the site between: linearity/SITE/NAME.
        symbol: As written in formulas.
        title: In words.
        definition: The formula with its convention; letters as in docs/notation.md.
        unit: "" for a dimensionless number.
        low: Smallest possible value, None for no bound.
        high: Largest possible value, None for no bound.
        better: The good end, "none" where neither is good (a number to read, not to optimise).
        source: Where the definition comes from.
        note: What to keep in mind when reading it.
        ignores: Which of "rotation", "shift" and "scale" of the features, the classifier moving along, leave it as it
            is. A rotation turns features and classifier alike; a shift adds a vector to every feature, and what it does
            to the logits to the classifier's bias; a scale multiplies features and classifier by positive numbers.
        column: A short name for the head of a column; "" for the symbol.
    """

    key: str = ""
    symbol: str
    title: str
    definition: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    better: Literal["low", "high", "none"] = "none"
    source: str
    note: str
    ignores: tuple[str, ...] = ()
    column: str = ""

    @property
    def column_title(self) -> str:
        """The head of a column."""
        return self.column or self.symbol

    @property
    def axis_label(self) -> str:
        """The title of an axis: words, the unit, an arrow to the good end, as in 'Test loss (nats) ↓ better'."""
        return f"{self.title}{f' ({self.unit})' if self.unit else ''}{ARROWS[self.better]}"

    @property
    def reading(self) -> str:
        """The range, the unit and the good end, as in "[0, inf) nats; low is good"."""
        low = "(-inf" if self.low is None else f"[{self.low:g}"
        high = "inf)" if self.high is None else f"{self.high:g}]"
        return f"{low}, {high}{f' {self.unit}' if self.unit else ''}; {GOOD_END[self.better]}"

    @property
    def hover(self) -> str:
        """Title, definition, unit and how to read it."""
        return f"{self.title}: {self.definition}. In {self.reading}. {self.note}"


def number(*, default: Any = MISSING, **card: Any) -> Any:
    """Return a field of a report with its `Card`, given by the card's own keywords."""
    return field(default=default, metadata={"card": Card(**card)})


@dataclass(frozen=True)
class Report:
    """What the reports share: a dataclass whose fields are numbers with cards, None where one was not measured."""

    def as_dict(self) -> dict[str, float]:
        """Return every measured number by its field's name, in the order of the class."""
        numbers = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: float(value) for name, value in numbers.items() if value is not None}

    def values(self, group: str) -> dict[str, float]:
        """Return every measured number by its key in the records, GROUP/NAME."""
        return {f"{group}/{name}": value for name, value in self.as_dict().items()}


def cards_of(report: type, group: str) -> tuple[Card, ...]:
    """Return the card of every field of a report, keyed GROUP/FIELD."""
    return tuple(replace(part.metadata["card"], key=f"{group}/{part.name}") for part in fields(report))
