"""Sections on the separation problem that the layer-peeled flow solves: its optimum, and the square, which is none."""

import math

import torch

from mixscope.report.figures.line_figure import Axes, Line, line_figure
from mixscope.report.page import Section, Table
from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.loss import best_normalized_margin, normalized_margin
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start
from mixscope.theory.peeled.separation import imbalanced_separation_optimum, square_point
from mixscope.theory.peeled.separation_conditions import separation_kkt, solve_separation
from mixscope.theory_pages.page_parts import level, number, numbers, shortcomings

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
    columns = [
        "examples of each class",
        "√n (K − 1)",
        "closed form",
        "found by a solver",
        "best margin γ",
        "row length, last / first class",
    ]
    text = (
        "The direction of the flow tends to the smallest classifier and features that keep every example a margin of 1 "
        "away from every other class. Look for the three numbers of a row to agree. With classes of one size the "
        "optimum is a simplex; a smaller class gets a shorter classifier row."
    )
    notes.insert(
        0,
        "Source: Ji et al. 2022 (the problem and its optimum); constants derived; classes of different sizes: the "
        "geometry of Thrampoulidis et al. 2022, derived here.",
    )
    return Section(
        "separation",
        "The separation problem",
        text,
        tables=[Table(columns, rows, title="The separation problem")],
        notes=notes,
    )


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
    axes = Axes("log t, the logarithm of time", "margin / best", log_x=True, y_range=(0.5, 1.02))
    figure = line_figure("square-path", "Flow from the square", lines, axes, is_wide=True)
    optimum = imbalanced_separation_optimum([SQUARE_SIZE] * 4).value.value
    ratio = normalized_margin(square) / best_normalized_margin(4, SQUARE_SIZE)
    rows = [
        ["how far from a stationary point (KKT residual)", number(report.residual, digits=2)],
        ["its value, over the optimum's", f"{number(report.value, digits=6)} / {number(optimum, digits=6)}"],
        ["its margin, over the best", number(ratio)],
        ["curvature along the way out (below 0: not a minimum)", number(report.curvature)],
    ]
    text = (
        "Four classes at the corners of a square satisfy every first-order condition and are not a simplex. Look for "
        "the flow that starts there to stay for ever, and for the others to leave: the smaller the push, the later, "
        "and late means in log t. That such points are saddles does not make leaving them fast."
    )
    notes.insert(
        0,
        "Derived: the softmax code of four classes in two dimensions. It is a counter-example to "
        "“stationary means collapsed”, not to the paper's theorem about optima.",
    )
    table = Table(["the square", "number"], rows)
    return Section("square", "A stationary point that is no collapse", text, [figure], [table], notes)
