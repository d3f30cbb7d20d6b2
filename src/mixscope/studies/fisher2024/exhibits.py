"""Figures for Fisher et al. 2024: planes of three classifiers, linearity by layer, calibration, confidence, numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from mixscope.report.figures.line_figure import mean_line
from mixscope.report.figures.plane_figure import plane_figure
from mixscope.report.figures.reliability_figure import pool_reliability, reliability_figure
from mixscope.report.page import Cell, Figure, Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.studies.engine.evidence_sources import percent
from mixscope.studies.engine.results import Number, Results, picture, read_number
from mixscope.studies.engine.seed_figures import curves_figure, figure_name, mean_text
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.runs import ALL, ERM, FIXED, LABELS, MANIFOLD, MIXUP, SQUARED, THEORY

TEXTS = page_texts("mixscope.studies.fisher2024", "sections")

NAMES = {
    ERM: "plain training",
    MIXUP: "mixup",
    SQUARED: "mixup, squared error",
    MANIFOLD: "manifold mixup",
    FIXED: "mixup, fixed simplex classifier",
    LABELS: "labels mixed alone",
}
COLOURS = {method: place for place, method in enumerate(ALL)}
NUM_TRIPLES = 3
MODES = {"eval": "evaluation mode", "train": "training mode"}
FINAL: Mapping[str, str | Number] = {
    "test accuracy, %": percent("test/accuracy"),
    "ECE": "test/ece",
    "confidence, right": "test/confidence_right",
    "confidence, wrong": "test/confidence_wrong",
}
BOTH = {method: NAMES[method] for method in (ERM, MIXUP)}


def clean_settings(results: Results) -> list[str]:
    """Return the settings on which networks were trained, without those with wrong labels."""
    names = dict.fromkeys(trial.setting for trial in results.trials if MIXUP in results.methods(trial.setting))
    return [name for name in names if not name.endswith("-noisy")]


def plane_sections(results: Results) -> list[Section]:
    """Return the sections on what the plane of three classifiers shows."""
    settings = clean_settings(results)
    ends = [
        _plane(picture, "eval", f"{NAMES[method]}, {setting}, epoch {picture['epoch']}", "methods", setting, method)
        for setting in settings
        for method in results.methods(setting)
        for picture in _pictures(results, setting, method)[-1:]
    ]
    courses = [
        _plane(picture, mode, f"{setting}, epoch {picture['epoch']}, {words}", "training", setting, mode)
        for setting in settings
        for mode, words in MODES.items()
        for picture in _pictures(results, setting, MIXUP)
        if mode == "eval" or picture["train"] != picture["eval"]  # equal where there is no batch norm
    ]
    triples = [
        _plane(picture, "eval", f"{setting}: {', '.join(picture['classes'])}", "triples", setting, f"seed {seed}")
        for setting in settings
        for seed in range(NUM_TRIPLES)
        for picture in _pictures(results, setting, MIXUP, seed=seed)[-1:]
    ]
    return [
        TEXTS.section("planes", ends),
        TEXTS.section("planes-training", courses),
        TEXTS.section("planes-triples", triples),
    ]


def _pictures(results: Results, setting: str, method: str, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return the pictures of a run that ended well, by epoch."""
    outcome = results.of(setting, method).get(f"seed {seed}")
    return [] if outcome is None or outcome.problem else outcome.pictures.get("planes", [])


def _plane(picture: Mapping[str, Any], mode: str, title: str, *place: str) -> Figure | None:
    columns = {**picture[mode], "weight": picture["weight"]}
    kinds = {
        kind: {
            name: [value for value, is_same in zip(column, picture["same"], strict=True) if is_same == (kind == "same")]
            for name, column in columns.items()
        }
        for kind in ("same", "different")
    }
    known = {"classes": picture["classes"], "classifiers": picture["classifiers"]}
    return plane_figure(figure_name("plane", *place, str(picture["epoch"])), title, known | kinds)


