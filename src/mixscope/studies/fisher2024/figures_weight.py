"""Figures for Fisher et al. 2024 by the weight of a blend: how far out, how far across, how densely, beside theory."""

import math
import statistics
from collections.abc import Callable, Sequence

from mixscope.report.figures.channel_figure import channel_figure
from mixscope.report.figures.line_figure import Line, mean_line
from mixscope.report.page import Figure, Section
from mixscope.report.page_texts import page_texts
from mixscope.stats.numbers import number_text
from mixscope.studies.engine.results import Number, Results, picture
from mixscope.studies.engine.seed_figures import figure_name
from mixscope.studies.engine.trial import Outcome
from mixscope.studies.fisher2024.exhibits import COLOURS, NAMES, clean_settings, numbers_table
from mixscope.studies.fisher2024.runs import ALL, ERM, FIXED, LABELS, MANIFOLD, MIXUP, SQUARED

TEXTS = page_texts("mixscope.studies.fisher2024", "sections")

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

Curve = Callable[[Outcome], list[float]]  # of one run, at the places of a figure


def weight_section(results: Results) -> Section:
    """Return the section on where blends lie by their weight."""
    nats = (ERM, MIXUP, MANIFOLD, FIXED, LABELS)
    middle = Line("line between the classes", SMALLER_WEIGHTS, [0.5] * len(SMALLER_WEIGHTS), is_reference=True)
    slope = Line("slope 1", LOG_ODDS, LOG_ODDS, is_reference=True)
    figures: list[Figure | None] = []
    for setting in clean_settings(results):
        figures += [
            _by_weight(results, setting, "same-class", ALL, _same_class, SMALLER_WEIGHTS),
            _by_weight(results, setting, "height", ALL, _height, SMALLER_WEIGHTS, middle),
            _by_weight(results, setting, "across", nats, _offset, LOG_ODDS, slope),
        ]
    tables = [numbers_table(results, clean_settings(results), GEOMETRY)]
    return TEXTS.section("weights", figures, tables)


def density_section(results: Results) -> Section:
    """Return the section on how densely blends of two classes lie across the channel."""
    theory = Line("theory, small penalties", PLACES, [*map(_logistic_density, PLACES)], is_reference=True)
    methods = (ERM, MIXUP, SQUARED, LABELS)
    figures = [
        _by_weight(results, setting, "density", methods, _density, PLACES, theory)
        for setting in clean_settings(results)
    ]
    return TEXTS.section("density", figures)


def theory_section(results: Results) -> Section:
    """Return the section on the optimum of the unconstrained model, fitted to what was measured."""
    figures = []
    for setting in clean_settings(results):
        for method in (found for found in results.methods(setting) if found != ERM):
            outcome = results.of(setting, method).get("seed 0")
            if outcome is not None and not outcome.problem and "theory" in outcome.pictures.get("pairs", {}):
                figures.append(_overlay(outcome, setting, method))
    columns: dict[str, str | Number] = {"gain a, nats": _gain, "relative residual": "channels/theory_residual"}
    tables = [numbers_table(results, clean_settings(results), columns)]
    return TEXTS.section("theory", figures, tables)


def _by_weight(
    results: Results,
    setting: str,
    what: str,
    methods: Sequence[str],
    curve: Curve,
    x: Sequence[float],
    reference: Line | None = None,
) -> Figure | None:
    lines = []
    for method in methods:
        runs = [run for run in results.of(setting, method).values() if not run.problem and "pairs" in run.pictures]
        if runs:
            columns = zip(*(curve(run) for run in runs), strict=True)
            lines.append(mean_line(NAMES[method], x, columns, colour=COLOURS[method], has_dots=True))
    if not lines:
        return None
    return TEXTS.figure(what, [*lines, reference], name=figure_name("weights", setting, what), setting=setting)


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


def _overlay(outcome: Outcome, setting: str, method: str) -> Figure | None:
    pairs = picture(outcome, "pairs")
    theory = pairs["theory"]
    gain = "" if theory["gain"] is None else f"gain {number_text(theory['gain'])}, "
    title = f"{NAMES[method]}, {setting}: {theory['name']}, {gain}residual {number_text(theory['residual'])}"
    return channel_figure(figure_name("theory", setting, method), title, pairs, colour=COLOURS[method])


def _gain(outcome: Outcome) -> float:
    """Return the fitted gain; NaN for a straight line that comes from no model."""
    theory = outcome.pictures.get("pairs", {}).get("theory", {})
    gain = theory.get("gain") if theory.get("name", "").startswith("unconstrained model") else None
    return math.nan if gain is None else float(gain)
