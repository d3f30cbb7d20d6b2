"""Page on label noise: how wrong the labels of blends are, and how low the loss on them can go."""

import math

import torch

from mixscope.mixing.loss_floor import mixup_loss_floor
from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Page, Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.theory.labels.gaussian_classes import class_triangle
from mixscope.theory.labels.noisy_labels import (
    LabelNoiseCurve,
    coupled_labels,
    gaussian_label_noise,
    independent_labels,
    label_noise_curve,
    one_hot_variation,
)
from mixscope.theory_pages.page_parts import level, numbers
from mixscope.theory_pages.theory_options import LabelNoiseOptions

TEXTS = page_texts("mixscope.theory_pages", "label_noise")
CURVE_WEIGHTS = torch.linspace(0, 1, 41, dtype=torch.float64)
DRAWN_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TABLE_WEIGHTS = (0.1, 0.3, 0.5)
FLOOR_ALPHAS = torch.logspace(-2, 2, 61, dtype=torch.float64).tolist()
TABLE_ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)
FLOOR_POINTS = (2, 3, 4)
FLOOR_CLASSES = (2, 10, 100)
NOISE = TEXTS.names("noise")


def label_noise_page(options: LabelNoiseOptions) -> Page:
    """Compare given and true labels of blends and return the page about it."""
    generator = torch.Generator().manual_seed(options.seed)
    classes = class_triangle(options.radius)
    curve = label_noise_curve(classes, mixing_weights=CURVE_WEIGHTS, num_pairs=options.num_pairs, generator=generator)
    middle = float(curve.total_variation[len(CURVE_WEIGHTS) // 2])
    floor = _floor(options.alpha, options.num_classes, 2)
    sections = [_noise_section(options, curve), _certain_section(), _floor_section(options)]
    return TEXTS.page(sections, middle=middle, floor=floor, options=options)


def _noise_section(options: LabelNoiseOptions, curve: LabelNoiseCurve) -> Section:
    generator = torch.Generator().manual_seed(options.seed)
    classes = class_triangle(options.radius)
    inputs, _ = classes.sample(options.num_pairs, generator=generator)
    partners, _ = classes.sample(options.num_pairs, generator=generator)
    drawn: dict[str, list[float]] = {"independent": [], "coupled": []}
    rows = []
    for weight in DRAWN_WEIGHTS:
        noise = gaussian_label_noise(classes, inputs, partners, mixing_weight=weight)
        for name, draw in (("independent", independent_labels), ("coupled", coupled_labels)):
            given, true = draw(noise, generator=generator)
            drawn[name].append(float((given != true).to(torch.float64).mean()))
        if weight in TABLE_WEIGHTS:
            means = [float(getattr(noise, field).to(torch.float64).mean()) for field in NOISE]
            rows.append([f"w = {weight:g}", *numbers(means, digits=3)])
    weights, failures = curve.weights.tolist(), curve.argmax_failures.tolist()
    lines = [
        Line("total variation: the least", weights, curve.total_variation.tolist()),
        Line("drawn, as alike as can be", DRAWN_WEIGHTS, drawn["coupled"], is_marked=True, colour=0),
        Line("independent labels", weights, curve.independent_rate.tolist(), colour=1),
        Line("drawn independently", DRAWN_WEIGHTS, drawn["independent"], is_marked=True, colour=1),
        Line("most probable labels", weights, curve.argmax_rate.tolist(), colour=2),
    ]
    broken = [Line("blends that do", weights[1:-1], failures[1:-1], colour=2)]
    figures = [TEXTS.figure("rates", lines), TEXTS.figure("failures", broken)]
    table = Table(["blends", *NOISE.values()], rows, title="Labels of blends")
    return TEXTS.section("noise", figures, [table])


def _certain_section() -> Section:
    rows = []
    for name, (labels, formula) in TEXTS.words["certain"].items():
        first, second, true = (torch.tensor([label]) for label in labels)
        values = [float(one_hot_variation(first, second, true, mixing_weight=weight)) for weight in (0.5, 0.7, 0.9)]
        rows.append([name, formula, *(f"{value:.1f}" for value in values)])
    return TEXTS.section("certain", tables=[TEXTS.table("certain", rows)])


def _floor(alpha: float, num_classes: int, num_points: int) -> float:
    return mixup_loss_floor(alpha, [1 / num_classes] * num_classes, num_points=num_points)


def _floor_section(options: LabelNoiseOptions) -> Section:
    num_classes = options.num_classes

    def line(name: str, classes: int, points: int) -> Line:
        return Line(name, FLOOR_ALPHAS, [_floor(alpha, classes, points) for alpha in FLOOR_ALPHAS])

    by_points = [line(f"{points} points", num_classes, points) for points in FLOOR_POINTS]
    by_classes = [line(f"{classes} classes", classes, 2) for classes in FLOOR_CLASSES]
    by_classes.append(level("log 2", FLOOR_ALPHAS, math.log(2)))
    sizes = {f"{classes} classes": (classes, 2) for classes in sorted({*FLOOR_CLASSES, num_classes})}
    sizes |= {f"{num_classes} classes, {points} points": (num_classes, points) for points in FLOOR_POINTS[1:]}
    rows = [
        [f"{alpha:g}", *(f"{_floor(alpha, classes, points):.4f}" for classes, points in sizes.values())]
        for alpha in sorted({*TABLE_ALPHAS, options.alpha})
    ]
    figures = [
        TEXTS.figure("floor-points", by_points, num_classes=num_classes),
        TEXTS.figure("floor-classes", by_classes),
    ]
    table = Table(["alpha", *sizes], rows, title="Floor of the loss, in nats")
    return TEXTS.section("floor", figures, [table])
