"""Page of runs: findings, tables and interactive figures, grouped by method; what no run measured is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixscope.records.store import Run
from mixscope.report.figures.channel_figure import channel_figure
from mixscope.report.figures.curve_figure import curve_figure, turning_figure
from mixscope.report.figures.layer_figure import layer_figure
from mixscope.report.figures.plane_figure import plane_figure
from mixscope.report.figures.reliability_figure import pool_reliability, reliability_figure
from mixscope.report.page import Figure, KeyEntry, Page, Section, present
from mixscope.report.rendering import write_page
from mixscope.report.runs.facts import describe_runs, find_cautions, run_cell
from mixscope.report.runs.findings import lead, method_findings
from mixscope.report.runs.groups import Method, group_runs
from mixscope.report.runs.paired_findings import ComparedPair, pair_table
from mixscope.report.runs.tables import TEXTS, channel_table, number_table, option_tables, short_table, summary_table
from mixscope.report.runs.words import number_words, range_words

CALIBRATION_KEYS = ("test/", "scaling/")


OPENING = ("calibration", "plane")  # sections that a page of one method begins with


def write_report(path: Path, runs: Sequence[Run], *, title: str, pairs: Sequence[ComparedPair] = ()) -> None:
    """Write the page of these runs (`runs_page`, `write_page`)."""
    write_page(runs_page(runs, title=title, pairs=pairs), path)


def runs_page(runs: Sequence[Run], *, title: str, pairs: Sequence[ComparedPair] = ()) -> Page:
    """Return the page of runs, grouped by method; runs of one method should differ in their seed only.

    `pairs` are comparisons of methods that predicted the same images. A page of one method opens with its figures.

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
    return _page(methods, title, [made], pairs)


def examination_page(
    values: Mapping[str, float | None], pictures: Mapping[str, Any], *, title: str, name: str = "network", **data: Any
) -> Page:
    """Return the page of one examination of a network that no run folder holds.

    Args:
        values: Its numbers, by the keys of the catalogue.
        pictures: What figures are drawn from, as in `pictures.json`.
        title: Of the page.
        name: What the network is called on it.
        data: What is known of the images, as in `run.json`: name, num_train, num_test, num_classes.
    """
    record = {"name": name, "method": name, "kind": "measure", "status": "finished", "data": data}
    return _page(group_runs([Run(Path(), record, [dict(values)], dict(pictures))]), title, [])


def _page(methods: Sequence[Method], title: str, last: Sequence[Section], pairs: Sequence[ComparedPair] = ()) -> Page:
    found = method_findings(methods, pairs)
    said = {words: [f.text for f in found if f.topic == topic] for topic, words in TEXTS.names("topics").items()}
    topics = [(words, texts) for words, texts in said.items() if texts]
    is_alone = len(methods) == 1
    tables = [short_table(methods[0]) if is_alone else summary_table(methods), pair_table(pairs)]
    numbers = Section("numbers", "What came out", tables=tables, findings=topics)
    sections = [numbers, *build_sections(methods)]
    if is_alone:
        sections.sort(key=lambda section: [*OPENING, section.name].index(section.name))
    return Page(
        title,
        [*sections, *last],
        lead=lead(found),
        facts=describe_runs(methods),
        cautions=find_cautions(methods),
    )


def build_sections(methods: Sequence[Method]) -> list[Section]:
    """Return the sections that have something to show, in the page's order."""
    builders = (course_section, plane_section, collapse_section, reliability_section, layers_section, channels_section)
    return present([build(methods) for build in builders])


def course_section(methods: Sequence[Method]) -> Section:
    """Return test error and loss, and the two training accuracies, against epochs."""
    notes = []
    for method in methods:
        if method.monitored_epochs:
            notes.append(_monitored_words(method))
        elif method.switched_off is not None:
            last, first = method.switched_off
            when = f"after epoch {last}" if first == last + 1 else f"between epochs {last} and {first}"
            notes.append(f"{method.name}: mixing was switched off {when}.")
    turns = [(m.name, curve.end_minus_best) for m in methods if (curve := m.curve("test/error")).epochs]
    if turns:
        lowest = "; ".join(f"{name} {100 * turn.best.mean:.2f}% at epoch {turn.epoch}" for name, turn in turns)
        notes.append(f"Lowest test error: {lowest}.")
    figures = [
        turning_figure(methods, "test/error", height=420),
        turning_figure(methods, "test/loss", height=320),
        curve_figure(methods, "train/accuracy_blends"),
        curve_figure(methods, "train/accuracy_clean"),
        curve_figure(methods, "train/loss_floor_gap", is_log=True),
    ]
    return TEXTS.section("course", figures, notes=notes, legend=method_key(methods))


