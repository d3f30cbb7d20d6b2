"""Every scalar this project measures: its key in the records, symbol, unit, range, good end, source. No torch."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal


@dataclass(frozen=True)
class MetricEntry:
    """What a reader needs to know about one number.

    Attributes:
        key: Name in the records, GROUP/NAME. For linearity the records have the site between: linearity/SITE/NAME.
        symbol: As written in formulas and on axes.
        title: In words.
        unit: "" for a dimensionless number.
        low: Smallest possible value, None for no bound.
        high: Largest possible value, None for no bound.
        better: The good end: "low", "high", or "none" where neither end is good (a number to read, not to optimise).
        source: Where the definition comes from.
        note: What to keep in mind when reading it.
    """

    key: str
    symbol: str
    title: str
    unit: str
    low: float | None
    high: float | None
    better: Literal["low", "high", "none"]
    source: str
    note: str


_PAPYAN = "Papyan et al. 2020"
_FISHER = "after Fisher et al. 2024"
_CHAUDHRY = "Chaudhry et al. 2022, Eq. 3"
_GUO = "Guo et al. 2017"
_HERE = "defined here"
_STANDARD = "standard"

# fmt: off
# One entry: key, symbol, title / unit, low, high, better, source / note.
_LEARNING = (
    MetricEntry("train/loss", "L", "Training loss",
                "nats", 0, None, "low", _STANDARD,
                "The objective on what was trained on: blends while mixing is on, so it cannot reach 0 there."),
    MetricEntry("train/accuracy_blends", "acc mix", "Training accuracy on blends",
                "", 0, 1, "none", _HERE,
                "Weighted by the shares of the label; not comparable with accuracy on clean images."),
    MetricEntry("train/accuracy_clean", "acc train", "Training accuracy",
                "", 0, 1, "high", _STANDARD, "On unblended training images, evaluation mode."),
    MetricEntry("train/loss_clean", "L train", "Training loss on clean images",
                "nats", 0, None, "low", _STANDARD, "On unblended training images, evaluation mode."),
    MetricEntry("test/error", "err", "Test error",
                "", 0, 1, "low", _STANDARD, "Share of wrong predictions."),
    MetricEntry("test/accuracy", "acc", "Test accuracy",
                "", 0, 1, "high", _STANDARD, "1 minus the test error."),
    MetricEntry("test/loss", "NLL", "Test loss",
                "nats", 0, None, "low", _STANDARD, "Negative log-likelihood; a proper score."),
)

_CALIBRATION = (
    MetricEntry("test/brier", "BS", "Brier score",
                "", 0, 2, "low", "Brier 1950",
                "Summed over classes, so at most 2; some tools divide by the number of classes."),
    MetricEntry("test/ece", "ECE", "Expected calibration error",
                "", 0, 1, "low", _GUO,
                "Top label, 15 equal-width bins (low, high]. Does not say in which direction: see the signed gap."),
    MetricEntry("test/signed_gap", "conf - acc", "Confidence minus accuracy",
                "", -1, 1, "none", _HERE, "0 is best; negative is under-confident, positive over-confident."),
    MetricEntry("test/mean_confidence", "conf", "Mean confidence",
                "", 0, 1, "none", _GUO, "Mean of the largest probability; compare with the accuracy."),
)

_COLLAPSE = (
    MetricEntry("nc/nc0_row_sum", "|sum w|^2 / |W|^2", "NC0: classifier rows sum to zero",
                "", 0, None, "low", _HERE,
                "0 where the rows of the classifier sum to zero; at most the number of classes."),
    MetricEntry("nc/nc1_pinv", "tr(Sw pinv Sb) / K", "NC1: within-class variability",
                "", 0, None, "low", _PAPYAN,
                "With 1/K. Falls at another power than the trace form: never compare the two."),
    MetricEntry("nc/nc1_pinv_sum", "tr(Sw pinv Sb)", "NC1 without 1/K",
                "", 0, None, "low", _PAPYAN, "Exactly K times nc1_pinv."),
    MetricEntry("nc/nc1_trace", "tr Sw / tr Sb", "NC1: ratio of traces",
                "", 0, None, "low", "Tirer et al.",
                "Falls at another power than the pseudo-inverse form: never compare the two."),
    MetricEntry("nc/nc1_cdnv", "CDNV", "NC1: class-distance normalised variance",
                "", 0, None, "low", "Galanti et al. 2021",
                "One close pair of classes can dominate the mean over pairs."),
    MetricEntry("nc/nc2_equinorm_means", "cv |m|", "NC2: equal lengths of class means",
                "", 0, None, "low", _PAPYAN, "Coefficient of variation with the population standard deviation."),
    MetricEntry("nc/nc2_equinorm_weights", "cv |w|", "NC2: equal lengths of classifiers",
                "", 0, None, "low", _PAPYAN, "Rows centred; population standard deviation."),
    MetricEntry("nc/nc2_equinorm_weights_uncentered", "cv |w| raw", "NC2: equal lengths of uncentred classifiers",
                "", 0, None, "low", _PAPYAN, "Decays at another rate than the centred form."),
    MetricEntry("nc/nc2_equiangular_means", "|cos m + 1/(K-1)|", "NC2: equal angles of class means",
                "", 0, None, "low", _PAPYAN, "Mean over pairs."),
    MetricEntry("nc/nc2_equiangular_weights", "|cos w + 1/(K-1)|", "NC2: equal angles of classifiers",
                "", 0, None, "low", _PAPYAN, "Mean over pairs; rows centred."),
    MetricEntry("nc/nc2_equiangular_weights_uncentered", "|cos w + 1/(K-1)| raw",
                "NC2: equal angles of uncentred classifiers",
                "", 0, None, "low", _PAPYAN, "Decays at another rate than the centred form."),
    MetricEntry("nc/nc2_max_angle_means", "max cos m + 1/(K-1)", "NC2: closest pair of class means",
                "", 0, 2, "low", _PAPYAN, "The worst pair; the mean over pairs hides it."),
    MetricEntry("nc/nc2_etf_means", "|MM' - E|", "NC2: class means against a simplex",
                "", 0, 2, "low", _PAPYAN, "Both Gram matrices scaled to norm 1."),
    MetricEntry("nc/nc2_etf_weights", "|WW' - E|", "NC2: classifiers against a simplex",
                "", 0, 2, "low", _PAPYAN, "Rows centred; both Gram matrices scaled to norm 1."),
    MetricEntry("nc/nc3_duality", "|W - M|", "NC3: classifiers against class means",
                "", 0, 2, "low", _PAPYAN, "Both centred and scaled to norm 1; not squared."),
    MetricEntry("nc/nc3_duality_squared", "|W - M|^2", "NC3: squared",
                "", 0, 4, "low", _PAPYAN, "The square of nc3_duality, as some notebooks print it."),
    MetricEntry("nc/nc3_product", "|WM' - E|", "NC3: product against a simplex",
                "", 0, 2, "low", _PAPYAN, "Rows centred; both matrices scaled to norm 1."),
    MetricEntry("nc/nc3_alignment", "1 - cos(w, m)", "NC3: angle between classifier and class mean",
                "", 0, 2, "low", _PAPYAN, "Mean over classes; rows centred."),
    MetricEntry("nc/nc4_mismatch", "NC4", "NC4: disagreement with the nearest class mean",
                "", 0, 1, "low", _PAPYAN, "The classifier's bias is part of its decision."),
    MetricEntry("nc/effective_rank", "erank M", "Effective rank of the class means",
                "", 1, None, "none", "Roy and Vetterli 2007", "K - 1 at collapse."),
    MetricEntry("nc/participation", "(tr S)^2 / tr S^2", "Participation ratio of the features",
                "", 1, None, "none", _STANDARD,
                "How many directions carry the variance of all examples; K - 1 at collapse."),
)

_CHANNELS = (
    MetricEntry("channels/amplification", "|h mid| / |line|", "Amplification of blends in the middle",
                "", 0, None, "none", _FISHER,
                "1 on the line between the two real examples; scatter within classes lengthens both."),
    MetricEntry("channels/amplification_means", "h mid . m / |m|^2",
                "Amplification against the line between class means",
                "", None, None, "none", _FISHER,
                "Scatter averages out of it; theory: in (1, 2) for cross-entropy, 1 for squared error."),
    MetricEntry("channels/deviation_same", "dev same", "Distance from the line, same class",
                "", 0, None, "none", _FISHER, "In units of the mean length of the class means."),
    MetricEntry("channels/deviation_different", "dev diff", "Distance from the line, different classes",
                "", 0, None, "none", _FISHER,
                "In units of the mean length of the class means; 0 for squared error in theory."),
    MetricEntry("channels/deviation_same_middle", "dev same mid", "Distance from the line, same class, middle",
                "", 0, None, "none", _FISHER, "Blends with min(w, 1 - w) > 0.3."),
    MetricEntry("channels/deviation_different_middle", "dev diff mid",
                "Distance from the line, different classes, middle",
                "", 0, None, "none", _FISHER, "Blends with min(w, 1 - w) > 0.3."),
    MetricEntry("channels/alignment_same", "cos(h, w_i)", "Same-class blends along their classifier",
                "", -1, 1, "high", _FISHER, "1 where same-class blends lie on their classifier."),
    MetricEntry("channels/alignment_channel", "cos(h, w_i + w_j)", "Middle blends along the channel",
                "", -1, 1, "high", _FISHER, "1 where the blends lie on the decision boundary between their classes."),
    MetricEntry("channels/logit_slope", "d(x1 - x2) / d logit w", "Slope across the channel",
                "", None, None, "none", _FISHER, "Theory under mixup tends to 1; plain training is far above."),
    MetricEntry("channels/logit_correlation", "corr(x1 - x2, logit w)", "Correlation across the channel",
                "", -1, 1, "none", _FISHER, "Between x1 - x2 and log(w / (1 - w))."),
    MetricEntry("channels/order_low", "(x1 + x2)/2, w < .1", "Position along the channel, uneven blends",
                "nats", None, None, "none", _FISHER,
                "Compare the three: rising towards even blends under mixup, falling without."),
    MetricEntry("channels/order_middle", "(x1 + x2)/2, .1 to .3", "Position along the channel, in between",
                "nats", None, None, "none", _FISHER,
                "Compare the three: rising towards even blends under mixup, falling without."),
    MetricEntry("channels/order_high", "(x1 + x2)/2, w > .3", "Position along the channel, even blends",
                "nats", None, None, "none", _FISHER,
                "Compare the three: rising towards even blends under mixup, falling without."),
    MetricEntry("channels/ratio_middle_to_same", "|h mid| / |h same|", "Length of middle blends over same-class blends",
                "", 0, None, "none", _FISHER, "Theory with weak decay tends to sqrt(2 (K-2) / (K-1))."),
)

_LINEARITY = (
    MetricEntry("linearity/nonlinearity", "NonLin", "Non-linearity of normalised features",
                "", 0, 2, "low", _CHAUDHRY,
                "Above 0 even for an affine layer: read it beside the floor and the relative defect."),
    MetricEntry("linearity/floor", "1 - r", "Floor of the non-linearity",
                "", 0, 1, "none", _HERE, "What any layer must show; lower where a method spreads the classes less."),
    MetricEntry("linearity/radial", "(1 - r)^2", "Radial part",
                "", 0, 1, "none", _HERE,
                "Has nothing to do with linearity; radial + angular = nonlinearity^2 for each blend."),
    MetricEntry("linearity/angular", "2r(1 - cos phi)", "Angular part",
                "", 0, 4, "low", _HERE, "radial + angular = nonlinearity^2 for each blend."),
    MetricEntry("linearity/angle_degrees", "phi", "Angle between the blend's feature and the blend of features",
                "degrees", 0, 180, "low", _HERE, "Small for a large constant offset of the features."),
    MetricEntry("linearity/relative_defect", "|f(mix) - mix f| / |f - mean|", "Relative defect",
                "", 0, None, "low", _HERE, "Zero exactly for an affine layer."),
)
# fmt: on

CATALOGUE: tuple[MetricEntry, ...] = (*_LEARNING, *_CALIBRATION, *_COLLAPSE, *_CHANNELS, *_LINEARITY)

_BY_KEY = {entry.key: entry for entry in CATALOGUE}


def find_metric(key: str) -> MetricEntry:
    """Return the entry of a key of the records, with or without the site of a linearity number.

    Raises:
        ValueError: If there is no such number.

    Example:
        >>> find_metric("linearity/block1/floor").title
        'Floor of the non-linearity'
    """
    parts = key.split("/")
    short = f"{parts[0]}/{parts[-1]}" if parts[0] == "linearity" else key
    if short not in _BY_KEY:
        close = get_close_matches(short, _BY_KEY, n=3)
        raise ValueError(
            f"key must be a metric of the catalogue, got {key!r}"
            + (f" (did you mean {' or '.join(close)}?)" if close else "")
        )
    return _BY_KEY[short]
