"""Reports on blends: channels of the last layer, linearity of any layer. The numbers with their cards. No torch."""

from dataclasses import dataclass
from functools import partial

from mixscope.metrics.cards import ROTATION, SCALE, SHIFT, Report, number

_HERE = "defined here"
_channel = partial(number, low=0, source="after Fisher et al. 2024", ignores=(ROTATION, SHIFT, SCALE))
_order = partial(
    _channel, low=None, unit="nats", ignores=(ROTATION, SHIFT),
    note="Compare the three: rising towards even blends under mixup, falling without.",
)  # fmt: skip
_linearity = partial(number, low=0, better="low", source=_HERE, ignores=(ROTATION, SCALE))


# fmt: off
@dataclass(frozen=True)
class ChannelReport(Report):
    """Where the features of blends lie, for blends within one class and between two.

    "The line" is the straight line w h_i + (1 - w) h_j between the features of a blend's own two examples, m_k are the
    centred class means, w_i the rows of the centred classifier, x1 and x2 the coordinates of `classifier_coordinates`
    on the first and the second class. A number is NaN where no blend falls into its group.
    """

    amplification: float = _channel(
        symbol="|h mid| / |line|", title="Amplification of blends in the middle",
        definition="mean |h| / mean |w h_i + (1-w) h_j|, two classes, min(w, 1-w) > 0.3",
        note="1 on the line between the two real examples; scatter within classes lengthens both.")
    amplification_means: float = _channel(
        symbol="h mid . m / |m|^2", title="Amplification against the line between class means", low=None,
        column="amplification",
        definition="sum h.m / sum |m|^2, m = w m_i + (1-w) m_j, two classes, min(w, 1-w) > 0.3",
        note="Scatter averages out of it; theory: in (1, 2) for cross-entropy, 1 for squared error.")
    deviation_same: float = _channel(
        symbol="dev same", title="Distance from the line, same class", column="deviation, same class",
        definition="mean |h - line| / mean_k |m_k|, blends within a class",
        note="In units of the mean length of the class means.")
    deviation_different: float = _channel(
        symbol="dev diff", title="Distance from the line, different classes", column="deviation, different",
        definition="mean |h - line| / mean_k |m_k|, blends of two classes",
        note="In units of the mean length of the class means; 0 for squared error in theory.")
    deviation_same_middle: float = _channel(
        symbol="dev same mid", title="Distance from the line, same class, middle",
        definition="mean |h - line| / mean_k |m_k|, blends within a class, min(w, 1-w) > 0.3",
        note="Blends with min(w, 1 - w) > 0.3.")
    deviation_different_middle: float = _channel(
        symbol="dev diff mid", title="Distance from the line, different classes, middle", column="deviation, even",
        definition="mean |h - line| / mean_k |m_k|, blends of two classes, min(w, 1-w) > 0.3",
        note="Blends with min(w, 1 - w) > 0.3.")
    alignment_same: float = _channel(
        symbol="cos(h, w_i)", title="Same-class blends along their classifier", low=-1, high=1, better="high",
        column="alignment, same class", definition="mean cos(h, w_i), blends within class i, rows centred",
        note="1 where same-class blends lie on their classifier.")
    alignment_channel: float = _channel(
        symbol="cos(h, w_i + w_j)", title="Middle blends along the channel", low=-1, high=1, better="high",
        column="alignment, channel",
        definition="mean cos(h, w_i + w_j), blends of classes i and j, min(w, 1-w) > 0.3, rows centred",
        note="1 where the blends lie on the decision boundary between their classes.")
    logit_slope: float = _channel(
        symbol="d(x1 - x2) / d logit w", title="Slope across the channel", low=None, column="logit slope",
        definition="least-squares slope of x1 - x2 on log(w / (1 - w)), blends of two classes",
        note="Theory under mixup tends to 1; plain training is far above.", ignores=(ROTATION, SHIFT))
    logit_correlation: float = _channel(
        symbol="corr(x1 - x2, logit w)", title="Correlation across the channel", low=-1, high=1,
        definition="correlation of x1 - x2 with log(w / (1 - w)), blends of two classes",
        note="Between x1 - x2 and log(w / (1 - w)).")
    order_low: float = _order(
        symbol="(x1 + x2)/2, w < .1", title="Position along the channel, uneven blends", column="order, uneven",
        definition="mean (x1 + x2) / 2, blends of two classes, min(w, 1-w) < 0.1")
    order_middle: float = _order(
        symbol="(x1 + x2)/2, .1 to .3", title="Position along the channel, in between", column="order, middle",
        definition="mean (x1 + x2) / 2, blends of two classes, min(w, 1-w) from 0.1 to 0.3")
    order_high: float = _order(
        symbol="(x1 + x2)/2, w > .3", title="Position along the channel, even blends", column="order, even",
        definition="mean (x1 + x2) / 2, blends of two classes, min(w, 1-w) > 0.3")
    ratio_middle_to_same: float = _channel(
        symbol="|h mid| / |h same|", title="Length of middle blends over same-class blends",
        definition="mean |h| of two-class blends with min(w, 1-w) > 0.3 / mean |h| of blends within a class",
        note="Theory with weak decay tends to sqrt(2 (K-2) / (K-1)).")
    theory_residual: float | None = _channel(
        symbol="|x - theory| / |x|", title="Distance from theory's curve", high=1, better="low", source=_HERE,
        definition="sqrt(sum |x - curve(w)|^2 / sum |x|^2), x = (x1, x2), blends of two classes, "
                   "the curve fitted to them",
        note="The curve is what the loss trained on leads one to expect; measured at the last epoch.", default=None)


