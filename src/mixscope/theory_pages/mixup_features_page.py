"""Page on where the features of blends should lie under a simplex classifier: the channel, its shape, its scale."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Page, Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.theory.channel.joint_scale import JointScale, classifier_scale, etf_threshold
from mixscope.theory.channel.joint_search import joint_optimum_check
from mixscope.theory.channel.mixed_features import MixedFeatures, mixup_features
from mixscope.theory.channel.shape import amplification, channel_angle, norm_ratio, norm_ratio_limit, transverse_density
from mixscope.theory.solution import Solution
from mixscope.theory.weight_law import BetaLaw, FiniteLaw, WeightLaw, log_odds_density
from mixscope.theory_pages.page_parts import level, number, shortcomings, told_on_the_page
from mixscope.theory_pages.theory_options import MixupFeaturesOptions

TEXTS = page_texts("mixscope.theory_pages", "mixup_features")
SAMPLE_PENALTIES = torch.logspace(0, -12, 37, dtype=torch.float64).tolist()
ENDS = SAMPLE_PENALTIES[::-1]
ANGLE_WEIGHTS = (0.1, 0.3)
STRAIGHT = "squared error: a straight line"
NO_MIXING = FiniteLaw((1.0,), (1.0,))
JOINT_PENALTIES = torch.logspace(-5, 0, 41, dtype=torch.float64).tolist()
NEAR_THRESHOLD = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 1.0)  # the length falls like a root
TABLE_PENALTIES = (1e-1, 1e-2, 1e-3, 5e-4, 1e-4, 1e-5)
CHECKED_SIZES = ((3, 2), (4, 3), (4, 2))  # the last has no room for a simplex
OFFSETS = torch.linspace(-10, 10, 401, dtype=torch.float64)


@told_on_the_page()
def mixup_features_page(options: MixupFeaturesOptions) -> Page:
    """Compute where blends should lie and return the page about it."""
    solutions = {
        penalty: mixup_features(options.num_classes, _curve_weights(), feature_penalty=penalty, scale=options.scale)
        for penalty in options.feature_penalty
    }
    table = _shape_table(options)
    notes = shortcomings(**{f"penalty {penalty:g}": solution for penalty, solution in solutions.items()})
    curves = {f"penalty {number(penalty)}": solution.value for penalty, solution in solutions.items()}
    has_channel = options.num_classes > 2
    sections = [_place_section(curves, has_channel, None if has_channel else table, notes)]
    sections += [_shape_section(options, table)] if has_channel else []
    sections += [_density_section(options), _joint_section(options), _check_section()]
    values: dict[str, object] = {"residual": max(solution.residual for solution in solutions.values())}
    if has_channel:
        sizes = [{"feature_penalty": penalty, "scale": options.scale} for penalty in options.feature_penalty]
        values["amplifications"] = _span([amplification(options.num_classes, **size) for size in sizes])
        values["ratios"] = _span([norm_ratio(options.num_classes, **size) for size in sizes])
    return TEXTS.page(sections, lead="channel" if has_channel else "two_classes", options=options, **values)


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _density_section(options: MixupFeaturesOptions) -> Section:
    alpha = options.alpha
    lines = []
    for penalty in options.feature_penalty:
        density = transverse_density(
            OFFSETS, num_classes=options.num_classes, feature_penalty=penalty, scale=options.scale, alpha=alpha
        )
        lines.append(Line(f"penalty {number(penalty)}", OFFSETS.tolist(), density.tolist()))
    # The density of the logit of a Beta(alpha, alpha) weight, by change of variable.
    limit = log_odds_density(OFFSETS, alpha).exp()
    lines.append(Line("limit of small penalties", OFFSETS.tolist(), limit.tolist(), is_reference=True))
    more = "For alpha below 1 the density is infinite at both ends, where most blends are nearly unblended."
    figure = TEXTS.figure("transverse-density", lines, y_range=(0, 1.6 * float(limit.max())))
    return TEXTS.section("density", [figure], notes=[more] if alpha < 1 else [], alpha=alpha)


def _joint_section(options: MixupFeaturesOptions) -> Section:
    laws: dict[str, WeightLaw] = {f"mixup, alpha {options.alpha:g}": BetaLaw(options.alpha), "no mixing": NO_MIXING}
    ends = [math.sqrt(etf_threshold(options.num_classes, law)) for law in laws.values()]

    def joint(penalty: float, law: WeightLaw) -> Solution[JointScale]:
        return classifier_scale(options.num_classes, classifier_penalty=penalty, feature_penalty=penalty, law=law)

    lines = []
    for (name, law), end in zip(laws.items(), ends, strict=True):
        penalties = sorted(JOINT_PENALTIES + [end * part for part in NEAR_THRESHOLD])
        lines.append(Line(name, penalties, [joint(penalty, law).value.scale for penalty in penalties]))
    rows, notes = [], []
    for penalty in TABLE_PENALTIES:
        found = [joint(penalty, law) for law in laws.values()]
        notes += shortcomings(**{f"joint optimum at penalty {penalty:g}": found[0]})
        cells = [number(penalty)]
        for value in (solution.value for solution in found):
            cells.append("0 (collapsed)" if value.is_collapsed else number(value.scale))
            cells += [number(value.same_class), number(value.same_class_probability, digits=5)]
        rows.append(cells)
    figure = TEXTS.figure("joint-scale", lines)
    return TEXTS.section("joint", [figure], [TEXTS.table("joint", rows)], notes=notes, ends=ends)


def _check_section() -> Section:
    law = FiniteLaw((0.5, 0.8, 1.0), (0.4, 0.3, 0.3))
    rows = []
    for num_classes, dim in CHECKED_SIZES:
        start = torch.Generator().manual_seed(0)
        found = joint_optimum_check(
            num_classes, dim, classifier_penalty=0.05, feature_penalty=0.05, law=law, num_starts=2, generator=start
        ).value
        distances = [number(value, digits=2) for value in (found.gram_deviation, found.objective_gap)]
        rows.append([f"{num_classes} classes, {dim} dimensions", *distances, "yes" if found.is_simplex else "no"])
    return TEXTS.section("check", tables=[TEXTS.table("check", rows)])


def _curve_weights() -> Tensor:
    """Return weights close enough for the steep ends, where a curve turns within 1 / gain, and for the middle."""
    ends = torch.linspace(-30, 30, 121, dtype=torch.float64).sigmoid()
    return torch.cat([ends, torch.linspace(0, 1, 101, dtype=torch.float64)]).unique()


def _place_section(
    curves: Mapping[str, MixedFeatures], has_channel: bool, table: Table | None, notes: Sequence[str]
) -> Section:
    """Show x1 and x2 against the weight, and against each other."""
    offsets = [
        Line(name, torch.logit(curve.weights[1:-1]).tolist(), (curve.x1 - curve.x2)[1:-1].tolist())
        for name, curve in curves.items()
    ]
    offsets.append(Line("limit of small penalties: slope 1", [-8.0, 8.0], [-8.0, 8.0], is_reference=True))
    figures = [*(_coordinates(curves) if has_channel else []), TEXTS.figure("offset", offsets)]
    key = "place" if has_channel else "two_classes"
    return TEXTS.section(key, figures, [table], name="place", notes=notes)


def _coordinates(curves: Mapping[str, MixedFeatures]) -> list[Figure | None]:
    both = [
        line
        for place, (name, curve) in enumerate(curves.items())
        for line in (
            Line(name, curve.weights.tolist(), curve.x1.tolist(), colour=place),
            Line(f"{name}, second", curve.weights.tolist(), curve.x2.tolist(), colour=place, is_dashed=True),
        )
    ]
    first = {name: (curve.x1 / curve.same_class).tolist() for name, curve in curves.items()}
    shares = [Line(name, curve.weights.tolist(), first[name]) for name, curve in curves.items()]
    shares.append(Line(STRAIGHT, [0.0, 1.0], [0.0, 1.0], is_reference=True))
    above = [Line(name, first[name], (curve.x2 / curve.same_class).tolist()) for name, curve in curves.items()]
    above.append(Line(STRAIGHT, [1.0, 0.0], [0.0, 1.0], is_reference=True))
    drawn = {"coordinates": both, "shares": shares, "plane": above}
    return [TEXTS.figure(name, lines) for name, lines in drawn.items()]


def _shape_section(options: MixupFeaturesOptions, table: Table) -> Section:
    """Show amplification, length and angle against the penalty; for three classes or more."""
    num_classes, scale = options.num_classes, options.scale
    limit = norm_ratio_limit(num_classes)
    reached = [amplification(num_classes, feature_penalty=penalty, scale=scale) for penalty in SAMPLE_PENALTIES]
    ratios = [norm_ratio(num_classes, feature_penalty=penalty, scale=scale) for penalty in SAMPLE_PENALTIES]
    amplifications = [
        Line("cross-entropy", SAMPLE_PENALTIES, reached),
        level("limit: 2", ENDS, 2.0),
        level("squared error: 1", ENDS, 1.0),
    ]
    lengths = [
        Line("cross-entropy", SAMPLE_PENALTIES, ratios),
        level(f"limit: {limit:.3f}", ENDS, limit),
        level(f"squared error: {limit / 2:.3f}", ENDS, limit / 2),
    ]
    angles = []
    for place, weight in enumerate(ANGLE_WEIGHTS):
        line = _line_angle(num_classes, weight)
        found = [_angle(options, penalty, weight) for penalty in SAMPLE_PENALTIES]
        angles.append(Line(f"w = {weight:g}", SAMPLE_PENALTIES, found, colour=place))
        angles.append(level(f"straight line: {line:.1f}°", ENDS, line))
    drawn = {"amplification": amplifications, "norm-ratio": lengths, "angle": angles}
    figures = [TEXTS.figure(name, lines) for name, lines in drawn.items()]
    return TEXTS.section("shape", figures, [table], limit=limit, num_classes=options.num_classes)


def _shape_table(options: MixupFeaturesOptions) -> Table:
    """Return the numbers of every penalty, with those of squared error below; with two classes there is no channel."""
    num_classes, scale, has_channel = options.num_classes, options.scale, options.num_classes > 2
    rows = []
    for penalty in options.feature_penalty:
        even = mixup_features(num_classes, 0.5, feature_penalty=penalty, scale=scale).value
        rows.append(
            [
                number(penalty),
                number(even.same_class),
                number(1 / (1 + (num_classes - 1) * math.exp(-even.same_class)), digits=5),
                number(float(even.x1)),
                number(amplification(num_classes, feature_penalty=penalty, scale=scale)) if has_channel else "–",
                number(norm_ratio(num_classes, feature_penalty=penalty, scale=scale)),
                f"{_angle(options, penalty, ANGLE_WEIGHTS[1]):.1f}°" if has_channel else "–",
            ]
        )
    if has_channel:
        ratio, line = norm_ratio_limit(num_classes) / 2, _line_angle(num_classes, ANGLE_WEIGHTS[1])
        rows.append(["squared error, any", "–", "–", "–", "1", number(ratio), f"{line:.1f}°"])
    return TEXTS.table("shape", rows)


def _angle(options: MixupFeaturesOptions, penalty: float, weight: float) -> float:
    features = mixup_features(options.num_classes, weight, feature_penalty=penalty, scale=options.scale).value
    return float(channel_angle(features.x1, features.x2, num_classes=options.num_classes))


def _line_angle(num_classes: int, weight: float) -> float:
    first, second = torch.tensor([weight, 1 - weight], dtype=torch.float64)
    return float(channel_angle(first, second, num_classes=num_classes))
