"""Verdicts of a study: its claims in words, and as sections of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mixscope.records.claims import Claim, Group
from mixscope.records.judging import Judgement, Verdict
from mixscope.report.page import Cell, Section, Table
from mixscope.report.runs.method_options import MISSING
from mixscope.stats.numbers import exact_text, interval_text, number_text

GROUPS: Mapping[Group, tuple[str, str]] = {  # the heading, and what each claim is
    "paper": ("The paper's own claims", "the paper's own claim"),
    "recalled": ("Recalled of the paper, not checked against it", "recalled of the paper, not checked"),
    "derived": ("Derived or predicted here", "derived or predicted here"),
    "control": ("Controls", "control"),
}
HEADINGS, KINDS = ({group: words[place] for group, words in GROUPS.items()} for place in (0, 1))
BADGES: Mapping[Verdict, Literal["good", "bad", "open"]] = {"held": "good", "not held": "bad", "undecided": "open"}
COLUMNS = ("setting", "expected", "measured", "verdict")
RULES = (
    "A claim is held if the 95% interval of the mean over seeds lies inside the expected range, not held if it lies "
    "wholly outside, and undecided if it crosses a limit; an exact one is held if every single value lies inside."
)


@dataclass(frozen=True)
class StudySummary:
    """What there is to say of a study at one scale.

    Attributes:
        environment: Versions, machine and commit, as `describe_environment` gives them.
        seconds: What the runs took, all together.
        judgements: Of every claim on every setting, in the order in which they are shown.
        deviations: Where the runs depart from the paper's, one sentence each.
        unknown: Settings of the paper that are not known, one phrase each.
        notes: What else a reader must know, for example "Medium has not been run."
        date: When it was run, for example "2024-05-17".
        command: What was typed; it says the scale.
        answer: Sentences that answer the study's question, where it asks one.
    """

    key: str
    title: str
    citation: str
    scale: str
    environment: Mapping[str, Any]
    seconds: float
    judgements: Sequence[Judgement]
    deviations: Sequence[str] = ()
    unknown: Sequence[str] = ()
    notes: Sequence[str] = ()
    date: str = ""
    command: str = ""
    answer: str = ""


def expected_words(claim: Claim) -> str:
    """Return the range of a claim in words: '0.85 to 1.1', 'every value at most 10⁻⁶ nats'."""
    if claim.low is None or claim.high is None:
        words = f"{'at most' if claim.low is None else 'at least'} {exact_text(claim.limits[0])}"
    elif claim.low == claim.high:
        words = f"exactly {exact_text(claim.low)}"
    else:
        words = f"{exact_text(claim.low)} to {exact_text(claim.high)}"
    return f"{'every value ' if claim.is_exact else ''}{words}{f' {claim.unit}' if claim.unit else ''}"


def measured_words(judgement: Judgement) -> str:
    """Return '1.85 [1.76, 1.94]': the mean with its interval, or the worst value of an exact claim."""
    limits = judgement.claim.limits
    if judgement.worst is not None:
        return f"{number_text(judgement.worst, apart_from=limits)}{'' if judgement.num == 1 else ', the worst'}"
    if judgement.mean is None:
        return MISSING
    if judgement.low is None or judgement.high is None:
        return number_text(judgement.mean, apart_from=limits)
    return interval_text(judgement.mean, judgement.low, judgement.high, apart_from=limits)


def basis_words(judgement: Judgement) -> str:
    """Return 'n = 5, paired, d = 2.1': how many values, whether methods were compared seed by seed, the effect."""
    if not judgement.num:
        return ""
    words = [f"n = {judgement.num}"]
    if judgement.sample.is_paired:
        words.append("paired ratios" if judgement.sample.is_ratio else "paired")
    if judgement.effect_size is not None:
        words.append(f"d = {number_text(judgement.effect_size)}")
    return ", ".join(words)


def count_words(judgements: Sequence[Judgement]) -> str:
    """Return '14 held, 2 not held, 3 undecided'."""
    return ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(judgements).items())


def verdict_counts(judgements: Sequence[Judgement]) -> dict[Verdict, int]:
    """Return how many judgements came to each verdict, zeros included."""
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    return {verdict: sum(judgement.verdict == verdict for judgement in judgements) for verdict in verdicts}


def made_words(summary: StudySummary) -> str:
    """Return in one line by what a study was run, when, for how long, on what machine and from which commit."""
    environment = summary.environment
    cores, threads, commit = (environment.get(key) for key in ("num_cores", "num_threads", "commit"))
    parts = [
        summary.command or f"{summary.scale} scale",
        summary.date,
        f"{duration_words(summary.seconds)} summed over runs",
        str(environment.get("accelerator") or environment.get("processor") or ""),
        f"{cores} core{'' if cores == 1 else 's'}" if cores else "",
        f"{threads} thread{'' if threads == 1 else 's'} a run" if threads else "",
        *(f"{name} {environment[name]}" for name in ("mixscope", "torch") if environment.get(name)),
        f"commit {commit[:10]}{' with changes' if commit.endswith('+') else ''}" if commit else "commit not known",
    ]
    return ", ".join(part for part in parts if part)


def duration_words(seconds: float) -> str:
    """Return '40 s', '12 min' or '3.5 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def by_claim(judgements: Sequence[Judgement]) -> list[list[Judgement]]:
    """Return the judgements of every claim together, in the order in which claims first appear."""
    claims: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        claims.setdefault(judgement.claim.key, []).append(judgement)
    return list(claims.values())


