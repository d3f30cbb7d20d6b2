"""Figures and table of the automatic switch-off beside fixed switches, plain training and mixup throughout."""

import math
from collections.abc import Sequence

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section, present
from mixscope.report.page_texts import page_texts
from mixscope.studies.engine.results import Number, Results, column
from mixscope.studies.engine.seed_figures import figure_name, mean_text, points_line
from mixscope.studies.liu2023.settings import AUTO, ERM, MIXUP
from mixscope.studies.when_to_mix.claims_switch import FIXED, MEASURES
from mixscope.studies.when_to_mix.runs import SETTINGS

TEXTS = page_texts("mixscope.studies.when_to_mix", "sections")


def sections(results: Results) -> list[Section]:
    """Return the table and the figures of the study; settings that were not run are left out."""
    settings = [setting for setting in SETTINGS if results.of(setting, AUTO)]
    return present([_methods(results, settings), _switches(results, settings)])


def _methods(results: Results, settings: Sequence[str]) -> Section:
    rows = []
    for setting in settings:
        for method in results.methods(setting):
            if not results.of(setting, method):
                continue
            cells = [
                mean_text(results.sample(setting, method, measure).values.values()) for _, _, measure, _ in MEASURES
            ]
            epochs = list(results.sample(setting, method, "mixing_off_after").values.values())
            known = [epoch for epoch in epochs if math.isfinite(epoch)]
            off = f"{min(known):g} to {max(known):g}" if known and method == AUTO else ""
            rows.append([f"{setting}, {method}", str(len(epochs)), *cells, off])
    return TEXTS.section("methods", tables=[TEXTS.table("methods", rows)], erm=ERM)


def _switches(results: Results, settings: Sequence[str]) -> Section:
    figures = []
    for setting in settings:
        fixed = {method: float(method.rpartition("-")[2]) for method in FIXED if results.of(setting, method)}
        places = {ERM: 1.0} | fixed | {MIXUP: _last_epoch(results, setting)}
        for _, words, measure, unit in MEASURES:
            lines = [
                points_line(results, setting, places, measure, name="ERM, fixed switches, mixup", colour=0),
                _auto_points(results, setting, measure),
            ]
            figures.append(
                TEXTS.figure(
                    "switches",
                    lines,
                    name=figure_name(setting, words),
                    setting=setting,
                    measure=words,
                    unit="%" if unit == "percentage points" else unit,
                )
            )
    return TEXTS.section("switches", figures)


def _last_epoch(results: Results, setting: str) -> float:
    return max(column(outcome, "curve", "epoch")[-1] for outcome in results.of(setting, AUTO).values())


def _auto_points(results: Results, setting: str, measure: str | Number) -> Line:
    epochs = results.sample(setting, AUTO, "mixing_off_after").values
    heights = results.sample(setting, AUTO, measure).values
    known = [seed for seed, epoch in epochs.items() if math.isfinite(epoch) and epoch > 0]
    return Line("automatic switch", [epochs[s] for s in known], [heights[s] for s in known], is_marked=True, colour=1)