def plane_section(methods: Sequence[Method]) -> Section:
    """Return the features of blended pairs on the classifier's plane, one panel per method."""
    figures = [
        plane_figure(f"plane-{m.index}", m.pictured("plane"), m.picture("plane"), colour=m.index) for m in methods
    ]
    return TEXTS.section("plane", figures)


def collapse_section(methods: Sequence[Method]) -> Section:
    """Return the neural collapse curves."""
    own = TEXTS.words["section"]["collapse"]
    figures = [curve_figure(methods, key, is_log=key.startswith("nc/nc1")) for key in own["drawn"]]
    table = number_table(methods, "nc/", "nc_test/")
    notes = [own["axes"]] if any(figures) else []
    return TEXTS.section("collapse", figures, [table], notes=notes, legend=method_key(methods))


def reliability_section(methods: Sequence[Method]) -> Section:
    """Return a reliability diagram per method, and the course of the calibration."""
    drawn = [replace(figure, is_wide=len(methods) == 1) for method in methods if (figure := _reliability(method))]
    figures: list[Figure | None] = [*drawn, curve_figure(methods, "test/ece")]
    figures.append(curve_figure(methods, "test/signed_gap", expected=0.0))
    table = number_table(methods, *CALIBRATION_KEYS) if any(figures) else None
    return TEXTS.section("calibration", figures, [table], legend=method_key(methods))


def layers_section(methods: Sequence[Method]) -> Section:
    """Return nonlinearity with its floor, relative defect and angle per layer."""
    numbers = {"nonlinearity": "floor", "relative_defect": None, "angle_degrees": None}
    figures = [layer_figure(methods, quantity, floor=floor) for quantity, floor in numbers.items()]
    return TEXTS.section("layers", figures, legend=method_key(methods))


def channels_section(methods: Sequence[Method]) -> Section:
    """Return the channel coordinates per method, the channel numbers against epochs, and their table."""
    figures = [
        channel_figure(f"pairs-{m.index}", m.pictured("pairs"), m.picture("pairs"), colour=m.index) for m in methods
    ]
    figures.append(curve_figure(methods, "channels/amplification_means", expected=1.0))
    figures.append(curve_figure(methods, "channels/logit_slope", expected=1.0))
    notes = _theory_notes(methods)
    if any(method.num_classes == 2 for method in methods):
        notes.append(TEXTS.words["section"]["channels"]["two_classes"])
    return TEXTS.section("channels", figures, [channel_table(methods)], notes=notes, legend=method_key(methods))


def method_key(methods: Sequence[Method]) -> list[KeyEntry]:
    """Return the key of the methods' colours."""
    return [KeyEntry(method.name, str(method.index), method.index) for method in methods]


def _reliability(method: Method) -> Figure | None:
    pooled = pool_reliability(method.pictures("reliability"))
    if pooled is None:
        return None
    ece, gap = method.final("test/ece"), method.final("test/signed_gap")
    numbers = [f"ECE {number_words(ece.mean, '.3f')}"] if ece else []
    numbers += [f"gap {number_words(gap.mean, '+.3f')}"] if gap else []
    count = pooled["num_seeds"]
    seeds = f"one {method.noun}" if count == 1 else f"{count} {method.noun}s pooled"
    title = f"{method.name}: {', '.join([*numbers, seeds])}"
    return reliability_figure(f"reliability-{method.index}", title, [(method.name, method.index, pooled)])


def _theory_notes(methods: Sequence[Method]) -> list[str]:
    """Say which curve was fitted to each method's blends, and how far off it is."""
    notes = []
    for method in methods:
        spread = method.final("channels/theory_residual")
        theory = (method.picture("pairs") or {}).get("theory") or {}
        if spread is not None and theory.get("name"):
            distance = range_words(spread, ".2f") or number_words(spread.mean, ".2f")
            what = "Root-mean-square distance of the blends from the fitted curve, over their length"
            notes.append(f"{method.name}: dotted is the {theory['name']}. {what}: {distance}.")
    return notes


def _monitored_words(method: Method) -> str:
    """Say after which epochs the over-training monitor ended mixing."""
    ended = sorted(epoch for epoch in method.monitored_epochs if epoch is not None)
    never = len(method.monitored_epochs) - len(ended)
    words = f"{method.name}: the over-training monitor, which goes by the training loss alone, ended mixing "
    if not ended:
        return words + "in no run: the loss on blends never came close enough to its floor."
    span = f"after epoch {ended[0]}" if ended[0] == ended[-1] else f"between epochs {ended[0]} and {ended[-1]}"
    return words + span + (f"; in {never} of {len(method.monitored_epochs)} runs it did not." if never else ".")