def by_group(judgements: Sequence[Judgement]) -> dict[Group, list[Judgement]]:
    """Return the judgements of every group that has any: the paper's own claims, derived facts, negative controls."""
    groups = {group: [judgement for judgement in judgements if judgement.claim.group == group] for group in HEADINGS}
    return {group: chosen for group, chosen in groups.items() if chosen}


def verdict_table(judgements: Sequence[Judgement]) -> Table:
    """Return a table: every claim above its settings, each with what was measured and the verdict."""
    rows: list[list[str | Cell]] = []
    heads = {}
    for together in by_claim(judgements):
        heads[len(rows)] = _claim_cell(together[0].claim)
        for judgement in together:
            measured = Cell(measured_words(judgement), basis_words(judgement))
            verdict = Cell(judgement.verdict, judgement.reason, badge=BADGES[judgement.verdict])
            rows.append([judgement.setting, expected_words(judgement.claim), measured, verdict])
    return Table(COLUMNS, rows, heads)


def counts_table(summaries: Sequence[StudySummary]) -> Table:
    """Return a table with one row per study: how often each verdict was come to, claim by claim and set by set."""
    rows = [[each.title, *map(str, verdict_counts(each.judgements).values()), each.scale] for each in summaries]
    return Table(["study", *get_args(Verdict), "scale"], rows)


def claims_sections(summary: StudySummary) -> list[Section]:
    """Return one section for every group of a study's claims."""
    sections: list[Section] = []
    for group, chosen in by_group(summary.judgements).items():
        text = f"{count_words(chosen)}.{'' if sections else f' {RULES}'}"
        sections.append(Section(f"claims-{group}", HEADINGS[group], text, tables=[verdict_table(chosen)]))
    return sections


def limits_section(summary: StudySummary) -> Section:
    """Return the section of what limits a study: departures from the paper, what is not known of it, notes."""
    unknown = [f"Not known of the paper's own runs: {phrase}." for phrase in summary.unknown]
    notes = [*summary.deviations, *unknown, *summary.notes]
    text = "Where the runs depart from the paper's, and what is not known." if notes else "No departures are noted."
    return Section("limits", "Departures and limits", text, notes=notes)


def overview_sections(summaries: Sequence[StudySummary]) -> list[Section]:
    """Return the sections of the page over all studies: the counts, then every claim of every study, each once."""
    keys = [summary.key for summary in summaries]
    if len(set(keys)) < len(keys):
        raise ValueError(f"summaries must be of different studies, got {keys}")
    sections = [Section("counts", "In short", RULES, tables=[counts_table(summaries)])]
    for summary in summaries:
        ordered = [judgement for chosen in by_group(summary.judgements).values() for judgement in chosen]
        text = f"{summary.citation} {count_words(ordered)}."
        notes = [f"Run: {made_words(summary)}.", *summary.notes]
        name = f"claims-{summary.key}"
        sections.append(Section(name, summary.title, text, tables=[verdict_table(ordered)], notes=notes))
    return sections


def _claim_cell(claim: Claim) -> Cell:
    origin = KINDS[claim.group] + ("" if claim.source == "derived" else f" ({claim.source})")
    folded = [("measured", claim.measured), ("refuted by", claim.refuted_by), ("name", claim.key)]
    return Cell(claim.statement, folded=folded, fold=f"{origin}: how it is measured, what would refute it")
