"""Page of runs: findings, tables and interactive figures, grouped by method."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixscope.records.store import Run
from mixscope.report.page import Page, Section
from mixscope.report.rendering import write_page
from mixscope.report.runs.facts import describe_runs, find_cautions
from mixscope.report.runs.findings import lead, method_findings
from mixscope.report.runs.groups import Method, group_runs
from mixscope.report.runs.run_facts import run_cell
from mixscope.report.runs.sections import build_sections
from mixscope.report.runs.tables import option_tables, summary_table

TOPICS = {
    "comparison": "Which is best",
    "over-training": "Over-training",
    "calibration": "Confidence",
    "channels": "Channels",
    "layers": "Layers",
}


def write_report(path: Path, runs: Sequence[Run], *, title: str) -> None:
    """Write the page of these runs (`runs_page`, `write_page`).

    Raises:
        ValueError: If there are no runs.
    """
    write_page(runs_page(runs, title=title), path)


def runs_page(runs: Sequence[Run], *, title: str) -> Page:
    """Return the page of runs.

    Runs are grouped by method; runs of one method should differ in their seed only. Sections without data are left out.

    Raises:
        ValueError: If there are no runs.
    """
    methods = group_runs(runs)
    made = Section(
        "made",
        "How it was made",
        "Every option of every run, what it ran on, and the command that repeats it.",
        tables=option_tables(methods),
        folds=[run_cell(run) for run in runs],
    )
    return _page(methods, title, [made])


def examination_page(
    values: Mapping[str, float | None], pictures: Mapping[str, Any], *, title: str, name: str = "network", **data: Any
) -> Page:
    """Return the page of one examination of a network that no run folder holds.

    Args:
        values: Its numbers, by the keys of the catalogue.
        pictures: What figures are drawn from, as in `pictures.json`.
        title: The page's title, in words.
        name: What the network is called on it.
        data: What is known of the images, as in `run.json`: name, num_train, num_test, num_classes.
    """
    record = {"name": name, "method": name, "kind": "measure", "status": "finished", "data": data}
    return _page(group_runs([Run(Path(), record, [dict(values)], dict(pictures))]), title, [])


def _page(methods: Sequence[Method], title: str, last: Sequence[Section]) -> Page:
    found = method_findings(methods)
    topics = [
        (words, texts) for topic, words in TOPICS.items() if (texts := [f.text for f in found if f.topic == topic])
    ]
    numbers = Section("numbers", "What came out", tables=[summary_table(methods)], findings=topics)
    return Page(
        title,
        [numbers, *build_sections(methods), *last],
        lead=lead(found),
        facts=describe_runs(methods),
        cautions=find_cautions(methods),
    )
