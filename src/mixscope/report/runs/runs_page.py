"""One self-contained page from runs: findings, tables and interactive figures; it loads nothing from anywhere."""

from collections.abc import Sequence
from pathlib import Path

from mixscope.records.store import Run
from mixscope.report.rendering import render_page, write_page
from mixscope.report.runs.facts import describe_runs, find_cautions
from mixscope.report.runs.findings import lead, method_findings
from mixscope.report.runs.groups import group_runs
from mixscope.report.runs.sections import build_sections
from mixscope.report.runs.tables import option_rows, run_row, summary_table
from mixscope.report.style import DARK, DIFFERENT_SCALE, SAME_SCALE, method_colour

TOPICS = {
    "comparison": "Which is best",
    "over-training": "Over-training",
    "calibration": "Confidence",
    "channels": "Channels",
    "layers": "Layers",
}


def write_report(path: Path, runs: Sequence[Run], *, title: str) -> None:
    """Write the report of these runs as one HTML file, which appears whole or not at all.

    Runs are grouped by method; runs of one method should differ in their seed only. Sections without data are left out.

    Args:
        path: Where to write, for example runs/mixup/report.html; missing folders are made.
        runs: At least one.
        title: The page's title, in words.

    Raises:
        ValueError: If there are no runs.
    """
    page = render_report(runs, title=title)
    write_page(path, page)


def render_report(runs: Sequence[Run], *, title: str) -> str:
    """Return the report as HTML; see `write_report`.

    Raises:
        ValueError: If there are no runs.
    """
    methods = group_runs(runs)
    sections = build_sections(methods)
    found = method_findings(methods)
    different, shared = option_rows(methods)
    figures = {panel.name: panel.figure for section in sections for panel in section.panels}
    values = {
        "title": title,
        "headline": lead(found),
        "facts": describe_runs(methods),
        "cautions": find_cautions(methods),
        "findings": [
            (TOPICS[topic], texts) for topic in TOPICS if (texts := [f.text for f in found if f.topic == topic])
        ],
        "methods": methods,
        "colour": method_colour,
        "summary": summary_table(methods),
        "sections": sections,
        "different": different,
        "shared": shared,
        "runs": [run_row(run) for run in runs],
        "same_scale": SAME_SCALE,
        "different_scale": DIFFERENT_SCALE,
        "dark": DARK,
    }
    return render_page("page.html.j2", figures, values)
