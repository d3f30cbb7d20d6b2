"""Pages and texts of studies on disk, written from their records: page, Markdown, overview, README's tables."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mixscope.base.files import atomic_file
from mixscope.records.judging import judgement_to_dict
from mixscope.records.store import write_json
from mixscope.report.page import Page
from mixscope.report.rendering import write_page
from mixscope.report.verdicts.verdict_markdown import overview_counts, overview_table, own_claims_table, study_markdown
from mixscope.report.verdicts.verdict_sections import (
    StudySummary,
    claims_sections,
    count_words,
    limits_section,
    made_words,
    overview_sections,
)
from mixscope.studies.engine.results import Results, read_results
from mixscope.studies.engine.study_definition import Study, judge_study
from mixscope.studies.names import SCALES, STUDY_KEYS, Scale, load_study

VERDICTS_FILE, OVERVIEW_FILE = "verdicts.json", "overview.html"
OWN_BEGINS, OWN_ENDS = "<!-- claims: written by `make docs` -->", "<!-- end of claims -->"
RECORDS = "records"  # the folder of a reproduction's records
BANDS = "Bands are Student's 95% intervals of the mean over seeds, where a note does not say otherwise."
COMMITTED: Scale = "small"  # what this repository holds the records of
TABLE_BEGINS, TABLE_ENDS = "<!-- verdicts: written by `make docs` -->", "<!-- end of verdicts -->"


def scales_not_run(folder: Path, scale: Scale) -> list[Scale]:
    """Return the large scales that have no records beside a folder named after its scale, as results/small is."""
    others = (other for other in SCALES[2:] if other != scale)
    return [other for other in others if not (folder.parent / folder.name.replace(scale, other) / RECORDS).is_dir()]


def command_of(key: str, scale: Scale, seeds: int | None = None) -> str:
    """Return what is typed to run a study, or "all" of them."""
    return f"mixscope reproduce {key} --scale {scale}{'' if seeds is None else f' --seeds {seeds}'}"


def summarise(
    study: Study, results: Results, *, scale: Scale, seeds: int | None = None, not_run: Sequence[Scale] = ()
) -> StudySummary:
    """Judge a study by what its runs gave and return all there is to say of it; scales `not_run` are named as such."""
    outcomes = list(results.outcomes.values())
    num_trials = len({trial.digest for trial in results.trials})
    found = {trial.name: results.outcomes.get(trial.digest) for trial in results.trials}
    problems = [f"{name}: {outcome.problem}" for name, outcome in found.items() if outcome and outcome.problem]
    notes = [f"{num_trials - len(outcomes)} of {num_trials} runs are missing."] if len(outcomes) < num_trials else []
    notes += [f"A run that is left out of means: {problem}." for problem in problems]
    commits = sorted({str(outcome.environment.get("commit")) for outcome in outcomes})
    if len(commits) > 1:
        notes.append(f"The runs come from {len(commits)} commits; each record names its own.")
    processors = sorted({str(outcome.environment.get("processor")) for outcome in outcomes})
    if len(processors) > 1:
        notes.append(f"The runs come from {len(processors)} processors: {'; '.join(processors)}.")
    notes += [f"The {other} scale has not been run." for other in not_run]
    judgements = judge_study(study, results, scale=scale)
    latest = max(outcomes, key=lambda outcome: outcome.started, default=None)
    return StudySummary(
        key=study.key,
        title=study.title,
        citation=study.citation,
        scale=scale,
        environment={} if latest is None else latest.environment,
        seconds=sum(outcome.wall_seconds for outcome in outcomes),
        judgements=judgements,
        deviations=study.deviations,
        unknown=study.unknown,
        notes=notes,
        date="" if latest is None else latest.started[:10],
        command=command_of(study.key, scale, seeds),
        answer="" if scale == "smoke" else study.answer(results, judgements),
    )


def write_study(study: Study, results: Results, summary: StudySummary, folder: Path) -> Path:
    """Write a study's page KEY.html and its text KEY.md; return the page."""
    page, own = folder / f"{study.key}.html", study.sections(results)
    counts = f"Its claims, each on every set it was judged on: {count_words(summary.judgements)}."
    lead = " ".join(words for words in (study.citation, summary.answer, counts) if words)
    sections = [*claims_sections(summary), *own, limits_section(summary)]
    write_page(Page(study.title, sections, lead, f"{made_words(summary)}. {BANDS}"), page)
    with atomic_file(folder / f"{study.key}.md") as file:
        file.write(study_markdown(summary, own).encode())
    return page


def write_overview(summaries: Sequence[StudySummary], folder: Path, *, command: str) -> Path:
    """Write the page over all studies, run by a command, and `verdicts.json`; return the page."""
    page = folder / OVERVIEW_FILE
    judgements = [judgement for summary in summaries for judgement in summary.judgements]
    lead = f"Every claim of every study, with a verdict on each set it was judged on: {count_words(judgements)}."
    latest = max(summaries, key=lambda summary: summary.date)
    facts = made_words(replace(latest, seconds=sum(summary.seconds for summary in summaries), command=command))
    write_page(Page("Claims and verdicts", overview_sections(summaries), lead, facts), page)
    write_json(
        folder / VERDICTS_FILE,
        {summary.key: [judgement_to_dict(judgement) for judgement in summary.judgements] for summary in summaries},
    )
    return page


def committed_texts(root: Path) -> dict[Path, str]:
    """Return what the documentation says of the committed records: docs/papers/KEY.md, and README with its tables."""
    texts, summaries, folder = {}, [], root / "results" / COMMITTED
    for key in STUDY_KEYS:
        study = load_study(key)
        results = read_results(study.trials(COMMITTED, None), folder / RECORDS)
        summaries.append(summarise(study, results, scale=COMMITTED, not_run=scales_not_run(folder, COMMITTED)))
        texts[root / "docs" / "papers" / f"{key}.md"] = study_markdown(summaries[-1], study.sections(results))
    texts[root / "docs" / "papers" / "overview.md"] = overview_table(summaries)
    readme = root / "README.md"
    text = _filled(readme.read_text(encoding="utf-8"), TABLE_BEGINS, TABLE_ENDS, overview_counts(summaries))
    # GitHub folds what stands in <details>; the empty line lets the table in it be Markdown.
    texts[readme] = _filled(text, OWN_BEGINS, OWN_ENDS, f"\n{own_claims_table(summaries)}\n")
    return texts


def _filled(text: str, begins: str, ends: str, table: str) -> str:
    """Return a text with a table between two marks, which must be there once and in this order."""
    before, found, rest = text.partition(begins)
    _, found_end, after = rest.partition(ends)
    assert found, begins
    assert found_end, ends
    return f"{before}{begins}\n{table}{ends}{after}"
