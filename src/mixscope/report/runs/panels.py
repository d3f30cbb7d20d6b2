"""What a section of the page is made of, and how panels are made from figures that may be missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mixscope.report.runs.curve_figures import Figure, curve_figure
from mixscope.report.runs.groups import Method
from mixscope.report.runs.tables import NumberRow, Table


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        name: Unique on the page; letters, digits and hyphens.
        title: Above the figure; says which method or quantity, seeds and epoch.
        figure: A plotly figure.
        is_wide: Whether it takes the full width.
        method: The one method it shows, or None.
    """

    name: str
    title: str
    figure: Figure
    is_wide: bool = False
    method: Method | None = None


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        name: Its anchor.
        heading: In words.
        text: Sentences saying what to look for.
        panels: The figures.
        legend: "methods" for a key of the methods' colours, "blends" for the two scales of the plane, or "".
        has_epochs: Whether its figures have an epoch axis.
        table: Shown under the figures, one row per method.
        rows: Shown under the figures, one row per number.
        notes: Sentences at the end.
    """

    name: str
    heading: str
    text: str
    panels: list[Panel]
    legend: str = "methods"
    has_epochs: bool = False
    table: Table | None = None
    rows: list[NumberRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def curve_entries(
    methods: Sequence[Method], *specs: tuple[str, str, str, bool, bool, float | None]
) -> list[tuple[str, str, Figure | None, bool]]:
    """Return (name, title, figure, is_wide) for each (key, title, axis title, percent, is_log, expected)."""
    return [
        (
            key.replace("/", "-").replace("_", "-"),
            title,
            curve_figure(methods, key, title=axis_title, percent=percent, is_log=is_log, expected=expected),
            False,
        )
        for key, title, axis_title, percent, is_log, expected in specs
    ]


def present_panels(*entries: tuple[str, str, Figure | None, bool]) -> list[Panel]:
    """Return a panel for each entry that has a figure."""
    return [Panel(name, title, figure, is_wide) for name, title, figure, is_wide in entries if figure is not None]
