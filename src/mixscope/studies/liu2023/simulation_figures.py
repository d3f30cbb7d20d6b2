"""Figures of simulations in the study of Liu et al. 2023: risks over time, turning times, bound, intrusion."""

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section
from mixscope.report.page_texts import page_texts
from mixscope.stats.numbers import number_text
from mixscope.studies.engine.results import Columns, Results, aligned
from mixscope.studies.liu2023.settings import FEATURES, OUTSIDE

TEXTS = page_texts("mixscope.studies.liu2023", "sections")

PATHS = {
    "mixup": "mixup",
    "plain": "no mixing (ERM)",
    "clean": "mixup with clean labels",
    "feature_blends": "mixup of features",
    "switched": "final risk after a switch to ERM at this time",
}
BANDS = ("mixup", "clean")


def simulation_sections(results: Results) -> list[Section]:
    """Return the sections about simulations that there are runs for."""
    sections = [
        _risk_section(results, FEATURES, "random_features"),
        _risk_section(results, OUTSIDE, "outside_teacher"),
        _sizes_section(results),
        _modes_section(results),
        _intrusion_section(results),
    ]
    return [section for section in sections if section is not None]


def _columns(results: Results, setting: str, method: str, table: str) -> list[Columns]:
    outcomes = results.of(setting, method).values()
    return [Columns(outcome, table) for outcome in outcomes if table in outcome.tables]


def _stacked(tables: list[Columns], key: str) -> Tensor:
    return torch.tensor(aligned(tables, key), dtype=torch.float64)


def _median(values: Tensor) -> list[float]:
    return [float(x) for x in values.quantile(0.5, dim=0)]


def _line(tables: list[Columns], key: str, name: str, *, colour: int, has_band: bool) -> Line:
    heights = _stacked(tables, key)
    ends = [[float(x) for x in heights.quantile(level, dim=0)] for level in (0.25, 0.75)] if has_band else [[], []]
    return Line(name, tables[0]["time"], _median(heights), low=ends[0], high=ends[1], colour=colour)


def _risk_section(results: Results, setting: str, method: str) -> Section | None:
    tables = _columns(results, setting, method, "paths")
    if not tables:
        return None
    risks = [
        _line(tables, key, name, colour=place, has_band=key in BANDS) for place, (key, name) in enumerate(PATHS.items())
    ]
    top = 2.5 * float(_stacked(tables, "mixup")[:, -1].quantile(0.5))
    distances = [
        _line(tables, key, name, colour=place, has_band=True)
        for place, key, name in ((0, "distance", "mixup"), (2, "clean_distance", "mixup with clean labels"))
    ]
    figures = [
        TEXTS.figure("risks", risks, name=f"{setting}-risks", y_range=(0, top)),
        TEXTS.figure("distances", distances, name=f"{setting}-distances"),
    ]
    return TEXTS.section(f"{setting}-paths", figures, count=len(tables))


def _sizes_section(results: Results) -> Section | None:
    tables = _columns(results, FEATURES, "sizes", "settings")
    if not tables:
        return None
    keys = ("best_time", "smallest", "end", "rise")
    medians = {key: _median(_stacked(tables, key)) for key in keys}
    shares = [float(x) for x in _stacked(tables, "is_u_shaped").mean(dim=0)]
    rows = [
        [
            f"{tables[0]['num_examples'][place]:g} examples, alpha {tables[0]['alpha'][place]:g}",
            *(number_text(medians[key][place]) for key in keys),
            f"{share:.0%}",
        ]
        for place, share in enumerate(shares)
    ]
    return TEXTS.section("simulated-sizes", tables=[TEXTS.table("sizes", rows)], count=len(tables))


def _modes_section(results: Results) -> Section | None:
    modes = _columns(results, FEATURES, "bound_and_modes", "modes")[:1]
    bounds = _columns(results, FEATURES, "bound_and_modes", "bound")
    if not modes:
        return None
    turns = [place for place, is_turning in enumerate(modes[0]["turns"]) if is_turning]
    curvatures = modes[0]["curvature"]
    turning = TEXTS.figure(
        "turning-times",
        [
            Line("exactly", [curvatures[p] for p in turns], [modes[0]["exact"][p] for p in turns], is_marked=True),
            Line("by the bound", curvatures, modes[0]["bound"], is_marked=True),
            Line("1 / μ", curvatures, [1 / curvature for curvature in curvatures], is_reference=True),
        ],
    )
    lines = [
        _line(bounds, key, name, colour=place, has_band=False)
        for place, (key, name) in enumerate(
            (("excess", "true"), ("bound", "bound"), ("known_noise", "bound that knows the noise"))
        )
    ]
    bound = TEXTS.figure("risk-bound", lines)
    loose = torch.tensor(list(results.sample(FEATURES, "bound_and_modes", "bound/looseness").values.values()))
    ratio = number_text(float(loose.double().quantile(0.5)))
    return TEXTS.section("modes", [turning, bound], ratio=ratio, count=len(bounds))


def _intrusion_section(results: Results) -> Section | None:
    lines = []
    for colour, (setting, method) in enumerate((("digits-all", "digits_intrusion"), ("iris", "iris_intrusion"))):
        tables = _columns(results, setting, method, "rates")
        if tables:
            rates = _stacked(tables, "rate").mean(dim=0)
            lines.append(Line(setting, tables[0]["weight"], [float(x) for x in rates], colour=colour))
    if not lines:
        return None
    figure = TEXTS.figure("intrusion-rates", lines)
    return TEXTS.section("intrusion", [figure])
