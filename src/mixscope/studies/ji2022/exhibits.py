"""Figures of the study of Ji et al. 2022: the layer-peeled flow against log t, networks against epochs."""

import math
from collections.abc import Mapping
from dataclasses import replace

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Section, present
from mixscope.report.page_texts import page_texts
from mixscope.studies.engine.results import Columns, Results, aligned
from mixscope.studies.engine.seed_figures import curve_lines, curves_figure, figure_name
from mixscope.studies.ji2022.evidence import SETTINGS, mean_classifier_decay

TEXTS = page_texts("mixscope.studies.ji2022", "sections")

METHOD_NAMES, PANELS = TEXTS.names("methods"), TEXTS.names("panels")
START = "flow-scale-1"
START_NAMES = {START: "start 1", "flow-scale-0.4": "start 0.4"}
RATES = {  # title, measures with their names, predicted slope
    "lengths": ("Lengths, centred", {"nc2_equinorm_means": "means", "nc2_equinorm_weights": "rows"}, -1.0),
    "scatter": ("Scatter within classes", {"nc1_trace": "trace ratio"}, -1.0),
    "angles": ("Angles, centred", {"nc2_equiangular_means": "means", "nc2_equiangular_weights": "rows"}, -1.0),
    "duality": ("Classifier against class means", {"nc3_duality": "distance"}, -1.0),
}
UNCENTRED = {
    "lengths": ("Lengths of classifier rows", {"nc2_equinorm_weights_uncentered": "not centred"}, -0.5),
    "angles": ("Angles of classifier rows", {"nc2_equiangular_weights_uncentered": "not centred"}, -0.5),
    "duality": ("Classifier against class means", {"nc3_duality_uncentered": "not centred"}, -0.5),
    "plane": ("Scatter in the plane of the means", {"nc1_pinv": "Papyan's ratio"}, -3.0),
}


def sections(results: Results) -> list[Section]:
    """Return the figures of the study; settings that were not run are left out."""
    networks = [network_section(results, setting) for setting in SETTINGS if results.methods(setting)]
    rates = [
        TEXTS.section(f"flow-{name}", _flow_panels(results, name, panels))
        for name, panels in (("rates", RATES), ("uncentred", UNCENTRED))
    ]
    return present([*rates, _laws(results), _starts(results), *networks, mean_classifier_section(results)])


def _laws(results: Results) -> Section:
    names = {"margin_ratio": "margin / best", "norm_law": "norm", "loss_law": "loss", "norm_ratio": "|W|² / |H|²"}
    lines = _both_starts(results, names)
    figures = []
    if lines:
        last = max(lines[0].x)
        lines.append(Line("1", [1.0, last], [1.0, 1.0], is_reference=True))
        figures.append(TEXTS.figure("flow-laws", lines, x_range=(5.0, last)))
    return TEXTS.section("laws", figures)


def _starts(results: Results) -> Section:
    kinds = {"generic": "generic", "symmetric": "symmetric", "decay": "generic, weight decay 0.005"}
    figures = [
        TEXTS.figure(
            "starts",
            _paths(results, setting, kinds, "nc3_duality"),
            name=figure_name("starts", setting),
            start=words,
        )
        for setting, words in START_NAMES.items()
    ]
    planar = {"in-the-plane": "start in the plane", "pushed-out": "pushed out by 0.3"}
    margins = _paths(results, "flow-in-a-plane", planar, "margin_ratio")
    if margins:
        margins.append(Line("3/4", [1.0, max(margins[0].x)], [0.75, 0.75], is_reference=True))
    figures.append(TEXTS.figure("starts-plane", margins))
    return TEXTS.section("starts", figures)


def _flow_panels(
    results: Results, name: str, panels: Mapping[str, tuple[str, Mapping[str, str], float]]
) -> list[Figure | None]:
    figures = []
    for panel, (title, keys, slope) in panels.items():
        lines = _both_starts(results, keys)
        lines += [_slope_line(line, slope) for line in lines[:1]]
        figures.append(TEXTS.figure("rates", lines, name=f"flow-{name}-{panel}", title=title))
    return figures


def _both_starts(results: Results, keys: Mapping[str, str]) -> list[Line]:
    """Return a line for each measure and size of the start, the smaller start's dashed."""
    return [
        replace(line, colour=colour, is_dashed=setting != START)
        for colour, (key, words) in enumerate(keys.items())
        for setting, start in START_NAMES.items()
        for line in _paths(results, setting, {"generic": f"{words}, {start}"}, key)
    ]


def _paths(results: Results, setting: str, methods: Mapping[str, str], key: str) -> list[Line]:
    """Return geometric means over starts along log t, each with a band from the smallest to the largest."""
    lines = []
    for colour, (method, name) in enumerate(methods.items()):
        tables = [Columns(outcome, "path") for outcome in results.of(setting, method).values()]
        if tables:
            times, paths = tables[-1]["log_times"], aligned(tables, key)
            records = [[value for value in values if value > 0] or [math.nan] for values in zip(*paths, strict=True)]
            means = [math.exp(sum(map(math.log, values)) / len(values)) for values in records]
            low, high = ([end(values) for values in records] for end in (min, max))
            lines.append(Line(name, times, means, low=low, high=high, colour=colour))
    return lines


def _slope_line(line: Line, slope: float) -> Line:
    """Return a line of this slope that meets another at its end."""
    first, last = line.x[len(line.x) // 3], line.x[-1]
    name = f"slope {slope:g}".replace("-", "−")
    return Line(name, [first, last], [line.y[-1] * (first / last) ** slope, line.y[-1]], is_reference=True)


def network_section(results: Results, setting: str) -> Section:
    """Return the neural-collapse quantities of one setting's networks along training."""
    return TEXTS.section(
        "network",
        [
            curves_figure(
                TEXTS,
                "network",
                results,
                setting,
                METHOD_NAMES,
                column=key,
                name=figure_name(setting, key),
                title=title,
            )
            for key, title in PANELS.items()
        ],
        name=figure_name("network", setting),
        setting=setting,
    )


def mean_classifier_section(results: Results) -> Section:
    """Return how far the mean of the classifier's rows moved, on every setting."""
    figures = []
    for setting, network in SETTINGS.items():
        lines = curve_lines(results, setting, METHOD_NAMES, "nc/classifier_mean_drift", table="measured")
        if not lines:
            continue
        rate = mean_classifier_decay(network) / network.epochs
        epochs = [float(epoch) for epoch in network.measure_at if epoch]
        law = [-math.expm1(-rate * epoch) for epoch in epochs]
        lines.append(Line("1 − exp(−rate × steps)", epochs, law, is_reference=True))
        figures.append(TEXTS.figure("drift", lines, name=figure_name("drift", setting), setting=setting))
    return TEXTS.section("mean-classifier", figures)
