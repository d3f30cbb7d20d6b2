"""From a template to one HTML file that loads nothing: style, script, figures and the plotting library inside."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from mixscope.base.files import atomic_file
from mixscope.base.text import utf8_text
from mixscope.records.store import finite_or_none
from mixscope.report.style import DARK


def render_page(template: str, figures: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return a page as HTML.

    Args:
        template: Its file name among the templates; everything it shows is escaped.
        figures: Name to plotly figure. Without any, the page carries no plotting library.
        values: What else the template shows, by name.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    templates = resources.files("mixscope.report") / "templates"
    environment = Environment(
        loader=PackageLoader("mixscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = {
        "style": Markup((templates / "page.css").read_text(encoding="utf-8")),
        "script": Markup((templates / "page.js").read_text(encoding="utf-8")),
        "plotly": Markup(get_plotlyjs() if figures else ""),
        "embedded": Markup(embed_json({"figures": figures, "dark": DARK})),
    }
    return environment.get_template(template).render({**values, **own})


def write_page(path: Path, page: str) -> None:
    """Write a page, which appears whole or not at all; missing folders are made."""
    with atomic_file(path) as file:
        # Paths may hold bytes that are no text; they must not keep the page from being written.
        file.write(utf8_text(page).encode("utf-8", errors="replace"))


def embed_json(value: Mapping[str, Any]) -> str:
    r"""Return JSON that is safe inside a script element: no '<', '>', '&' and nothing beyond ASCII; NaN becomes null.

    Example:
        >>> embed_json({"name": "</script>"})
        '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(finite_or_none(value), allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
