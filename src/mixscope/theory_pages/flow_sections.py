"""Sections that hold the layer-peeled flow against its neighbours: gradient descent, and the flow with weight decay."""

import math

import torch

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section
from mixscope.report.page_texts import page_texts
from mixscope.theory.peeled.decay import regularized_flow, regularized_optimum
from mixscope.theory.peeled.flow import layer_peeled_descent, layer_peeled_flow
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory_pages.page_parts import number, shortcomings
from mixscope.theory_pages.theory_options import LayerPeeledOptions

TEXTS = page_texts("mixscope.theory_pages", "layer_peeled")
LEARNING_RATE = 0.02  # ours, for up to 20 examples, and less in proportion for more
ROUNDING = 1e-16  # what is below it is drawn there
DECAYING = {"nc3_duality": "duality", "nc3_duality_uncentered": "duality, uncentred", "nc1_trace": "scatter"}


def descent_section(start: PeeledPoint, options: LayerPeeledOptions) -> Section:
    """Return the section on gradient descent beside the flow, from the same start."""
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
    figure = TEXTS.figure("descent-path", lines)
    return TEXTS.section(
        "descent",
        [figure],
        notes=shortcomings(descent=descent, flow=flow),
        num_steps=options.descent_steps,
        rate=rate,
        first=first,
        last=last,
        drift=number(descent.residual, digits=2),
    )


def decay_section(start: PeeledPoint, options: LayerPeeledOptions) -> Section:
    """Return the section on the flow with weight decay beside the one without, from the same start."""
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
    optimum = regularized_optimum(
        options.num_classes, options.num_per_class, weight_decay=decay, feature_decay=decay
    ).value
    figure = TEXTS.figure("decay-path", lines, decay=decay)
    notes = shortcomings(flow_with_decay=with_decay, flow=without)
    margin, norm = number(optimum.margin), number(optimum.weight_squared_norm)
    return TEXTS.section("decay", [figure], notes=notes, margin=margin, norm=norm)
