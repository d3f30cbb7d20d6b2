"""Figures for Fisher et al. 2024 by the weight of a blend: how far out, how far across, how densely, beside theory."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from mixscope.report.document import Cell, Chapter, Exhibit, Listing, Series
from mixscope.stats.numbers import number_text
from mixscope.studies.engine.results import Number, Results, picture
from mixscope.studies.engine.seed_figures import exhibit_name, mean_series, mean_text
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.figures import COLOURS, NAMES, clean_settings
from mixscope.studies.fisher2024.runs import ALL, ERM, FIXED, LABELS, MANIFOLD, MIXUP, SQUARED

SMALLER_WEIGHTS = [0.05, 0.15, 0.25, 0.35, 0.45]  # middles of the bins
LOG_ODDS = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
PLACES = [-0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9]  # across the channel
QUANTILE = 0.9
LOGISTIC_END = math.log(19.0)  # its 90% quantile of the absolute value

GEOMETRY = {
    "amplification": "channels/amplification",
    "distance from the line": "channels/deviation_different_middle",
    "cosine, same class": "channels/alignment_same",
    "cosine, channel": "channels/alignment_channel",
    "slope on log-odds": "channels/logit_slope",
}

Curve = Callable[[Outcome], list[float]]  # of one run, at the places of an exhibit


def weight_chapter(results: Results) -> Chapter:
    """Return the chapter on where blends lie by their weight."""
    nats = (ERM, MIXUP, MANIFOLD, FIXED, LABELS)
    exhibits = []
    for setting in clean_settings(results):
        exhibits += [
            _exhibit(results, setting, ALL, SMALLER_WEIGHTS, _same_class, "same class", "coordinate / its mean"),
            _exhibit(
                results, setting, ALL, SMALLER_WEIGHTS, _height, "two classes, height", "height / same-class mean"
            ),
            _exhibit(results, setting, nats, LOG_ODDS, _offset, "two classes, across", "x1 − x2, nats"),
        ]
    text = (
        "Means over seeds with 95% intervals. Blends within a class should lie equally far out whatever the weight. "
        "The height of blends of two classes, (x1 + x2) / 2 over that of same-class blends, should rise with the "
        "smaller weight under mixup, above the line between the two classes at 1/2, on which squared error should "
        "stay. Across the channel, x1 − x2 should follow the log-odds of the weight with slope near 1; without mixup "
        "it should be far steeper."
    )
    listing = numbers_listing(results, clean_settings(results), GEOMETRY)
    note = "Means over blends with weights from 0.3 to 0.7, but for the cosine within a class and the slope."
    shown = [found for found in exhibits if found.series]
    return Chapter("weights", "By the weight of the blend", text, shown, listing, [note])


def density_chapter(results: Results) -> Chapter:
    """Return the chapter on how densely blends of two classes lie across the channel."""
    exhibits = [
        _exhibit(results, setting, (ERM, MIXUP, SQUARED, LABELS), PLACES, _density, "density", "density")
        for setting in clean_settings(results)
    ]
    text = (
        "Blends of two classes by their place across the channel, x1 − x2 over the 90% quantile of its size, weights "
        "spread evenly. Look for mixup's crowd in the middle, on the decision boundary, where the dotted line of the "
        "theory for small penalties has its top as well; without mixup few blends stay there."
    )
    return Chapter("density", "Density across the channel", text, [found for found in exhibits if found.series])


def theory_chapter(results: Results) -> Chapter:
    """Return the chapter on the optimum of the unconstrained model, fitted to what was measured."""
    exhibits = []
    for setting in clean_settings(results):
        for method in (found for found in results.methods(setting) if found != ERM):
            outcome = results.of(setting, method).get("seed 0")
            if outcome is not None and not outcome.problem and "theory" in outcome.pictures.get("pairs", {}):
                exhibits.append(_overlay(outcome, setting, method))
    columns: dict[str, str | Number] = {"gain a, nats": _gain, "relative residual": "channels/theory_residual"}
    text = (
        "Coordinates of blends of two classes against the weight of the first (seed 0), with the curves of the "
        "unconstrained model whose one number, the gain a, is fitted; squared error and labels mixed alone have a "
        "straight line. Look at how well one number does for hundreds of blends, and whether a fixed simplex "
        "classifier is closer to theory."
    )
    listing = numbers_listing(results, clean_settings(results), columns)
    note = (
        "Residual: root-mean-square distance from the curve over the points' root-mean-square length. Plain training "
        "is held against a straight line too, which like that of labels mixed alone has no gain."
    )
    return Chapter("theory", "Theory laid over it", text, exhibits, listing, [note])


def numbers_listing(results: Results, settings: Sequence[str], columns: Mapping[str, str | Number]) -> Listing | None:
    """Return a table of means over seeds with 95% intervals, a row for each method that was run; None without any.

    Args:
        results: Of the study.
        settings: One after the other, each under its name.
        columns: Heading to a key of the values or a function of the outcome.
    """
    rows: list[list[str]] = []
    heads = {}
    for setting in settings:
        run = [method for method in results.methods(setting) if results.of(setting, method)]
        if run:
            heads[len(rows)] = Cell(setting)
        for method in run:
            samples = (results.sample(setting, method, number) for number in columns.values())
            rows.append([NAMES[method], *(mean_text(sample.values.values()) for sample in samples)])
    return Listing(["method", *columns], rows, heads) if rows else None


def _exhibit(
    results: Results, setting: str, methods: Sequence[str], x: list[float], curve: Curve, what: str, y_title: str
) -> Exhibit:
    series = []
    for method in methods:
        runs = [run for run in results.of(setting, method).values() if not run.problem and "pairs" in run.pictures]
        if runs:
            columns = zip(*(curve(run) for run in runs), strict=True)
            series.append(mean_series(NAMES[method], x, columns, colour=COLOURS[method]))
    references: dict[Curve, tuple[str, list[float]]] = {
        _height: ("line between the classes", [0.5] * len(x)),
        _offset: ("slope 1", x),
        _density: ("theory, small penalties", [_logistic_density(place) for place in x]),
    }
    if series and curve in references:
        name, y = references[curve]
        series.append(Series(name, x, y, is_reference=True))
    titles: dict[Curve, str] = {_offset: "log-odds of the weight", _density: "place across the channel"}
    return Exhibit(
        exhibit_name("weights", setting, what),
        f"{setting}: {what}",
        series,
        x_title=titles.get(curve, "smaller weight of the blend"),
        y_title=y_title,
    )


def _same_class(run: Outcome) -> list[float]:
    """Return same-class blends' mean coordinate in bins of the smaller weight, over that of all of them."""
    pairs = picture(run, "pairs")
    found = [
        (min(w, 1 - w), x1) for w, x1, same in zip(pairs["weight"], pairs["x1"], pairs["same"], strict=True) if same
    ]
    middle = statistics.mean(x1 for _, x1 in found) if found else math.nan
    return [mean / middle for mean in _binned(found, SMALLER_WEIGHTS)]