@dataclass(frozen=True)
class NonlinearityReport(Report):
    """How a layer treats blends. Means over the blends; low is linear.

    f is the layer, v = sum_p w_p f(x_p) / |f(x_p)|, a = f(mix) / |f(mix)|, r = |v| and phi the angle between a and v.
    Blends without a direction (`left_out`) count in `relative_defect` alone, and the numbers before it are NaN where no
    other blend is left. A blend with r = 0 has no angle and is left out of `angle_degrees`.
    """

    nonlinearity: float = _linearity(
        symbol="NonLin", title="Non-linearity of normalised features", high=2, source="Chaudhry et al. 2022, Eq. 3",
        definition="mean |a - v|, a = f(mix)/|f(mix)|, v = sum_p w_p f(x_p)/|f(x_p)|",
        note="Above 0 even for an affine layer: read it beside the floor and the relative defect.")
    floor: float = _linearity(
        symbol="1 - r", title="Floor of the non-linearity", high=1, better="none",
        definition="mean (1 - r), r = |v|",
        note="What any layer must show; lower where a method spreads the classes less.")
    radial: float = _linearity(
        symbol="(1 - r)^2", title="Radial part", high=1, better="none", definition="mean (1 - r)^2, r = |v|",
        note="Has nothing to do with linearity; radial + angular = nonlinearity^2 for each blend.")
    angular: float = _linearity(
        symbol="2r(1 - cos phi)", title="Angular part", high=4,
        definition="mean 2 r (1 - cos phi), phi the angle between a and v",
        note="radial + angular = nonlinearity^2 for each blend.")
    angle_degrees: float = _linearity(
        symbol="phi", title="Angle between the blend's feature and the blend of features", unit="degrees", high=180,
        definition="mean phi, the angle between a and v", note="Small for a large constant offset of the features.")
    relative_defect: float = _linearity(
        symbol="|f(mix) - mix f| / |f - mean|", title="Relative defect", ignores=(ROTATION, SHIFT, SCALE),
        definition="mean |f(mix) - sum_p w_p f(x_p)| / mean |f(x) - mean f|",
        note="Zero exactly for an affine layer.")
    left_out: float = _linearity(
        symbol="left out", title="Blends without a direction", high=1, ignores=(ROTATION, SHIFT, SCALE),
        definition="share of blends where f(mix) or a member's feature has length 0",
        note="A dead ReLU gives features of length 0: numbers on directions leave such blends out.")
