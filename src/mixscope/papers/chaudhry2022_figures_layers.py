"""Figures of the study of Chaudhry et al. 2022: how linear layers are, along training and at its end."""

from collections.abc import Mapping

import torch

from mixscope.metrics.bootstrap import student_interval
from mixscope.papers.chaudhry2022_evidence import NUM_LAYERS, site_key
from mixscope.papers.figures import curves_exhibit, exhibit_name
from mixscope.papers.instruments import LINEARITY_ALPHAS
from mixscope.papers.results import Results, column
from mixscope.records.samples import Sample
from mixscope.report.document import Chapter, Exhibit, Listing, Series

METHODS = {
    "erm": "ERM",
    "mixup": "mixup",
    "ict2": "ICT[2], Eq. 2",
    "ict4": "ICT[4], Eq. 2",
    "ict2-ema": "ICT[2], average",
    "ict4-ema": "ICT[4], average",
}  # "average": the teacher is a moving average of the weights, and probabilities are compared
NUMBERS = {
    "nonlinearity": ("NonLin", "NonLin of Eq. 3"),
    "floor": ("Floor", "1 − r"),
    "angle_degrees": ("Angle", "degrees"),
    "relative_defect": ("Relative defect", "defect / spread of the features"),
}


def layers_chapter(results: Results, setting: str) -> Chapter:
    """Return the four numbers of every layer at the end of training."""
    exhibits = [
        Exhibit(
            exhibit_name("layers", setting, name),
            title,
            _layer_series(results, setting, name),
            x_title="layer, as the paper counts",
            y_title=unit,
            log_y=name == "relative_defect",
        )
        for name, (title, unit) in NUMBERS.items()
    ]
    return Chapter(
        exhibit_name("layers", setting),
        f"Layer by layer: {setting}",
        "NonLin is what the paper shows. Its floor comes from how far apart features point, so look at what is left "
        "without it: the angle, and the relative defect, which is not normalised and 0 in a linear layer.",
        [exhibit for exhibit in exhibits if exhibit.series],
    )


def _layer_series(results: Results, setting: str, name: str, *, alpha: float | None = None) -> list[Series]:
    series = []
    for place, (method, label) in enumerate(METHODS.items()):
        keys = {layer: site_key(setting, layer, name, alpha=alpha) for layer in range(NUM_LAYERS)}
        samples = {layer: results.sample(setting, method, key) for layer, key in keys.items()}
        line = line_through(samples, name=label, colour=place, is_positive=name == "relative_defect")
        if line is not None:
            series.append(line)
    return series


def along_training_chapter(results: Results, setting: str) -> Chapter:
    """Return the four numbers of every layer along training."""
    exhibits = [
        curves_exhibit(
            results,
            setting,
            METHODS,
            site_key(setting, layer, name),
            table="measured",
            title=f"{title}, layer {layer}",
            y_title=unit,
            name=exhibit_name("along", setting, name, str(layer)),
        )
        for name, (title, unit) in NUMBERS.items()
        for layer in range(NUM_LAYERS)
    ]
    return Chapter(
        exhibit_name("along", setting),
        f"Layers along training: {setting}",
        "The paper's figures, and below them the floor, the angle and the relative defect of the same layers, on "
        "blends of two test images. Look for lines that part in NonLin and not in the relative defect: layer 0.",
        [exhibit for exhibit in exhibits if exhibit.series],
    )


def laws_chapter(results: Results, setting: str) -> Chapter:
    """Return NonLin by layer for every law of the pairs' weights."""
    exhibits = [
        Exhibit(
            exhibit_name("law", setting, f"{alpha:g}"),
            f"Weights of alpha {alpha:g}",
            _layer_series(results, setting, "nonlinearity", alpha=alpha),
            x_title="layer, as the paper counts",
            y_title="NonLin of Eq. 3",
        )
        for alpha in LINEARITY_ALPHAS
    ]
    return Chapter(
        exhibit_name("laws", setting),
        f"The same pairs with other weights: {setting}",
        "The paper does not say how the weights of its pairs are drawn. Look whether lines cross from one figure to "
        "the next: levels differ threefold, the order should not.",
        [exhibit for exhibit in exhibits if exhibit.series],
    )


def known_layers_chapter(results: Results) -> Chapter:
    """Return what the metric says of layers that are known to be linear, or not."""
    rows = []
    for outcome in results.of("theory", "affine-layers").values():
        columns = [column(outcome, "layers", key) for key in ("alpha", "nonlinearity", "floor", "relative_defect")]
        for layer, (alpha, value, floor, defect) in zip(
            outcome.pictures["layers"], zip(*columns, strict=True), strict=True
        ):
            rows.append([layer, f"{alpha:g}", f"{value:.3f}", f"{floor:.3f}", f"{defect:.2g}"])
    return Chapter(
        "known-layers",
        "What the metric says of layers that are known",
        "Digits, centred, through layers without training. All but ReLU are exactly affine: their relative defect is "
        "rounding, their NonLin is not, and a bias alone lowers it.",
        listing=Listing(["layer", "alpha", "NonLin", "floor", "relative defect"], rows) if rows else None,
    )


def line_through(
    samples: Mapping[int, Sample],
    *,
    name: str,
    colour: int | None,
    is_reference: bool = False,
    is_positive: bool = False,
) -> Series | None:
    """Return the line through the means of samples at places, with Student's 95% interval; None without any.

    Args:
        samples: Place on the x axis to what was measured there.
        name: In the legend.
        colour: Place among the colours.
        is_reference: Whether it is grey and dotted, and without interval.
        is_positive: Whether it is meant for a logarithmic axis: what is 0 but for rounding is left out.
    """
    x: list[float] = []
    y: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for place, sample in samples.items():
        values = torch.tensor(list(sample.values.values()), dtype=torch.float64)
        values = values[values.isfinite()]
        if not len(values):
            continue
        mean = float(values.mean())
        if is_positive and mean < 1e-6:  # an affine layer: rounding, off a logarithmic axis
            continue
        interval = student_interval(values) if len(values) > 1 else None
        x.append(float(place))
        y.append(mean)
        bottom = mean if interval is None else interval.low
        low.append(mean if is_positive and bottom <= 0 else bottom)
        high.append(mean if interval is None else interval.high)
    if is_reference:
        low, high = [], []
    return Series(name, x, y, low=low, high=high, colour=colour, is_reference=is_reference) if x else None
