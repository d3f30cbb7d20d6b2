"""Sections on the channel that blends of two classes form: their place, how far out it is, and how narrow."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mixscope.report.figures.line_figure import Line
from mixscope.report.page import Figure, Section, Table
from mixscope.report.page_texts import page_texts
from mixscope.theory.channel.mixed_features import MixedFeatures, mixup_features
from mixscope.theory.channel.shape import amplification, channel_angle, norm_ratio, norm_ratio_limit
from mixscope.theory_pages.page_parts import level, number
from mixscope.theory_pages.theory_options import MixupFeaturesOptions

TEXTS = page_texts("mixscope.theory_pages", "mixup_features")
SAMPLE_PENALTIES = torch.logspace(0, -12, 37, dtype=torch.float64).tolist()
ENDS = SAMPLE_PENALTIES[::-1]
ANGLE_WEIGHTS = (0.1, 0.3)
STRAIGHT = "squared error: a straight line"


def curve_weights() -> Tensor:
    """Return weights close enough for the steep ends, where a curve turns within 1 / gain, and for the middle."""
    ends = torch.linspace(-30, 30, 121, dtype=torch.float64).sigmoid()
    return torch.cat([ends, torch.linspace(0, 1, 101, dtype=torch.float64)]).unique()


def place_section(
    options: MixupFeaturesOptions, curves: Mapping[float, MixedFeatures], table: Table | None, notes: Sequence[str]
) -> Section:
    """Return the section on x1 and x2 against the weight, and against each other, at `curve_weights`."""
    named = {penalty_name(penalty): curve for penalty, curve in curves.items()}
    offsets = [
        Line(name, torch.logit(curve.weights[1:-1]).tolist(), (curve.x1 - curve.x2)[1:-1].tolist())
        for name, curve in named.items()
    ]
    offsets.append(Line("limit of small penalties: slope 1", [-8.0, 8.0], [-8.0, 8.0], is_reference=True))
    figures = [TEXTS.figure("offset", offsets)]
    if options.num_classes > 2:
        figures = [*_coordinates(named), *figures]
    key = "place" if options.num_classes > 2 else "two_classes"
    return TEXTS.section(key, figures, [table], name="place", notes=notes)


def _coordinates(named: Mapping[str, MixedFeatures]) -> list[Figure | None]:
    both = [
        line
        for place, (name, curve) in enumerate(named.items())
        for line in (
            Line(name, curve.weights.tolist(), curve.x1.tolist(), colour=place),
            Line(f"{name}, second", curve.weights.tolist(), curve.x2.tolist(), colour=place, is_dashed=True),
        )
    ]
    first = {name: (curve.x1 / curve.same_class).tolist() for name, curve in named.items()}
    shares = [Line(name, curve.weights.tolist(), first[name]) for name, curve in named.items()]
    shares.append(Line(STRAIGHT, [0.0, 1.0], [0.0, 1.0], is_reference=True))
    above = [Line(name, first[name], (curve.x2 / curve.same_class).tolist()) for name, curve in named.items()]
    above.append(Line(STRAIGHT, [1.0, 0.0], [0.0, 1.0], is_reference=True))
    drawn = {"coordinates": both, "shares": shares, "plane": above}
    return [TEXTS.figure(name, lines) for name, lines in drawn.items()]


def shape_section(options: MixupFeaturesOptions, table: Table) -> Section:
    """Return the section on amplification, length and angle against the penalty; for three classes or more."""
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


def shape_table(options: MixupFeaturesOptions) -> Table:
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


def penalty_name(penalty: float) -> str:
    """Return how a penalty is named in a key."""
    return f"penalty {number(penalty)}"
