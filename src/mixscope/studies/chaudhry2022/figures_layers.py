"""Figures of the study of Chaudhry et al. 2022: how linear layers are, along training and at its end."""

from collections.abc import Mapping, Sequence

from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.studies.chaudhry2022.evidence import NUM_LAYERS, site_key
from mixscope.studies.engine.instruments import LINEARITY_ALPHAS
from mixscope.studies.engine.results import Results, column, picture
from mixscope.studies.engine.seed_figures import above_zero, curves_exhibit, exhibit_name, kept, line_through

METHODS = {
    "erm": "ERM",
    "mixup": "mixup",
    "ict2": "ICT[2], Eq. 2",
    "ict4": "ICT[4], Eq. 2",
    "ict2-ema": "ICT[2], average",
    "ict4-ema": "ICT[4], average",
}  # "average": the teacher is a moving average of the weights, and probabilities are compared
FAMILIES = {  # K from 2 on
    "Eq. 2": ("ict2", "ict3", "ict4", "ict5"),
    "moving average": ("ict2-ema", "ict3-ema", "ict4-ema", "ict5-ema"),
}
NUMBERS = {
    "nonlinearity": ("NonLin", "NonLin of Eq. 3"),
    "floor": ("Floor", "1 − r"),
    "angle_degrees": ("Angle", "degrees"),
    "relative_defect": ("Relative defect", "defect / spread of the features"),
}
ROUNDING = 1e-6  # of the relative defect: below it a layer is affine


def layers_chapter(results: Results, setting: str) -> Chapter:
    """Return the four numbers of every layer at the end of training."""
    exhibits = [
        _by_layer(exhibit_name("layers", setting, name), title, name, _layer_series(results, setting, name, METHODS))
        for name, (title, _) in NUMBERS.items()
    ]
    return Chapter(
        exhibit_name("layers", setting),
        f"Layer by layer: {setting}",
        "NonLin is what the paper shows. Its floor comes from how far apart features point, so look at what is left "
        "without it: the angle, and the relative defect, which is not normalised and 0 in a linear layer.",
        [exhibit for exhibit in exhibits if exhibit.series],
    )


def by_points_chapter(results: Results, settings: Sequence[str]) -> Chapter:
    """Return NonLin and the relative defect of every layer for each K, with Eq. 2 and with a moving average."""
    exhibits = []
    for setting in settings:
        for family, methods in FAMILIES.items():
            labels = {method: f"K = {num_points}" for num_points, method in enumerate(methods, start=2)}
            for name in ("nonlinearity", "relative_defect"):
                title = f"{NUMBERS[name][0]}, {setting}: {family}"
                series = _layer_series(results, setting, name, labels)
                exhibits.append(_by_layer(exhibit_name("points", setting, family, name), title, name, series))
    return Chapter(
        "points",
        "More points in a blend",
        "ICT[K] with K = 2, 3, 4 and 5 at the end of training. The paper finds all layers more linear with K = 4 than "
        "with K = 2: look whether lines lie in the order of K, and further apart than their bands.",
        [exhibit for exhibit in exhibits if len(exhibit.series) > 1],
    )


def _by_layer(anchor: str, title: str, number: str, series: Sequence[Series]) -> Exhibit:
    """Return a figure of one of `NUMBERS` against the layer."""
    return Exhibit(
        anchor,
        title,
        series,
        x_title="layer, as the paper counts",
        y_title=NUMBERS[number][1],
        log_y=number == "relative_defect",
    )


def _layer_series(
    results: Results, setting: str, name: str, methods: Mapping[str, str], *, alpha: float | None = None
) -> list[Series]:
    series = []
    for place, (method, label) in enumerate(methods.items()):
        keys = {layer: site_key(setting, layer, name, alpha=alpha) for layer in range(NUM_LAYERS)}
        samples = [(layer, results.sample(setting, method, key)) for layer, key in keys.items()]
        line = line_through(samples, name=label, colour=place)
        series.append(_off_rounding(line) if name == "relative_defect" else line)
    return [line for line in series if line.x]


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
        _by_layer(
            exhibit_name("law", setting, f"{alpha:g}"),
            f"Weights of alpha {alpha:g}",
            "nonlinearity",
            _layer_series(results, setting, "nonlinearity", METHODS, alpha=alpha),
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
            picture(outcome, "layers"), zip(*columns, strict=True), strict=True
        ):
            rows.append([layer, f"{alpha:g}", f"{value:.3f}", f"{floor:.3f}", f"{defect:.2g}"])
    return Chapter(
        "known-layers",
        "What the metric says of layers that are known",
        "Digits, centred, through layers without training. All but ReLU are exactly affine: their relative defect is "
        "rounding, their NonLin is not, and a bias alone lowers it.",
        listing=Listing(["layer", "alpha", "NonLin", "floor", "relative defect"], rows) if rows else None,
    )


def _off_rounding(line: Series) -> Series:
    """Return the line for a logarithmic axis: without affine layers, which are 0 but for rounding."""
    return above_zero(kept(line, [row for row, mean in enumerate(line.y) if mean >= ROUNDING]))
