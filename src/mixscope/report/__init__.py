"""From runs to one page: curves, pictures and findings in words. Imports no torch."""

from mixscope.report.runs.findings import findings, headline
from mixscope.report.runs.runs_page import write_report
from mixscope.report.runs.words import Finding

__all__ = ["Finding", "findings", "headline", "write_report"]
