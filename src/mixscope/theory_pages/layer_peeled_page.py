"""Page on the layer-peeled model: where gradient flow takes a classifier and free features, and how slowly."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Page, Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.path_record import FlowRecord
from mixscope.theory.peeled.point import gaussian_start
from mixscope.theory.peeled.rates import PREDICTED_RATES, collapse_rates
from mixscope.theory.solution import Solution
from mixscope.theory_pages.flow_sections import decay_section, descent_section
from mixscope.theory_pages.page_parts import level, number, shortcomings, told_on_the_page
from mixscope.theory_pages.separation_sections import optimum_section, square_section
from mixscope.theory_pages.theory_options import LayerPeeledOptions

TEXTS = page_texts("mixscope.theory_pages", "layer_peeled")
NUM_RECORDS = 120
RATES_FROM = 0.03  # of the last log t: where the first correction to the power law is small, and time enough remains
NAMES, LAWS = TEXTS.names("measures"), TEXTS.names("laws")


def layer_peeled_page(options: LayerPeeledOptions) -> Page:
    """Follow the flow from a generic start and return the page about it."""
    counts = [options.num_per_class] * options.num_classes
    start = gaussian_start(counts, dim=options.dim, generator=torch.Generator().manual_seed(options.seed))
    with told_on_the_page():
        times = torch.logspace(0, math.log10(options.log_time), NUM_RECORDS, dtype=torch.float64)
        flow = layer_peeled_flow(start, log_times=times)
        sections = [
            _geometry_section(flow),
            _law_section(flow.value),
            descent_section(start, options),
            decay_section(start, options),
            optimum_section(),
            square_section(),
        ]
    record = flow.value
    angle = record.nc2_equiangular_weights
    first = int((record.log_times >= 10).nonzero()[0])  # t = 22,000: what a long training reaches
    return TEXTS.page(
        sections,
        early=number(float(angle[first]), digits=2),
        early_time=float(record.log_times[first]),
        late=number(float(angle[-1]), digits=2),
        late_time=float(record.log_times[-1]),
        options=options,
        num_steps=flow.iterations,
        drift=number(flow.residual, digits=2),
    )


def _lines(record: FlowRecord, names: Sequence[str]) -> list[Line]:
    return [Line(NAMES[name], record.log_times.tolist(), getattr(record, name).tolist()) for name in names]


def _slope(record: FlowRecord, values: Tensor, exponent: float) -> Line:
    """Return a line of this slope that meets the values at the last record."""
    ends = record.log_times[[len(record.log_times) // 3, -1]]
    line = float(values[-1]) * (ends / ends[-1]) ** exponent
    return Line(f"slope {number(exponent)}", ends.tolist(), line.tolist(), is_reference=True)


def _geometry_section(flow: Solution[FlowRecord]) -> Section:
    record = flow.value
    is_uncentred = {name: name.endswith("_uncentered") for name in NAMES if not name.startswith("nc1")}
    centred, uncentred = ([name for name, is_raw in is_uncentred.items() if is_raw == kind] for kind in (False, True))
    missing = 1 - record.margin_ratio
    margin = Line("1 − normalised margin / best", record.log_times.tolist(), missing.tolist())
    scatter_slopes = [_slope(record, record.nc1_trace, -1.0), _slope(record, record.nc1_pinv, -3.0)]
    panels = {
        "margin": [margin, _slope(record, missing, -1.0)],
        "centered": [*_lines(record, centred), _slope(record, record.nc3_duality, -1.0)],
        "uncentered": [*_lines(record, uncentred), _slope(record, record.nc3_duality_uncentered, -0.5)],
        "scatter": [*_lines(record, ["nc1_trace", "nc1_pinv"]), *scatter_slopes],
    }
    figures = [TEXTS.figure(name, lines) for name, lines in panels.items()]
    return TEXTS.section("geometry", figures, [_rate_table(record)], notes=shortcomings(flow=flow))


def _rate_table(record: FlowRecord) -> Table:
    rates = collapse_rates(record, first_log_time=RATES_FROM * float(record.log_times[-1]))
    rows = [
        [
            NAMES[name],
            number(PREDICTED_RATES[name]),
            f"{rate.exponent:.3f}".replace("-", "−"),
            f"{rate.low:.3f} to {rate.high:.3f}".replace("-", "−"),
            "Ji et al. 2022; derived" if PREDICTED_RATES[name] == -1 else "derived",
        ]
        for name, rate in rates.items()
    ]
    return TEXTS.table("rates", rows)


def _law_section(record: FlowRecord) -> Section:
    times = record.log_times.tolist()
    curves = {key: getattr(record, key).tolist() for key in LAWS}
    for key in ("loss_law", "norm_law"):  # their logarithms of log t say nothing before
        curves[key] = [value if time > 1 else math.nan for time, value in zip(times, curves[key], strict=True)]
    lines = [*(Line(words, times, curves[key]) for key, words in LAWS.items()), level("1", times, 1.0)]
    figure = TEXTS.figure("law-ratios", lines)
    loss, norm = (number(curves[key][-1]) for key in ("loss_law", "norm_law"))
    return TEXTS.section("laws", [figure], loss=loss, norm=norm)