def numbers_table(results: Results, settings: Sequence[str], columns: Mapping[str, str | Number]) -> Table:
    """Return a table of means over seeds with 95% intervals, a row for each method that was run, under its setting."""
    rows: list[list[str]] = []
    heads = {}
    for setting in settings:
        run = [method for method in results.methods(setting) if results.of(setting, method)]
        if run:
            heads[len(rows)] = Cell(setting)
        for method in run:
            samples = (results.sample(setting, method, number) for number in columns.values())
            rows.append([NAMES[method], *(mean_text(sample.values.values()) for sample in samples)])
    return Table(["method", *columns], rows, heads)


def run_settings(results: Results) -> list[str]:
    """Return all settings on which plain training and mixup were run, those with wrong labels too."""
    names = dict.fromkeys(trial.setting for trial in results.trials)
    return [name for name in names if {ERM, MIXUP} <= set(results.methods(name))]


def layers_section(results: Results) -> Section:
    """Return the section on how far blends are from the line, layer by layer."""
    settings = clean_settings(results)
    figures = [_layers(results, setting) for setting in settings]
    for setting in settings:
        figures += _first_and_last(results, setting)
    return TEXTS.section("layers", figures)


def calibration_section(results: Results) -> Section:
    """Return the section on calibration along training and at its end."""
    figures: list[Figure | None] = []
    for setting in run_settings(results):
        figures.append(curves_figure(TEXTS, "ece", results, setting, BOTH))
        figures.append(curves_figure(TEXTS, "loss", results, setting, BOTH))
        figures.append(_reliability(results, setting))
    return TEXTS.section("calibration", figures)


def confidence_section(results: Results) -> Section:
    """Return the section on how confident networks are where they are wrong, and the table of all final numbers."""
    figures = [curves_figure(TEXTS, "confidence", results, setting, BOTH) for setting in run_settings(results)]
    settings = list(dict.fromkeys(trial.setting for trial in results.trials if trial.setting != THEORY))
    tables = [numbers_table(results, settings, FINAL)]
    return TEXTS.section("confidence", figures, tables)


def _layers(results: Results, setting: str) -> Figure | None:
    lines = []
    for method in results.methods(setting):
        runs = _finished(results, setting, method)
        if runs:
            sites: Sequence[str] = picture(runs[0], "sites")
            columns = [[read_number(run, _defect(site)) for run in runs] for site in sites]
            places = [float(number) for number in range(1, len(sites) + 1)]
            lines.append(mean_line(NAMES[method], places, columns, colour=COLOURS[method], has_dots=True))
    return TEXTS.figure("layers", lines, name=figure_name("layers", setting), setting=setting)


def _first_and_last(results: Results, setting: str) -> list[Figure | None]:
    """Return the defect along training of the first layer and of the last before the classifier."""
    runs = _finished(results, setting, MIXUP)
    if not runs:
        return []
    sites = picture(runs[0], "sites")
    methods = {method: NAMES[method] for method in results.methods(setting)}
    layers = {"first layer": sites[0], "last layer before the classifier": sites[-2]}
    return [
        curves_figure(TEXTS, "defect", results, setting, methods, column=_defect(site), layer=layer)
        for layer, site in layers.items()
    ]


def _reliability(results: Results, setting: str) -> Figure | None:
    diagrams = []
    for method, label in BOTH.items():
        pooled = pool_reliability([picture(run, "reliability") for run in _finished(results, setting, method)])
        diagrams.append((label, COLOURS[method], pooled))
    return reliability_figure(figure_name("reliability", setting), f"{setting}: accuracy by confidence", diagrams)


def _finished(results: Results, setting: str, method: str) -> list[Outcome]:
    return [run for run in results.of(setting, method).values() if not run.problem and "sites" in run.pictures]


def _defect(site: str) -> str:
    return f"linearity/{site}/relative_defect"
