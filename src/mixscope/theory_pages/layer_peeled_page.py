"""Page on the layer-peeled model: where gradient flow takes a classifier and free features, and how slowly."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Page, Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.theory.peeled.decay import regularized_flow, regularized_optimum
from mixscope.theory.peeled.flow import layer_peeled_descent, layer_peeled_flow
from mixscope.theory.peeled.loss import best_normalized_margin, normalized_margin
from mixscope.theory.peeled.path_record import FlowRecord
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start
from mixscope.theory.peeled.rates import PREDICTED_RATES, collapse_rates
from mixscope.theory.peeled.separation import imbalanced_separation_optimum, square_point
from mixscope.theory.peeled.separation_conditions import separation_kkt, solve_separation
from mixscope.theory.solution import Solution
from mixscope.theory_pages.page_parts import level, number, numbers, shortcomings, told_on_the_page
from mixscope.theory_pages.theory_options import LayerPeeledOptions

TEXTS = page_texts("mixscope.theory_pages", "layer_peeled")
NUM_RECORDS = 120
RATES_FROM = 0.03  # of the last log t: where the first correction to the power law is small, and time enough remains
LEARNING_RATE = 0.02  # ours, for up to 20 examples, and less in proportion for more
ROUNDING = 1e-16  # what is below it is drawn there
SOLVED_COUNTS = ([2, 2, 2], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 1], [4, 2, 1])
SQUARE_SIZE = 5  # examples of each class of the square
PERTURBATIONS = (0.0, 0.01, 0.1, 0.3)
SQUARE_LOG_TIME = 1000.0
NAMES, LAWS, DECAYING = (TEXTS.names(key) for key in ("measures", "laws", "decaying"))


@told_on_the_page()
def layer_peeled_page(options: LayerPeeledOptions) -> Page:
    """Follow the flow from a generic start and return the page about it."""
    counts = [options.num_per_class] * options.num_classes
    start = gaussian_start(counts, dim=options.dim, generator=torch.Generator().manual_seed(options.seed))
    times = torch.logspace(0, math.log10(options.log_time), NUM_RECORDS, dtype=torch.float64)
    flow = layer_peeled_flow(start, log_times=times)
    record = flow.value
    angle = record.nc2_equiangular_weights
    first = int((record.log_times >= 10).nonzero()[0])  # t = 22,000: what a long training reaches
    return TEXTS.page(
        [
            _geometry_section(flow),
            _law_section(record),
            _descent_section(start, options),
            _decay_section(start, options),
            _optimum_section(),
            _square_section(),
        ],
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
    slopes = [_slope(record, record.nc1_trace, -1.0), _slope(record, record.nc1_pinv, -3.0)]
    panels = {
        "margin": [margin, _slope(record, missing, -1.0)],
        "centered": [*_lines(record, centred), _slope(record, record.nc3_duality, -1.0)],
        "uncentered": [*_lines(record, uncentred), _slope(record, record.nc3_duality_uncentered, -0.5)],
        "scatter": [*_lines(record, ["nc1_trace", "nc1_pinv"]), *slopes],
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
    loss, norm = (number(curves[key][-1]) for key in ("loss_law", "norm_law"))
    return TEXTS.section("laws", [TEXTS.figure("law-ratios", lines)], loss=loss, norm=norm)


def _descent_section(start: PeeledPoint, options: LayerPeeledOptions) -> Section:
    """Hold gradient descent beside the flow, from the same start."""
    rate = LEARNING_RATE * min(1.0, 20 / len(start.labels))
    steps = sorted({round(step) for step in torch.logspace(1, math.log10(options.descent_steps), 30).tolist()})
    descent = layer_peeled_descent(start, learning_rate=rate, record_steps=steps)
    flow = layer_peeled_flow(start, log_times=descent.value.log_times)
    lines = []
    for solution, words in ((flow, "flow"), (descent, "descent")):
        record, is_marked = solution.value, solution is descent
        times, margins = record.log_times.exp().tolist(), (1 - record.margin_ratio).tolist()
        lines.append(Line(f"missing margin, {words}", times, margins, colour=0, is_marked=is_marked))
        lines.append(Line(f"duality, {words}", times, record.nc3_duality.tolist(), colour=1, is_marked=is_marked))
    first, last = (number(float(descent.value.nc3_duality[place]), digits=2) for place in (0, -1))
    return TEXTS.section(
        "descent",
        [TEXTS.figure("descent-path", lines)],
        notes=shortcomings(descent=descent, flow=flow),
        num_steps=options.descent_steps,
        rate=rate,
        first=first,
        last=last,
        drift=number(descent.residual, digits=2),
    )


def _decay_section(start: PeeledPoint, options: LayerPeeledOptions) -> Section:
    """Hold the flow with weight decay beside the one without, from the same start."""
    decay = options.weight_decay
    last = math.log10(40 / decay)  # the slowest mode decays as exp(-decay t)
    times = torch.logspace(-1, last, 60, dtype=torch.float64)
    with_decay = regularized_flow(start, times=times, weight_decay=decay, feature_decay=decay)
    without = layer_peeled_flow(start, log_times=times.log())
    lines = [
        Line(
            label if solution is with_decay else f"{label}, no decay",
            solution.value.log_times.exp().tolist(),
            getattr(solution.value, name).clamp(min=ROUNDING).tolist(),
            colour=place,
            is_dashed=solution is without,
        )
        for place, (name, label) in enumerate(DECAYING.items())
        for solution in (with_decay, without)
    ]
    sizes = options.num_classes, options.num_per_class
    optimum = regularized_optimum(*sizes, weight_decay=decay, feature_decay=decay).value
    figure = TEXTS.figure("decay-path", lines, decay=decay)
    notes = shortcomings(flow_with_decay=with_decay, flow=without)
    margin, norm = number(optimum.margin), number(optimum.weight_squared_norm)
    return TEXTS.section("decay", [figure], notes=notes, margin=margin, norm=norm)


def _optimum_section() -> Section:
    """Show the optimum of the separation problem, in closed form and by a solver."""
    rows, notes = [], []
    for counts in SOLVED_COUNTS:
        exact = imbalanced_separation_optimum(counts)
        found = solve_separation(counts, dim=len(counts), num_starts=2, generator=torch.Generator().manual_seed(0))
        notes += [*shortcomings(optimum=exact), *shortcomings(solver=found)]
        formula = math.sqrt(counts[0]) * (len(counts) - 1) if len(set(counts)) == 1 else math.nan
        lengths = exact.value.weight_gram.diagonal().sqrt()
        rows.append(
            [
                " + ".join(map(str, counts)),
                *numbers([formula, exact.value.value, found.value.squared_norm / 2], digits=7),
                *numbers([exact.value.normalized_margin, float(lengths[-1] / lengths[0])]),
            ]
        )
    return TEXTS.section("separation", tables=[TEXTS.table("separation", rows)], notes=notes)


def _square_section() -> Section:
    """Show the square: four classes in a plane, stationary and not optimal."""
    square = square_point(SQUARE_SIZE, dim=8)
    report = separation_kkt(square)
    drawn = gaussian_start([SQUARE_SIZE] * 4, dim=8, generator=torch.Generator().manual_seed(0))
    times = torch.logspace(0, math.log10(SQUARE_LOG_TIME), 60, dtype=torch.float64)
    lines, notes = [], []
    for size in PERTURBATIONS:
        start = PeeledPoint(
            square.head_weight + size * drawn.head_weight, square.features + size * drawn.features, square.labels
        )
        flow = layer_peeled_flow(start, log_times=times)
        notes += shortcomings(**{f"flow from {size}": flow})
        name = f"pushed off by {size:g}" if size else "exactly the square"
        lines.append(Line(name, flow.value.log_times.tolist(), flow.value.margin_ratio.tolist()))
    lines.append(level("best", [1.0, SQUARE_LOG_TIME], 1.0))
    optimum = imbalanced_separation_optimum([SQUARE_SIZE] * 4).value.value
    ratio = normalized_margin(square) / best_normalized_margin(4, SQUARE_SIZE)
    rows = [
        ["how far from a stationary point (KKT residual)", number(report.residual, digits=2)],
        ["its value, over the optimum's", f"{number(report.value, digits=6)} / {number(optimum, digits=6)}"],
        ["its margin, over the best", number(ratio)],
        ["curvature along the way out (below 0: not a minimum)", number(report.curvature)],
    ]
    return TEXTS.section("square", [TEXTS.figure("square-path", lines)], [TEXTS.table("square", rows)], notes=notes)
