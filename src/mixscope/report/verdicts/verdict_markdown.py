"""Verdicts of studies as GitHub-flavoured Markdown: a page of the docs, tables of the README."""

import re
from collections.abc import Sequence

from mixscope.records.claims import Claim
from mixscope.records.judging import Judgement, Verdict
from mixscope.report.page import Section, Table
from mixscope.report.verdicts.verdict_sections import (
    HEADINGS,
    KINDS,
    RULES,
    StudySummary,
    basis_words,
    by_claim,
    by_group,
    count_words,
    counts_table,
    expected_words,
    made_words,
    measured_words,
)


def study_markdown(summary: StudySummary, sections: Sequence[Section] = ()) -> str:
    """Return the text of docs/papers/KEY.md: citation, what was run, every claim with its verdict, tables, limits.

    Args:
        summary: With the claims.
        sections: Of the study's page; figures stay there, tables are here too.
    """
    parts = [
        f"# {escape(summary.title)}",
        escape(summary.citation),
        *([escape(summary.answer)] if summary.answer else []),
        f"Run: {escape(made_words(summary))}.",
        *map(escape, summary.notes),
        f"**{count_words(summary.judgements)}.** {escape(RULES)}",
    ]
    for group, chosen in by_group(summary.judgements).items():
        rows = [row for together in by_claim(chosen) for row in _rows(together)]
        parts += [
            f"## {HEADINGS[group]}",
            f"{count_words(chosen)}.",
            table(["claim", "setting", "expected", "measured", "verdict"], rows),
        ]
    for section in sections:
        if section.filled:
            parts += [f"## {escape(section.heading)}", *map(_table, section.filled), *map(escape, section.notes)]
    if summary.judgements:
        parts += ["## How each is measured, and what would refute it", _explanations(summary.judgements)]
    parts += ["## Departures from the paper", _bullets(summary.deviations, "None are noted.")]
    parts += ["## Not known of the paper's own runs", _bullets(summary.unknown, "Nothing is noted.")]
    return "\n\n".join(parts) + "\n"


def overview_counts(summaries: Sequence[StudySummary]) -> str:
    """Return how often each verdict was come to, one row per study."""
    return _table(counts_table(summaries)) + "\n"


def overview_table(summaries: Sequence[StudySummary]) -> str:
    """Return every claim of every study, one row per claim: what was expected, our number and the verdict."""
    parts = []
    for summary in summaries:
        rows = []
        for together in (same for chosen in by_group(summary.judgements).values() for same in by_claim(chosen)):
            claim = together[0].claim
            results = (f"{escape(j.setting)}: {escape(measured_words(j))}, {_verdict(j)}" for j in together)
            rows.append([_name(claim), KINDS[claim.group], escape(expected_words(claim)), "<br>".join(results)])
        parts.append(f"**{escape(summary.title)}**: {count_words(summary.judgements)} ({escape(made_words(summary))}).")
        parts += map(escape, summary.notes)
        if rows:
            parts.append(table(["claim", "whose", "expected", "measured"], rows))
    return "\n\n".join(parts) + "\n"


def own_claims_table(summaries: Sequence[StudySummary]) -> str:
    """Return the claims of the papers themselves, one row per claim: the verdict on every set."""
    rows = []
    for summary in summaries:
        for together in by_claim(by_group(summary.judgements).get("paper", [])):
            verdicts: dict[Verdict, list[str]] = {}
            for judgement in together:
                verdicts.setdefault(judgement.verdict, []).append(escape(judgement.setting))
            words = "<br>".join(f"**{verdict}**: {', '.join(settings)}" for verdict, settings in verdicts.items())
            rows.append([_name(together[0].claim), words])
    return table(["claim", "verdict"], rows) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already, of one line each and with pipes escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """Return words as Markdown that shows just them, on one line."""
    text = re.sub(r"[\\`*<|~$&]", r"\\\g<0>", " ".join(text.split()))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside a word an underscore is one
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)  # closes no link
    text = re.sub(r"^(?=[#>+\-])", r"\\", text)  # starts no heading, quotation or list
    return re.sub(r"^(\d+)(?=[.)] )", r"\1\\", text)


def _rows(together: Sequence[Judgement]) -> list[list[str]]:
    """Return one row per setting; the claim stands in the first."""
    claim = together[0].claim
    rows: list[list[str]] = []
    for judgement in together:
        measured = "<br>".join(escape(words) for words in (measured_words(judgement), basis_words(judgement)) if words)
        name = "" if rows else _name(claim)
        rows.append([name, escape(judgement.setting), escape(expected_words(claim)), measured, _verdict(judgement)])
    return rows


def _name(claim: Claim) -> str:
    return f"{escape(claim.statement)} ({escape(claim.key)})"


def _table(whole: Table) -> str:
    rows = []
    for place, row in enumerate(whole.words):
        if place in whole.heads:
            rows.append([f"**{escape(whole.heads[place].text)}**", *[""] * (len(row) - 1)])
        rows.append([*map(escape, row)])
    return table([*map(escape, whole.headings)], rows)


def _verdict(judgement: Judgement) -> str:
    """Return the verdict with its reason, if it has one."""
    verdict = judgement.verdict if judgement.verdict == "undecided" else f"**{judgement.verdict}**"
    return f"{verdict}: {escape(judgement.reason)}" if judgement.reason else verdict


def _explanations(judgements: Sequence[Judgement]) -> str:
    return "\n".join(
        f"- **{escape(claim.key)}** ({escape(claim.source)}): {escape(claim.statement)}"
        f"  \n  Measured: {escape(claim.measured)}  \n  Refuted by: {escape(claim.refuted_by)}"
        for claim in (together[0].claim for together in by_claim(judgements))
    )


def _bullets(sentences: Sequence[str], none: str) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences) or none