def _height(run: Outcome) -> list[float]:
    """Return the mean height of blends of two classes in bins of the smaller weight, over that of same-class blends."""
    pairs = picture(run, "pairs")
    same = [x1 for x1, is_same in zip(pairs["x1"], pairs["same"], strict=True) if is_same]
    middle = statistics.mean(same) if same else math.nan
    found = [(min(w, 1 - w), (x1 + x2) / 2) for w, x1, x2 in _of_two_classes(run)]
    return [mean / middle for mean in _binned(found, SMALLER_WEIGHTS)]


def _offset(run: Outcome) -> list[float]:
    """Return the mean of x1 - x2 in bins of the log-odds; each blend counts in both orders of its two examples."""
    inside = [(math.log(w / (1 - w)), x1 - x2) for w, x1, x2 in _of_two_classes(run) if 0 < w < 1]
    return _binned(inside + [(-logit, -across) for logit, across in inside], LOG_ODDS)


def _density(run: Outcome) -> list[float]:
    """Return the density across the channel in units of its 90% quantile, the tails beyond it not drawn."""
    across = [x1 - x2 for _, x1, x2 in _of_two_classes(run)]
    end = sorted(abs(value) for value in across)[int(QUANTILE * (len(across) - 1))]
    width = PLACES[1] - PLACES[0]
    both = [sign * value / end for value in across for sign in (-1, 1)]
    return [sum(abs(value - place) <= width / 2 for value in both) / len(both) / width for place in PLACES]


def _logistic_density(place: float) -> float:
    """Return the standard logistic density in units of its 90% quantile."""
    return LOGISTIC_END / (2 * math.cosh(place * LOGISTIC_END / 2)) ** 2


def _of_two_classes(run: Outcome) -> list[tuple[float, float, float]]:
    pairs = picture(run, "pairs")
    rows = zip(pairs["weight"], pairs["x1"], pairs["x2"], pairs["same"], strict=True)
    return [(w, x1, x2) for w, x1, x2, same in rows if not same]


def _binned(points: Sequence[tuple[float, float]], middles: Sequence[float]) -> list[float]:
    """Return the mean of the values whose place is nearest to each middle; NaN where there is none."""
    width = middles[1] - middles[0]
    found = [[value for place, value in points if abs(place - middle) <= width / 2] for middle in middles]
    return [statistics.mean(values) if values else math.nan for values in found]


def _overlay(outcome: Outcome, setting: str, method: str) -> Exhibit:
    theory, points = picture(outcome, "pairs")["theory"], _of_two_classes(outcome)
    weights = [w for w, _, _ in points]
    gain = "" if theory["gain"] is None else f"gain {number_text(theory['gain'])}, "
    series = [
        Series("x1 measured", weights, [x1 for _, x1, _ in points], is_marked=True, colour=0),
        Series("x2 measured", weights, [x2 for _, _, x2 in points], is_marked=True, colour=1),
        Series(f"x1: {theory['name']}", theory["weight"], theory["x1"], colour=0),
        Series("x2", theory["weight"], theory["x2"], colour=1),
    ]
    return Exhibit(
        exhibit_name("theory", setting, method),
        f"{NAMES[method]}, {setting}: {gain}residual {number_text(theory['residual'])}",
        series,
        x_title="weight of the first class",
        y_title="coordinate",
    )


def _gain(outcome: Outcome) -> float:
    """Return the fitted gain; NaN for a straight line that comes from no model."""
    theory = outcome.pictures.get("pairs", {}).get("theory", {})
    gain = theory.get("gain") if theory.get("name", "").startswith("unconstrained model") else None
    return math.nan if gain is None else float(gain)
