"""The page on label noise: how wrong the labels of blends are, and how low the loss on them can go."""

import math

import torch
from torch import Tensor

from mixscope.mixing.loss_floor import mixup_loss_floor
from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.theory.labels.drawn_labels import coupled_labels, independent_labels
from mixscope.theory.labels.gaussian_classes import class_triangle
from mixscope.theory.labels.noisy_labels import (
    LabelNoiseCurve,
    gaussian_label_noise,
    label_noise_curve,
    one_hot_variation,
)
from mixscope.theory_pages.page_parts import TheoryPage, number
from mixscope.theory_pages.theory_options import LabelNoiseOptions

SOURCE = (
    "After Liu et al. 2023, Theorem 5.1, stated for drawn labels, where it holds; derived here. Posterior "
    "probabilities are exact."
)
CURVE_WEIGHTS = torch.linspace(0, 1, 41, dtype=torch.float64)
DRAWN_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TABLE_WEIGHTS = (0.1, 0.3, 0.5)
FLOOR_ALPHAS = torch.logspace(-2, 2, 61, dtype=torch.float64).tolist()
TABLE_ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)
FLOOR_POINTS = (2, 3, 4)
FLOOR_CLASSES = (2, 10, 100)
WEIGHT = "weight w of the first example"


def label_noise_page(options: LabelNoiseOptions) -> TheoryPage:
    """Compare given and true labels of blends and return the page about it.

    Args:
        options: Of the classes and the floor.
    """
    generator = torch.Generator().manual_seed(options.seed)
    classes = class_triangle(options.radius)
    curve = label_noise_curve(classes, mixing_weights=CURVE_WEIGHTS, num_pairs=options.num_pairs, generator=generator)
    drawn = _drawn_rates(options)
    noise, floors = _noise_listing(options), _floor_listing(options)
    middle = len(CURVE_WEIGHTS) // 2
    floor = _floor(options.alpha, options.num_classes, 2)
    return TheoryPage(
        title="How wrong the labels of blends are",
        lead=f"Mixup labels at least {float(curve.total_variation[middle]):.1%} of the even blends of these three "
        f"classes other than nature would; and with {options.num_classes} classes of one size no network can bring "
        f"the cross-entropy on blends below {floor:.4g} nats. In a network, compare the training loss with that "
        "floor, not with 0: what is left above it is what has not been learned yet, the wrong labels included.",
        facts=f"Three round Gaussian classes, each {options.radius:g} standard deviations from their middle; "
        f"{options.num_pairs:,} pairs, seed {options.seed}.",
        chapters=[
            _noise_chapter(curve, drawn, noise),
            _one_hot_chapter(),
            _floor_chapter(options, floors),
        ],
        tables=[("Labels of blends", noise), ("Floor of the loss, in nats", floors)],
    )


def _drawn_rates(options: LabelNoiseOptions) -> dict[str, list[float]]:
    """Return how often drawn labels differ at `DRAWN_WEIGHTS`: independent ones, and ones as alike as can be."""
    generator = torch.Generator().manual_seed(options.seed)
    classes = class_triangle(options.radius)
    inputs, _ = classes.sample(options.num_pairs, generator=generator)
    partners, _ = classes.sample(options.num_pairs, generator=generator)
    rates: dict[str, list[float]] = {"independent": [], "coupled": []}
    for weight in DRAWN_WEIGHTS:
        noise = gaussian_label_noise(classes, inputs, partners, mixing_weight=weight)
        for name, draw in (("independent", independent_labels), ("coupled", coupled_labels)):
            given, true = draw(noise, generator=generator)
            rates[name].append(float((given != true).to(torch.float64).mean()))
    return rates


def _noise_chapter(curve: LabelNoiseCurve, drawn: dict[str, list[float]], listing: Listing) -> Chapter:
    weights = curve.weights.tolist()
    rates = Exhibit(
        "rates",
        "How often labels differ",
        [
            Series("total variation: the least", weights, curve.total_variation.tolist()),
            Series("drawn, as alike as can be", DRAWN_WEIGHTS, drawn["coupled"], is_marked=True, colour=0),
            Series("independent labels", weights, curve.independent_rate.tolist(), colour=1),
            Series("drawn independently", DRAWN_WEIGHTS, drawn["independent"], is_marked=True, colour=1),
            Series("most probable labels", weights, curve.argmax_rate.tolist(), colour=2),
        ],
        x_title=WEIGHT,
        y_title="share of blends",
    )
    failures = Exhibit(
        "failures",
        "Where the most probable labels break the bound",
        [Series("blends that do", weights[1:-1], curve.argmax_failures[1:-1].tolist(), colour=2)],
        x_title=WEIGHT,
        y_title="share of blends",
        y_range=(0, 1),
    )
    text = (
        "Mixup draws a blend's label from its members' labels; nature would draw it from the blend itself. The two "
        "laws are as far apart as the total variation says. Look for drawn labels on or above it: points as alike as "
        "labels can be lie on the line. The most probable labels lie below it: they may agree although the laws do "
        "not, so the bound must not be checked with them."
    )
    notes = [
        SOURCE,
        "The largest gap of a single class bounds the distance from below; for two or three classes it equals it.",
        "The most probable labels agree more often at exactly w = 1/2, where the more certain of the two members "
        "decides which label is the more probable: that is often the right one.",
    ]
    return Chapter("noise", "Given and true labels", text, [rates, failures], listing, notes)


