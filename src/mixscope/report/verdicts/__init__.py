"""Verdicts of studies as sections of pages and as Markdown."""
