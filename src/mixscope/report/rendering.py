"""HTML of a page: one file, or a fragment for a notebook; style, script, figures and plotting library inside."""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from mixscope.base.files import atomic_file
from mixscope.base.text import utf8_text
from mixscope.records.json_numbers import finite_or_none
from mixscope.report.page import Page, check_names
from mixscope.report.style import DARK, DIFFERENT_SCALE, METHOD_COLOURS, SAME_SCALE


def render_page(page: Page) -> str:
    """Return a page as HTML that loads nothing; without figures it carries no plotting library.

    Raises:
        ValueError: If a section or a figure has the name of another.
    """
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    check_names(page.sections)
    plots = {name: figure.plot for name, figure in page.figures.items()}
    templates = resources.files("mixscope.report") / "templates"
    return _render(
        "page.html.j2",
        page=page,
        colours=METHOD_COLOURS,
        scales={
            name: (light, DARK[light])
            for kind, scale in (("same", SAME_SCALE), ("different", DIFFERENT_SCALE))
            for name, light in zip((f"{kind}-even", f"{kind}-pure"), scale, strict=True)
        },
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),
        script=Markup((templates / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs() if plots else ""),
        embedded=Markup(embed_json({"figures": plots, "dark": DARK})),
    )


def render_fragment(page: Page) -> str:
    """Return a page as an HTML fragment for a notebook: words and tables in place, the figures in a frame below.

    Readers that run no script or show no frame, GitHub for one, still show what was found. Style and script stay inside
    the frame. Names must differ as for `render_page`.
    """
    drawn = [replace(section, tables=(), findings=(), folds=()) for section in page.sections if section.drawn]
    figures = render_page(Page("", drawn)) if drawn else ""
    return _render("fragment.html.j2", page=page, figures=figures)


def write_page(page: Page, path: Path) -> None:
    """Write a page (`render_page`) as one HTML file, which appears whole or not at all; missing folders are made."""
    text = render_page(page)
    with atomic_file(path) as file:
        # Paths may hold bytes that are no text; they must not keep the page from being written.
        file.write(utf8_text(text).encode("utf-8", errors="replace"))


def embed_json(value: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a script element: no '<', '>', '&' and nothing beyond ASCII; NaN becomes null."""
    text = json.dumps(finite_or_none(value), allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _render(name: str, **values: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(loader=PackageLoader("mixscope.report"), autoescape=True, undefined=StrictUndefined)
    found.trim_blocks = found.lstrip_blocks = True
    return found.get_template(name).render(**values)
