"""Page model: sections of prose, figures and tables, as which runs, theory and verdicts are all shown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Plot = dict[str, Any]  # a plotly figure as plain JSON: {"data", "layout"}

RESERVED = {"figures", "theme"}  # ids of the page itself


@dataclass(frozen=True)
class KeyEntry:
    """One line of a key: what hides and shows the traces of its group.

    Attributes:
        group: The traces' `legendgroup`.
        colour: Place among the colours; None is the grey of a reference.
        stroke: "round" for a dot, "", "dashed" or "dotted" for a line, "points".
    """

    name: str
    group: str
    colour: int | None
    stroke: Literal["round", "", "dashed", "dotted", "points"] = "round"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: Unique on the page, among sections too; letters, digits and hyphens.
        is_wide: Whether it takes the full width.
        colour: Place of the method it is about among the colours; None: about several, or none.
        key: Names what is drawn, where the section's key does not; one entry needs no key.
        has_scales: Whether its points have the colours of blends, which the section then explains.
    """

    name: str
    title: str
    plot: Plot
    is_wide: bool = False
    colour: int | None = None
    key: Sequence[KeyEntry] = ()
    has_scales: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table with more than words.

    Attributes:
        note: Small, beneath.
        badge: Colours the text, a word of its own: "good" green, "bad" red, "open" grey.
        meaning: Of a heading: what the column holds, where the pointer is and below the table.
        colour: Place among the colours of a dot before the text.
        is_code: Whether it is something typed.
        folded: (term, words) pairs that unfold when asked for.
        fold: What is pressed to unfold them; where something is folded.
    """

    text: str
    note: str = ""
    badge: Literal["", "good", "bad", "open"] = ""
    meaning: str = ""
    colour: int | None = None
    is_code: bool = False
    folded: Sequence[tuple[str, "str | Cell"]] = ()
    fold: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: A heading for every column.
        rows: As long as the columns; the first cell names the row.
        heads: Row number -> what stands above it over the whole width, about all rows until the next head.
        title: In a terminal, which shows only the tables that have one.
        fold: What is pressed to see it; "" is open.
        asides: Numbers of rows that are no measurement: what is expected, for example.
    """

    columns: Sequence[str | Cell]
    rows: Sequence[Sequence[str | Cell]]
    heads: Mapping[int, Cell] = field(default_factory=dict)
    title: str = ""
    fold: str = ""
    asides: Collection[int] = ()

    @property
    def headings(self) -> list[str]:
        """What the columns are called."""
        return _words(self.columns)

    @property
    def words(self) -> list[list[str]]:
        """What the cells say, without their notes: for a terminal and for Markdown."""
        return [_words(row) for row in self.rows]

    @property
    def meanings(self) -> list[tuple[str, str]]:
        """(heading, meaning) of the columns that have one."""
        return [(cell.text, cell.meaning) for cell in self.columns if isinstance(cell, Cell) and cell.meaning]


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        name: Its anchor; unique on the page, among figures too.
        text: Sentences that say what to look for.
        figures: None among them is one that had nothing to draw, and is left out.
        tables: Under the figures; None and tables without rows are left out.
        notes: Sentences at the end.
        findings: (topic, sentences) pairs above all.
        key: What hides and shows lines in all its figures.
        folds: Cells with more to unfold, one below the other.
    """

    name: str
    heading: str
    text: str = ""
    figures: Sequence[Figure | None] = ()
    tables: Sequence[Table | None] = ()
    notes: Sequence[str] = ()
    findings: Sequence[tuple[str, Sequence[str]]] = ()
    key: Sequence[KeyEntry] = ()
    folds: Sequence[Cell] = ()

    @property
    def drawn(self) -> list[Figure]:
        """The figures that there are."""
        return [figure for figure in self.figures if figure is not None]

    @property
    def filled(self) -> list[Table]:
        """The tables that there are."""
        return [table for table in self.tables if table is not None and table.rows]

    def has(self, mark: str) -> bool:
        """Say whether a figure's layout has this mark in its `meta`: "epochs" or "settled"."""
        return any(figure.plot["layout"].get("meta", {}).get(mark) for figure in self.drawn)


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        lead: What it comes to, in a sentence or two.
        facts: What it was made from, in small print.
        cautions: What a reader must know first.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    facts: str = ""
    cautions: Sequence[str] = ()

    @property
    def figures(self) -> dict[str, Figure]:
        """Every figure by its name."""
        return {figure.name: figure for section in self.sections for figure in section.drawn}

    @property
    def titled_tables(self) -> list[Table]:
        """The tables that a terminal shows."""
        return [table for section in self.sections for table in section.filled if table.title]


def present(sections: Sequence[Section]) -> list[Section]:
    """Return the sections that have something to show: a figure, or a table."""
    return [section for section in sections if section.drawn or section.filled]


def check_names(sections: Sequence[Section]) -> None:
    """Raise ValueError unless every section and figure has a name of its own, which is none of the page itself."""
    names = [name for section in sections for name in (section.name, *(figure.name for figure in section.drawn))]
    twice = sorted({name for name in names if names.count(name) > 1 or name in RESERVED})
    if twice:
        raise ValueError(f"names of sections and figures must be unique, and none of figures and theme, got {twice}")


def _words(cells: Sequence[str | Cell]) -> list[str]:
    return [cell.text if isinstance(cell, Cell) else cell for cell in cells]
