"""Figures of the study of Ji et al. 2022: networks against epochs."""

import math

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section
from mixscope.report.page_texts import page_texts
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.seed_figures import curve_lines, curves_figure, figure_name
from mixscope.studies.ji2022.evidence import SETTINGS, mean_classifier_decay

TEXTS = page_texts("mixscope.studies.ji2022", "sections")

METHOD_NAMES, PANELS = TEXTS.names("methods"), TEXTS.names("panels")


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
