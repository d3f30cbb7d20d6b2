"""Chapters on the channel that blends of two classes form: their place, how far out it is, and how narrow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.theory.channel.mixed_features import MixedFeatures, mixup_features
from mixscope.theory.channel.shape import channel_angle, norm_ratio_limit
from mixscope.theory_pages.page_parts import number
from mixscope.theory_pages.theory_options import MixupFeaturesOptions

SAMPLE_PENALTIES = torch.logspace(0, -12, 37, dtype=torch.float64).tolist()
ANGLE_WEIGHTS = (0.1, 0.3)


@dataclass(frozen=True)
class ChannelShape:
    """The numbers of one penalty.

    Attributes:
        same_class: Logit of an unblended example's class above the others, in nats.
        probability: Its softmax probability.
        middle: x1 = x2 of the even blend, in nats.
        amplification: 2 middle / same_class; NaN with two classes.
        norm_ratio: Length of the even blend over that of an unblended example.
        angles: To the boundary, in degrees, at `ANGLE_WEIGHTS`; NaN with two classes.
    """

    same_class: float
    probability: float
    middle: float
    amplification: float
    norm_ratio: float
    angles: tuple[float, ...]


def channel_shape(options: MixupFeaturesOptions, penalty: float) -> ChannelShape:
    """Return the numbers of one penalty."""
    weights = torch.tensor([0.5, *ANGLE_WEIGHTS], dtype=torch.float64)
    features = mixup_features(options.num_classes, weights, feature_penalty=penalty, scale=options.scale).value
    middle, amplification, angles = float(features.x1[0]), math.nan, [math.nan for _ in ANGLE_WEIGHTS]
    if options.num_classes > 2:
        amplification = 2 * middle / features.same_class
        angles = channel_angle(features.x1, features.x2, num_classes=options.num_classes)[1:].tolist()
    return ChannelShape(
        same_class=features.same_class,
        probability=1 / (1 + (options.num_classes - 1) * math.exp(-features.same_class)),
        middle=middle,
        amplification=amplification,
        norm_ratio=float(features.lengths[0]) / features.same_class_length,
        angles=tuple(angles),
    )


def curve_weights() -> Tensor:
    """Return weights close enough for the steep ends, where a curve turns within 1 / gain, and for the middle."""
    ends = torch.linspace(-30, 30, 121, dtype=torch.float64).sigmoid()
    return torch.cat([ends, torch.linspace(0, 1, 101, dtype=torch.float64)]).unique()


def place_chapter(
    options: MixupFeaturesOptions, curves: Mapping[float, MixedFeatures], *, notes: Sequence[str]
) -> Chapter:
    """Return the chapter on x1 and x2 against the weight, and against each other.

    Args:
        options: Sizes.
        curves: Of every penalty, at `curve_weights`.
        notes: Sentences at its end.
    """
    offsets = Exhibit(
        "offset",
        "Place across the channel",
        [
            Series(penalty_name(penalty), _log_odds(curve), (curve.x1 - curve.x2)[1:-1].tolist())
            for penalty, curve in curves.items()
        ]
        + [Series("limit of small penalties: slope 1", [-8.0, 8.0], [-8.0, 8.0], is_reference=True)],
        x_title="log(w / (1 − w)), log-odds of the blend",
        y_title="x1 − x2, nats",
        x_range=(-8, 8),
        y_range=(-10, 10),
    )
    if options.num_classes == 2:
        text = (
            "With two classes x1 − x2 is all there is. Look for a line of slope 1 in the log-odds of the weight in the "
            "middle, which bends at the ends where the penalty holds the unblended examples back."
        )
        return Chapter("place", "Where a blend should lie", text, [offsets], notes=notes)
    shares = [
        Series(penalty_name(penalty), curve.weights.tolist(), (curve.x1 / curve.same_class).tolist())
        for penalty, curve in curves.items()
    ]
    planes = [
        Series(penalty_name(penalty), (curve.x1 / curve.same_class).tolist(), (curve.x2 / curve.same_class).tolist())
        for penalty, curve in curves.items()
    ]
    straight = "squared error: a straight line"
    exhibits = [
        Exhibit(
            "coordinates",
            "Logits of the two blended classes (first: solid, second: dashed)",
            [
                Series(
                    f"{penalty_name(penalty)}{', second' if is_second else ''}",
                    curve.weights.tolist(),
                    (curve.x2 if is_second else curve.x1).tolist(),
                    colour=place,
                    is_dashed=is_second,
                )
                for place, (penalty, curve) in enumerate(curves.items())
                for is_second in (False, True)
            ],
            x_title="weight w of the first class",
            y_title="logit above the other classes, nats",
        ),
        Exhibit(
            "shares",
            "The same for the first class, beside squared error",
            [*shares, Series(straight, [0.0, 1.0], [0.0, 1.0], is_reference=True)],
            x_title="weight w of the first class",
            y_title="x1 / x1 of an unblended example",
        ),
        Exhibit(
            "plane",
            "The channel seen from above",
            [*planes, Series(straight, [1.0, 0.0], [0.0, 1.0], is_reference=True)],
            x_title="x1 / x1 of an unblended example",
            y_title="x2 / the same",
            x_range=(-0.05, 1.1),
            y_range=(-0.05, 1.1),
        ),
        offsets,
    ]
    text = (
        "A blend's feature is x1 times its first class's classifier row plus x2 times the second's. Look for curves "
        "that leap up at both ends and stay high in between, so that the channel bulges away from the straight line "
        "that squared error gives; across the channel, x1 − x2 should follow the log-odds of the weight with slope 1."
    )
    return Chapter("place", "Where a blend should lie", text, exhibits, notes=notes)


def _log_odds(curve: MixedFeatures) -> list[float]:
    return torch.logit(curve.weights[1:-1]).tolist()


def shape_chapter(options: MixupFeaturesOptions, listing: Listing) -> Chapter:
    """Return the chapter on amplification, length and angle against the penalty; for three classes or more."""
    shapes = [channel_shape(options, penalty) for penalty in SAMPLE_PENALTIES]
    ends = [SAMPLE_PENALTIES[-1], SAMPLE_PENALTIES[0]]

    def level(name: str, value: float) -> Series:
        return Series(name, ends, [value, value], is_reference=True)

    limit = norm_ratio_limit(options.num_classes)
    angle_series = []
    for place, weight in enumerate(ANGLE_WEIGHTS):
        angles = [shape.angles[place] for shape in shapes]
        angle_series.append(Series(f"w = {weight:g}", SAMPLE_PENALTIES, angles, colour=place))
        line = _line_angle(options.num_classes, weight)
        angle_series.append(level(f"straight line: {line:.1f}°", line))
    exhibits = [
        Exhibit(
            "amplification",
            "Amplification of the even blend",
            [
                Series("cross-entropy", SAMPLE_PENALTIES, [shape.amplification for shape in shapes]),
                level("limit: 2", 2.0),
                level("squared error: 1", 1.0),
            ],
            x_title="feature penalty",
            y_title="distance / half-way point's",
            log_x=True,
            y_range=(0.95, 2.05),
        ),
        Exhibit(
            "norm-ratio",
            "Length of the even blend",
            [
                Series("cross-entropy", SAMPLE_PENALTIES, [shape.norm_ratio for shape in shapes]),
                level(f"limit: {limit:.3f}", limit),
                level(f"squared error: {limit / 2:.3f}", limit / 2),
            ],
            x_title="feature penalty",
            y_title="length / unblended example's",
            log_x=True,
        ),
        Exhibit(
            "angle",
            "Angle to the decision boundary",
            angle_series,
            x_title="feature penalty",
            y_title="degrees",
            log_x=True,
        ),
    ]
    text = (
        "The smaller the penalty (weight decay), the more pronounced the channel. Look for an amplification between 1 "
        f"and 2, for even blends that are longer than unblended examples where the ratio is above 1 (it ends at "
        f"{limit:.3f} for {options.num_classes} classes), and for blends much closer to the boundary than a straight "
        "line would put them. The approach to the limits is logarithmic: no network is at them."
    )
    note = "Amplification, length and angle follow from x1 and x2; derived from the same model."
    return Chapter("shape", "How far out, and how narrow", text, exhibits, listing, [note])


def shape_listing(options: MixupFeaturesOptions, shapes: Mapping[float, ChannelShape]) -> Listing:
    """Return the table of the penalties' shapes."""
    columns = [
        "feature penalty",
        "logit, unblended (nats)",
        "its probability",
        "logit, even blend (nats)",
        "amplification",
        "length ratio",
        "angle at w = 0.3",
    ]
    rows = [
        [
            number(penalty),
            number(shape.same_class),
            number(shape.probability, digits=5),
            number(shape.middle),
            number(shape.amplification),
            number(shape.norm_ratio),
            f"{shape.angles[1]:.1f}°" if options.num_classes > 2 else "–",
        ]
        for penalty, shape in shapes.items()
    ]
    if options.num_classes > 2:
        ratio, line = norm_ratio_limit(options.num_classes) / 2, _line_angle(options.num_classes, ANGLE_WEIGHTS[1])
        rows.append(["squared error, any", "–", "–", "–", "1", number(ratio), f"{line:.1f}°"])
    return Listing(columns, rows)


def _line_angle(num_classes: int, weight: float) -> float:
    first, second = torch.tensor([weight, 1 - weight], dtype=torch.float64)
    return float(channel_angle(first, second, num_classes=num_classes))


def penalty_name(penalty: float) -> str:
    """Return how a penalty is named in a key."""
    return f"penalty {number(penalty)}"
