"""Text of a page of runs, as a terminal and `print` show it: findings first, then a short table, then where from."""

import textwrap

from mixscope.report.page import Cell, Page, Table

WIDTH = 100  # of a line: longer ones are hard to read
NUM_TOLD = 3  # findings of one topic


def page_text(page: Page, *, width: int = WIDTH) -> str:
    """Return the title, the findings by topic, what to know first, the tables that have a title, and the facts.

    Of a page with many findings the lead comes first, and of each topic no more than a few are told.
    """
    told = [(topic, texts) for section in page.sections for topic, texts in section.findings]
    findings = [f"{topic}: {text}" for topic, texts in told for text in texts[:NUM_TOLD]]
    hidden = sum(len(texts[NUM_TOLD:]) for _, texts in told)
    if hidden:
        findings = [page.lead, *findings, f"{hidden} more findings stand on the page."]
    parts = [
        page.title,
        "\n".join(_wrapped(text, width) for text in findings),
        "\n".join(_wrapped(f"Note: {caution}", width) for caution in page.cautions),
        *(_lines(table) for table in page.titled_tables),
        _wrapped(page.facts, width, indent=""),
    ]
    return "\n\n".join(part for part in parts if part)


def _wrapped(text: str, width: int, *, indent: str = "  ") -> str:
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )


def _lines(table: Table) -> str:
    """Return a table of two columns: a number's title, its value, and its note."""
    width, widest = (max(len(row[place]) for row in table.words) for place in (0, 1))
    lines = []
    for row, (title, value) in zip(table.rows, table.words, strict=True):
        note = row[1].note if isinstance(row[1], Cell) else ""
        lines.append(f"  {title:<{width}}  {value:>{widest}}  {note}".rstrip())
    return "\n".join(lines)
