"""One self-contained page from runs: findings, tables and interactive figures; it loads nothing from anywhere."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mixscope._files import atomic_file
from mixscope.records.store import Run, finite_or_none
from mixscope.report.facts import describe_runs, find_cautions
from mixscope.report.findings import lead, method_findings
from mixscope.report.groups import group_runs
from mixscope.report.sections import build_sections
from mixscope.report.style import DARK, DIFFERENT_SCALE, SAME_SCALE, method_colour
from mixscope.report.tables import option_rows, run_row, summary_table

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
    with atomic_file(path) as file:
        # Paths may hold bytes that are no text; they must not keep the page from being written.
        file.write(page.encode("utf-8", errors="replace"))


def render_report(runs: Sequence[Run], *, title: str) -> str:
    """Return the report as HTML; see `write_report`.

    Raises:
        ValueError: If there are no runs.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    methods = group_runs(runs)
    sections = build_sections(methods)
    found = method_findings(methods)
    different, shared = option_rows(methods)
    templates = resources.files("mixscope.report") / "templates"
    environment = Environment(
        loader=PackageLoader("mixscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {panel.name: panel.figure for section in sections for panel in section.panels}
    return environment.get_template("page.html.j2").render(
        title=title,
        headline=lead(found),
        facts=describe_runs(methods),
        cautions=find_cautions(methods),
        findings=[(TOPICS[topic], texts) for topic in TOPICS if (texts := [f.text for f in found if f.topic == topic])],
        methods=methods,
        colour=method_colour,
        summary=summary_table(methods),
        sections=sections,
        different=different,
        shared=shared,
        runs=[run_row(run) for run in runs],
        same_scale=SAME_SCALE,
        different_scale=DIFFERENT_SCALE,
        dark=DARK,
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),
        script=Markup((templates / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs() if figures else ""),
        embedded=Markup(embed_json({"figures": figures, "dark": DARK})),
    )


def embed_json(value: Mapping[str, Any]) -> str:
    r"""Return JSON that is safe inside a script element: no '<', '>', '&' and nothing beyond ASCII; NaN becomes null.

    Example:
        >>> embed_json({"name": "</script>"})
        '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(finite_or_none(value), allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
