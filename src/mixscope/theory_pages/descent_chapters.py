"""Chapters that hold the layer-peeled flow against its neighbours: gradient descent, and the flow with weight decay."""

import math

import torch

from mixscope.report.document import Chapter, Exhibit, Series
from mixscope.theory.peeled.decay import regularized_flow, regularized_optimum
from mixscope.theory.peeled.descent import layer_peeled_descent
from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory_pages.page_parts import number, shortcomings
from mixscope.theory_pages.theory_options import LayerPeeledOptions

LEARNING_RATE = 0.02  # ours, for up to 20 examples, and less in proportion for more
ROUNDING = 1e-16  # what is below it is drawn there


def descent_chapter(start: PeeledPoint, options: LayerPeeledOptions) -> Chapter:
    """Return the chapter on gradient descent beside the flow, from the same start."""
    rate = LEARNING_RATE * min(1.0, 20 / len(start.labels))
    steps = sorted({round(step) for step in torch.logspace(1, math.log10(options.descent_steps), 30).tolist()})
    descent = layer_peeled_descent(start, learning_rate=rate, record_steps=steps)
    flow = layer_peeled_flow(start, log_times=descent.value.log_times)
    series = []
    for place, (label, name) in enumerate({"missing margin": "margin_ratio", "duality": "nc3_duality"}.items()):
        for solution, is_descent in ((flow, False), (descent, True)):
            values = getattr(solution.value, name)
            series.append(
                Series(
                    f"{label}, {'descent' if is_descent else 'flow'}",
                    solution.value.log_times.exp().tolist(),
                    (1 - values if name == "margin_ratio" else values).tolist(),
                    colour=place,
                    is_marked=is_descent,
                )
            )
    exhibit = Exhibit(
        "descent-path",
        "Gradient descent on top of the flow",
        series,
        x_title="time t = learning rate × steps",
        y_title="distance to collapse",
        log_x=True,
        log_y=True,
        is_wide=True,
    )
    record = descent.value
    text = (
        f"Plain gradient descent, {options.descent_steps:,} steps of {rate:.3g}. Look for points close to the lines "
        "(a shorter step puts them closer), and for how little happens: all these steps take the duality from "
        f"{number(float(record.nc3_duality[0]), digits=2)} to {number(float(record.nc3_duality[-1]), digits=2)}. The "
        "flow's own clock, the logarithm of time, is what makes the rates visible at all."
    )
    notes = [
        "A comparison; the step size is ours. What the flow conserves drifts by "
        f"{number(descent.residual, digits=2)} of itself under descent.",
        *shortcomings(descent=descent, flow=flow),
    ]
    return Chapter("descent", "Beside gradient descent", text, [exhibit], notes=notes)


def decay_chapter(start: PeeledPoint, options: LayerPeeledOptions) -> Chapter:
    """Return the chapter on the flow with weight decay beside the one without, from the same start."""
    decay = options.weight_decay
    last = math.log10(40 / decay)  # the slowest mode decays as exp(-decay t)
    times = torch.logspace(-1, last, 60, dtype=torch.float64)
    with_decay = regularized_flow(start, times=times, weight_decay=decay, feature_decay=decay)
    without = layer_peeled_flow(start, log_times=times.log())
    series = []
    names = {"nc3_duality": "duality", "nc3_duality_uncentered": "duality, uncentred", "nc1_trace": "scatter"}
    for place, (name, label) in enumerate(names.items()):
        for solution, is_decaying in ((with_decay, True), (without, False)):
            words = label if is_decaying else f"{label}, no decay"
            values = getattr(solution.value, name).clamp(min=ROUNDING).tolist()
            moments = solution.value.log_times.exp().tolist()
            series.append(Series(words, moments, values, colour=place, is_dashed=not is_decaying))
    exhibit = Exhibit(
        "decay-path",
        f"With a weight decay of {decay:g} (solid) and without (dashed)",
        series,
        x_title="time t",
        y_title="distance to collapse",
        log_x=True,
        log_y=True,
        is_wide=True,
    )
    optimum = regularized_optimum(
        options.num_classes, options.num_per_class, weight_decay=decay, feature_decay=decay
    ).value
    text = (
        "Look for solid lines that drop to rounding within a time of a few over the decay, the uncentred ones too, "
        f"while the dashed ones creep. With decay there is an end, a simplex of margin {number(optimum.margin)} and "
        f"squared norm {number(optimum.weight_squared_norm)} each."
    )
    notes = [
        "The same penalty on classifier and features, summed loss. Derived; the objective of Zhu et al. 2021.",
        *shortcomings(flow_with_decay=with_decay, flow=without),
    ]
    return Chapter("decay", "With weight decay", text, [exhibit], notes=notes)
