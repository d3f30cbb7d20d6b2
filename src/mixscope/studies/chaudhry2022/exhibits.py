"""Figures of the study of Chaudhry et al. 2022: accuracy by number of labels and along training; what is left out."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from mixscope.records.claims import Sample
from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Section, Table, present
from mixscope.report.page_texts import page_texts
from mixscope.stats.intervals import student_interval
from mixscope.studies.chaudhry2022.evidence import ACCURACY
from mixscope.studies.chaudhry2022.figures_layers import (
    FAMILIES,
    METHODS,
    along_training_section,
    by_points_section,
    known_layers_section,
    laws_section,
    layers_section,
)
from mixscope.studies.chaudhry2022.runs import SETTINGS, data_of, labels_of
from mixscope.studies.engine.evidence_sources import PERCENT, percent
from mixscope.studies.engine.results import Results, column
from mixscope.studies.engine.seed_figures import curves_figure, figure_name, line_through

TEXTS = page_texts("mixscope.studies.chaudhry2022", "sections")

OTHERS = TEXTS.names("others")
POINTS_SHOWN = ("digits-50", "digits-200")  # by the number of points in a blend
RUNS_SHOWN = ("digits-50", "fashion-mnist-250", "cifar10-250", "svhn-250")  # along training


def sections(results: Results) -> list[Section]:
    """Return the figures of the study; settings that were not run are left out."""
    run = [setting for setting in SETTINGS if results.methods(setting)]
    shown = [setting for setting in RUNS_SHOWN if setting in run]
    made = [_accuracies(results, run), _trainings(results, shown)]
    made += [layers_section(results, setting) for setting in run]
    made.append(by_points_section(results, [setting for setting in POINTS_SHOWN if setting in run]))
    made += [along_training_section(results, setting) for setting in shown]
    made += [laws_section(results, setting) for setting in shown]
    return present([*made, known_layers_section(results)])


def _accuracies(results: Results, run: Sequence[str]) -> Section:
    """Return accuracy against the number of labels, with a table of every method."""
    figures = []
    for data in dict.fromkeys(data_of(setting) for setting in run):
        sizes = sorted((s for s in run if data_of(s) == data), key=labels_of)
        for family, members in FAMILIES.items():
            methods = ("erm", "mixup", *members)
            lines = [_by_labels(results, sizes, method, colour=place) for place, method in enumerate(methods)]
            baseline = replace(_by_labels(results, sizes, "logistic"), low=(), high=(), is_reference=True)
            if len(sizes) > 1:
                name = figure_name("accuracy", data, family)
                figures.append(TEXTS.figure("accuracy", [*lines, baseline], name=name, data=data, family=family))
    rows = [
        [name, *(_percent(results.sample(setting, method, ACCURACY)) for setting in run)]
        for method, name in (METHODS | OTHERS).items()
        if any(results.of(setting, method) for setting in run)
    ]
    return TEXTS.section("accuracy", figures, [Table(["method", *run], rows)])


def _trainings(results: Results, shown: Sequence[str]) -> Section:
    """Return test accuracy along training, and that of the runs that are left out of means."""
    return TEXTS.section("training", [_training(results, setting) for setting in shown])


def _training(results: Results, setting: str) -> Figure | None:
    left_out = [
        Line(
            f"{(METHODS | OTHERS)[method]}, {seed}, {outcome.problem.partition(':')[0]}",
            column(outcome, "curve", "epoch"),
            [PERCENT * value for value in column(outcome, "curve", ACCURACY)],
            is_reference=True,
        )
        for method in results.methods(setting)
        for seed, outcome in results.of(setting, method).items()
        if outcome.problem
    ]
    return curves_figure(TEXTS, "training", results, setting, METHODS, column=ACCURACY, more=left_out)


def _by_labels(results: Results, sizes: Sequence[str], method: str, *, colour: int | None = None) -> Line:
    samples = [(labels_of(size), results.sample(size, method, percent(ACCURACY))) for size in sizes]
    return line_through(samples, name=(METHODS | OTHERS)[method], colour=colour)


def _percent(sample: Sample) -> str:
    left_out = f" ({len(sample.excluded)} left out)" if sample.excluded else ""
    values = [PERCENT * value for value in sample.values.values()]
    if not values:
        return left_out.strip(" ()") or "–"
    interval = " [{:.1f}, {:.1f}]".format(*student_interval(values)) if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{interval}{left_out}"
