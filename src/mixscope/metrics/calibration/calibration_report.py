"""Report of a classifier's calibration: the numbers with their cards. No torch."""

from dataclasses import dataclass
from functools import partial

from mixscope.metrics.cards import Report, number

_GUO = "Guo et al. 2017"
_score = partial(number, low=0, high=1)


# fmt: off
@dataclass(frozen=True)
class CalibrationReport(Report):
    """How often a classifier is right, and how well it knows."""

    accuracy: float = _score(
        symbol="acc", title="Test accuracy", better="high", source="standard", column="test accuracy",
        definition="share of test images predicted rightly", note="1 minus the test error.")
    error: float = _score(
        symbol="err", title="Test error", better="low", source="standard", column="test error",
        definition="share of test images predicted wrongly", note="Share of wrong predictions.")
    loss: float = _score(
        symbol="NLL", title="Test loss", unit="nats", high=None, better="low", source="standard", column="test loss",
        definition="mean -log p_y over the test images", note="Negative log-likelihood; a proper score.")
    brier: float = _score(
        symbol="BS", title="Brier score", high=2, better="low", source="Brier 1950", column="Brier score",
        definition="mean over examples of sum_k (p_k - [k = y])^2",
        note="Summed over classes, so at most 2; some tools divide by the number of classes.")
    ece: float = _score(
        symbol="ECE", title="Expected calibration error", better="low", source=_GUO,
        definition="sum_b (n_b/N) |accuracy_b - confidence_b|, top label, 15 equal-width bins (low, high]",
        note="Top label, 15 equal-width bins (low, high]. Does not say in which direction: see the signed gap.")
    ece_equal_mass: float = _score(
        symbol="ECE em", title="Expected calibration error, bins of equal counts", better="low",
        definition="sum_b (n_b/N) |accuracy_b - confidence_b|, top label, 15 bins of equal counts",
        source="Nguyen and O'Connor 2015", note="No bin is nearly empty; ties share their mean accuracy.")
    mce: float = _score(
        symbol="MCE", title="Maximum calibration error", better="low", source=_GUO,
        definition="max_b |accuracy_b - confidence_b| over the equal-width bins that hold an example",
        note="A bin of few examples can decide it.")
    classwise_ece: float = _score(
        symbol="cw-ECE", title="Classwise calibration error", better="low", source="Kull et al. 2019",
        definition="mean over classes k of sum_b (n_b/N) |share of class k - mean p_k|, 15 equal-width bins of p_k",
        note="Falls with K: compare at equal K only.")
    signed_gap: float = _score(
        symbol="conf - acc", title="Confidence minus accuracy", low=-1, source="defined here", column="signed gap",
        definition="mean confidence - accuracy",
        note="0 is best; negative is under-confident, positive over-confident.")
    mean_confidence: float = _score(
        symbol="conf", title="Mean confidence", source=_GUO, column="mean confidence",
        definition="mean of the largest probability",
        note="Mean of the largest probability; compare with the accuracy.")
    signed_gap_error: float | None = number(
        default=None, symbol="se(conf - acc)", title="Standard error of confidence minus accuracy", low=0,
        source="Agresti and Coull 1998; of paired differences ours", column="error of the signed gap",
        definition="s / sqrt(N + 4), s the standard deviation of p_max - [right] over N images and four more",
        note="Over the choice of test images; the four, two right and two wrong, count where all images are right.")
