"""Texts of a page, read from a TOML file: title, lead, facts, and the heading, prose and notes of every section.

    title = "A page"
    lead = "It comes to {value}."
    [section.one]
    heading = "First"
    text = "Look for {what}."
    notes = ["A source."]

What stands in braces is put in when the page is made.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mixscope.report.page import Figure, KeyEntry, Page, Section, Table


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

    def page(self, sections: Sequence[Section], *, lead: str = "lead", **values: object) -> Page:
        """Return the page of these sections with its title, facts and lead, which may be one of several texts."""
        title, words, facts = (self.words[part].format(**values) for part in ("title", lead, "facts"))
        return Page(title, sections, words, facts)


def page_texts(package: str, name: str) -> PageTexts:
    """Read the texts NAME.toml of a package."""
    return PageTexts(tomllib.loads((files(package) / f"{name}.toml").read_text(encoding="utf-8")))