def _noise_listing(options: LabelNoiseOptions) -> Listing:
    generator = torch.Generator().manual_seed(options.seed)
    classes = class_triangle(options.radius)
    inputs, _ = classes.sample(options.num_pairs, generator=generator)
    partners, _ = classes.sample(options.num_pairs, generator=generator)
    rows = []
    for weight in TABLE_WEIGHTS:
        noise = gaussian_label_noise(classes, inputs, partners, mixing_weight=weight)
        columns = (
            noise.total_variation,
            noise.largest_gap,
            noise.independent_rate,
            noise.argmax_differs,
            noise.argmax_fails,
        )
        rows.append([f"w = {weight:g}", *(number(_mean(column), digits=3) for column in columns)])
    columns_named = [
        "blends",
        "total variation",
        "largest gap of a class",
        "independent labels differ",
        "most probable differ",
        "blends that break the bound",
    ]
    return Listing(columns_named, rows)


def _mean(values: Tensor) -> float:
    return float(values.to(torch.float64).mean())


def _one_hot_chapter() -> Chapter:
    """Return the chapter on examples whose classes are certain: four cases."""
    cases = {
        "same class, and so is the blend": (0, 0, 0),
        "two classes, the blend is in the first": (0, 1, 0),
        "two classes, the blend is in the second": (0, 1, 1),
        "the blend is in a third class": (0, 1, 2),
        "same class, and the blend is in another": (0, 0, 1),
    }
    formulas = ("0", "1 − w", "w", "1", "1")
    rows = []
    for (name, labels), formula in zip(cases.items(), formulas, strict=True):
        first, second, true = (torch.tensor([label]) for label in labels)
        values = [float(one_hot_variation(first, second, true, mixing_weight=weight)) for weight in (0.5, 0.7, 0.9)]
        rows.append([name, formula, *(f"{value:.1f}" for value in values)])
    text = (
        "Where every example's class is certain, the distance takes few values. Look at the last two rows: a blend "
        "that lands in a class of neither member has a label that is wrong for sure (manifold intrusion), whatever "
        "the weight."
    )
    listing = Listing(["case", "distance", "w = 0.5", "w = 0.7", "w = 0.9"], rows)
    return Chapter("certain", "When classes are certain", text, listing=listing, notes=["Derived."])


def _floor(alpha: float, num_classes: int, num_points: int) -> float:
    return mixup_loss_floor(alpha, [1 / num_classes] * num_classes, num_points=num_points)


def _floor_chapter(options: LabelNoiseOptions, listing: Listing) -> Chapter:
    by_points = Exhibit(
        "floor-points",
        f"Blends of 2, 3 and 4 points, {options.num_classes} classes",
        [
            Series(
                f"{points} points", FLOOR_ALPHAS, [_floor(alpha, options.num_classes, points) for alpha in FLOOR_ALPHAS]
            )
            for points in FLOOR_POINTS
        ],
        x_title="alpha",
        y_title="lowest loss, nats",
        log_x=True,
    )
    by_classes = Exhibit(
        "floor-classes",
        "Blends of 2 points, 2, 10 and 100 classes",
        [
            *(
                Series(f"{classes} classes", FLOOR_ALPHAS, [_floor(alpha, classes, 2) for alpha in FLOOR_ALPHAS])
                for classes in FLOOR_CLASSES
            ),
            Series("log 2", [FLOOR_ALPHAS[0], FLOOR_ALPHAS[-1]], [math.log(2)] * 2, is_reference=True),
        ],
        x_title="alpha",
        y_title="lowest loss, nats",
        log_x=True,
    )
    text = (
        "The mean entropy of blended labels is the lowest cross-entropy that any network can have on blends. Look "
        "where your alpha is: a training loss that has come down to this line has nothing left to learn but the "
        "drawn labels themselves. More classes or more points in a blend lift it."
    )
    notes = [
        "After Liu et al. 2023, Lemma 3.1 (alpha 1, two points, equal classes); the general form is derived here. For "
        "equally frequent classes and partners from the whole set.",
    ]
    return Chapter("floor", "How low the loss can go", text, [by_points, by_classes], listing, notes)


def _floor_listing(options: LabelNoiseOptions) -> Listing:
    alphas = sorted({*TABLE_ALPHAS, options.alpha})
    sizes = sorted({*FLOOR_CLASSES, options.num_classes})
    columns = ["alpha"] + [f"{classes} classes" for classes in sizes]
    columns += [f"{options.num_classes} classes, {points} points" for points in FLOOR_POINTS[1:]]
    rows = []
    for alpha in alphas:
        floors = [_floor(alpha, classes, 2) for classes in sizes]
        floors += [_floor(alpha, options.num_classes, points) for points in FLOOR_POINTS[1:]]
        rows.append([f"{alpha:g}", *(f"{floor:.4f}" for floor in floors)])
    return Listing(columns, rows)
