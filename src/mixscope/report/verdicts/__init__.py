"""Verdicts of studies as chapters and as Markdown."""
