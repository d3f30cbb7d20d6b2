"""Texts of a page, read from a TOML file: its title, lead and facts; what its sections say; figures, tables.

    title = "A page"
    lead = "It comes to {value}."
    [section.one]
    heading = "First"
    text = "Look for {what}."
    notes = ["A source."]
    [axes]
    x_title = "epoch"
    [figure.curves]
    title = "{setting}: a curve"
    y_title = "nats"
    log_y = true
    [table.numbers]
    columns = ["method", "number"]
    [names.methods]
    erm = "plain training"

What stands in braces is put in when the page is made. What stands under `axes` holds for all figures.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mixscope.report.figures.line_figure import Axes, Line, line_figure
from mixscope.report.page import Cell, Figure, KeyEntry, Page, Section, Table


@dataclass(frozen=True)
class PageTexts:
    """The texts of a page, as in their file."""

    words: Mapping[str, Any]

    def section(
        self,
        key: str,
        figures: Sequence[Figure | None] = (),
        tables: Sequence[Table | None] = (),
        *,
        name: str = "",
        notes: Sequence[str] = (),
        legend: Sequence[KeyEntry] = (),
        **values: object,
    ) -> Section:
        """Return a section with its texts, `values` put in, and more notes after those of the file.

        Its name, where none is given, is the key under which its texts stand; `legend` is the key of its figures.
        """
        own = self.words["section"][key]
        heading, text = (own.get(part, "").format(**values) for part in ("heading", "text"))
        said = [*(note.format(**values) for note in own.get("notes", [])), *notes]
        return Section(name or key, heading, text, figures, tables, said, key=legend)

    def figure(
        self,
        key: str,
        lines: Iterable[Line | None],
        *,
        name: str = "",
        x_range: tuple[float, float] | None = None,
        y_range: tuple[float, float] | None = None,
        **values: object,
    ) -> Figure | None:
        """Draw lines on the axes that the file gives the figure, its name, where none is given, being the key."""
        own = self.words.get("axes", {}) | self.words["figure"][key]
        axes = Axes(
            own["x_title"].format(**values),
            own["y_title"].format(**values),
            log_x=own.get("log_x", False),
            log_y=own.get("log_y", False),
            x_range=x_range or own.get("x_range"),
            y_range=y_range or own.get("y_range"),
        )
        is_wide, title = own.get("is_wide", False), own["title"].format(**values)
        meta = {"epochs": own["x_title"] == "epoch" and not axes.log_x}
        return line_figure(name or key, title, lines, axes, is_wide=is_wide, meta=meta)

    def table(self, key: str, rows: Sequence[Sequence[str | Cell]], heads: Mapping[int, Cell] | None = None) -> Table:
        """Return a table under the columns of the file, and with its title where the file gives one."""
        own = self.words["table"][key]
        return Table(own["columns"], rows, heads or {}, title=own.get("title", ""))

    def names(self, key: str) -> dict[str, str]:
        """Return what methods or numbers are called."""
        return dict(self.words["names"][key])

    def page(self, sections: Sequence[Section], *, lead: str = "lead", **values: object) -> Page:
        """Return the page of these sections with its title, facts and lead, which may be one of several texts."""
        title, words, facts = (self.words[part].format(**values) for part in ("title", lead, "facts"))
        return Page(title, sections, words, facts)


def page_texts(package: str, name: str) -> PageTexts:
    """Read the texts NAME.toml of a package."""
    return PageTexts(tomllib.loads((files(package) / f"{name}.toml").read_text(encoding="utf-8")))
