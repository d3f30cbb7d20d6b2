"""Sections on the separation problem that the layer-peeled flow solves: its optimum, and the square, which is none."""

import math

import torch

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Section
from mixscope.report.page_texts import page_texts
from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.loss import best_normalized_margin, normalized_margin
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start
from mixscope.theory.peeled.separation import imbalanced_separation_optimum, square_point
from mixscope.theory.peeled.separation_conditions import separation_kkt, solve_separation
from mixscope.theory_pages.page_parts import level, number, numbers, shortcomings

TEXTS = page_texts("mixscope.theory_pages", "layer_peeled")
SOLVED_COUNTS = ([2, 2, 2], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 1], [4, 2, 1])
SQUARE_SIZE = 5  # examples of each class of the square
PERTURBATIONS = (0.0, 0.01, 0.1, 0.3)
SQUARE_LOG_TIME = 1000.0


def optimum_section() -> Section:
    """Return the section on the optimum of the separation problem, in closed form and by a solver."""
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


def square_section() -> Section:
    """Return the section on the square: four classes in a plane, stationary and not optimal."""
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
    figure = TEXTS.figure("square-path", lines)
    optimum = imbalanced_separation_optimum([SQUARE_SIZE] * 4).value.value
    ratio = normalized_margin(square) / best_normalized_margin(4, SQUARE_SIZE)
    rows = [
        ["how far from a stationary point (KKT residual)", number(report.residual, digits=2)],
        ["its value, over the optimum's", f"{number(report.value, digits=6)} / {number(optimum, digits=6)}"],
        ["its margin, over the best", number(ratio)],
        ["curvature along the way out (below 0: not a minimum)", number(report.curvature)],
    ]
    return TEXTS.section("square", [figure], [TEXTS.table("square", rows)], notes=notes)
