"""Pages from records: runs, theory and verdicts, in one page model. Imports no torch."""

from mixscope.report.page import Page, Section
from mixscope.report.rendering import render_fragment, render_page, write_page
from mixscope.report.runs.findings import findings, headline
from mixscope.report.runs.page_text import page_text
from mixscope.report.runs.runs_page import examination_page, runs_page, write_report
from mixscope.report.runs.words import Finding

__all__ = [
    "Finding",
    "Page",
    "Section",
    "examination_page",
    "findings",
    "headline",
    "page_text",
    "render_fragment",
    "render_page",
    "runs_page",
    "write_page",
    "write_report",
]
