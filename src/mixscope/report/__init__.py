"""From runs to one page: curves, pictures and findings in words. Imports no torch."""

from mixscope.report.findings import findings, headline
from mixscope.report.page import write_report
from mixscope.report.words import Finding

__all__ = ["Finding", "findings", "headline", "write_report"]
