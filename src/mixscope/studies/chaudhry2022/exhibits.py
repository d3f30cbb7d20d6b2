"""Figures of the study of Chaudhry et al. 2022: accuracy by number of labels, and how linear layers are."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mixscope.records.claims import Sample
from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Section, Table, present
from mixscope.report.page_texts import page_texts
from mixscope.stats.intervals import student_interval
from mixscope.studies.chaudhry2022.evidence import ACCURACY, NUM_LAYERS, site_key
from mixscope.studies.chaudhry2022.runs import SETTINGS, data_of, labels_of
from mixscope.studies.engine.evidence_sources import PERCENT, percent
from mixscope.studies.engine.instruments import LINEARITY_ALPHAS
from mixscope.studies.engine.results import Results, column, picture
from mixscope.studies.engine.seed_figures import curves_figure, figure_name, line_through

TEXTS = page_texts("mixscope.studies.chaudhry2022", "sections")

METHODS = TEXTS.names("methods")  # drawn in every figure
OTHERS = TEXTS.names("others")
POINTS_SHOWN = ("digits-50", "digits-200")  # by the number of points in a blend
RUNS_SHOWN = ("digits-50", "fashion-mnist-250", "cifar10-250", "svhn-250")  # along training
FAMILIES = {  # K from 2 on
    "Eq. 2": ("ict2", "ict3", "ict4", "ict5"),
    "moving average": ("ict2-ema", "ict3-ema", "ict4-ema", "ict5-ema"),
}
NUMBERS, UNITS = TEXTS.names("numbers"), TEXTS.names("units")
ROUNDING = 1e-6  # of the relative defect: below it a layer is affine, and 0 but for rounding


def layers_section(results: Results, setting: str) -> Section:
    """Return the four numbers of every layer at the end of training."""
    return TEXTS.section(
        "layers",
        [
            _by_layer(figure_name("layers", setting, name), title, name, _lines(results, setting, name, METHODS))
            for name, title in NUMBERS.items()
        ],
        name=figure_name("layers", setting),
        setting=setting,
    )


def by_points_section(results: Results, settings: Sequence[str]) -> Section:
    """Return NonLin and the relative defect of every layer for each K, with Eq. 2 and with a moving average."""
    figures = []
    for setting in settings:
        for family, methods in FAMILIES.items():
            labels = {method: f"K = {num_points}" for num_points, method in enumerate(methods, start=2)}
            for name in ("nonlinearity", "relative_defect"):
                title = f"{NUMBERS[name]}, {setting}: {family}"
                lines = [line for line in _lines(results, setting, name, labels) if line.x]
                if len(lines) > 1:
                    figures.append(_by_layer(figure_name("points", setting, family, name), title, name, lines))
    return TEXTS.section("points", figures)


def along_training_section(results: Results, setting: str) -> Section:
    """Return the four numbers of every layer along training."""
    return TEXTS.section(
        "along",
        [
            curves_figure(
                TEXTS,
                "along",
                results,
                setting,
                METHODS,
                column=site_key(setting, layer, name),
                name=figure_name("along", setting, name, str(layer)),
                title=title,
                layer=layer,
                unit=UNITS[name],
            )
            for name, title in NUMBERS.items()
            for layer in range(NUM_LAYERS)
        ],
        name=figure_name("along", setting),
        setting=setting,
    )


def laws_section(results: Results, setting: str) -> Section:
    """Return NonLin by layer for every law of the pairs' weights."""
    return TEXTS.section(
        "laws",
        [
            _by_layer(
                figure_name("law", setting, f"{alpha:g}"),
                f"Weights of alpha {alpha:g}",
                "nonlinearity",
                _lines(results, setting, "nonlinearity", METHODS, alpha=alpha),
            )
            for alpha in LINEARITY_ALPHAS
        ],
        name=figure_name("laws", setting),
        setting=setting,
    )


def known_layers_section(results: Results) -> Section:
    """Return what the metric says of layers that are known to be linear, or not."""
    rows = []
    for outcome in results.of("theory", "affine-layers").values():
        columns = [column(outcome, "layers", key) for key in ("alpha", "nonlinearity", "floor", "relative_defect")]
        for layer, (alpha, value, floor, defect) in zip(
            picture(outcome, "layers"), zip(*columns, strict=True), strict=True
        ):
            rows.append([layer, f"{alpha:g}", f"{value:.3f}", f"{floor:.3f}", f"{defect:.2g}"])
    return TEXTS.section("known-layers", tables=[TEXTS.table("known-layers", rows)])


def _by_layer(anchor: str, title: str, number: str, lines: Sequence[Line]) -> Figure | None:
    """Return a figure of one of `NUMBERS` against the layer."""
    key = "defects" if number == "relative_defect" else "layers"
    return TEXTS.figure(key, lines, name=anchor, title=title, unit=UNITS[number])


def _lines(
    results: Results, setting: str, name: str, methods: Mapping[str, str], *, alpha: float | None = None
) -> list[Line]:
    keys = {layer: site_key(setting, layer, name, alpha=alpha) for layer in range(NUM_LAYERS)}
    least = ROUNDING if name == "relative_defect" else -math.inf
    return [
        line_through(
            [(layer, results.sample(setting, method, key)) for layer, key in keys.items()],
            name=label,
            colour=place,
            at_least=least,
        )
        for place, (method, label) in enumerate(methods.items())
    ]


def sections(results: Results) -> list[Section]:
    """Return the figures of the study; settings that were not run are left out."""
    run = [setting for setting in SETTINGS if results.methods(setting)]
    shown = [setting for setting in RUNS_SHOWN if setting in run]
    made = [_accuracies(results, run), TEXTS.section("training", [_training(results, setting) for setting in shown])]
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


def _training(results: Results, setting: str) -> Figure | None:
    """Return test accuracy along training, and that of the runs that are left out of means."""
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
