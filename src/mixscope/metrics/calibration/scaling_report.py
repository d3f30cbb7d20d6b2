"""Report of temperature scaling: what one temperature would mend, with the numbers' cards. No torch."""

from dataclasses import dataclass
from functools import partial

from mixscope.metrics.cards import Report, number

_GUO = "Guo et al. 2017; cross-fitting and intervals ours"
_HALVES = "Fitted on one half of the test images, drawn at random, and judged on the other, both ways."
_loss = partial(number, unit="nats", better="low", source=_GUO)
_score = partial(number, better="low", source=_GUO)


# fmt: off
@dataclass(frozen=True)
class ScalingReport(Report):
    """What dividing all logits by one temperature does to a classifier's loss and calibration."""

    temperature: float | None = number(
        default=None, symbol="T", title="Temperature that mends the confidence", low=0, source=_GUO,
        column="temperature", definition="argmin over T of mean -log softmax(z / T)_y, all test images",
        note="Divide the logits by it: above 1 they are over-confident, below 1 under-confident.")
    temperature_low: float | None = number(
        default=None, symbol="T low", title="Temperature, lower end of its 95% interval", low=0, source=_GUO,
        definition="T exp(-1.96 s), s = T sqrt(sum_i g_i^2) / sum_i v_i, g_i = E_p z - z_y, v_i = Var_p z at z / T",
        note="From the spread of the examples' own gradients; other test images would give another T.")
    temperature_high: float | None = number(
        default=None, symbol="T high", title="Temperature, upper end of its 95% interval", low=0, source=_GUO,
        definition="T exp(1.96 s), s as of the lower end", note="See the lower end.")
    loss: float | None = _loss(
        default=None, symbol="NLL(T)", title="Test loss after temperature scaling", low=0, column="test loss, scaled",
        definition="mean -log softmax(z / T')_y, T' fitted on the half without the image", note=_HALVES)
    loss_change_low: float | None = _loss(
        default=None, symbol="dNLL low", title="Change of the test loss by scaling, lower end of its 95% interval",
        definition="2.5% quantile of the mean change over resampled images", note=_HALVES)
    loss_change_high: float | None = _loss(
        default=None, symbol="dNLL high", title="Change of the test loss by scaling, upper end of its 95% interval",
        definition="97.5% quantile of the mean change over resampled images", note=_HALVES)
    ece: float | None = _score(
        default=None, symbol="ECE(T)", title="Expected calibration error after temperature scaling", low=0, high=1,
        column="ECE, scaled", definition="ECE of softmax(z / T'), T' fitted on the half without the image",
        note=_HALVES)
    ece_change_low: float | None = _score(
        default=None, symbol="dECE low", title="Change of the ECE by scaling, lower end of its 95% interval",
        definition="2 d - 97.5% quantile of the change d over resampled images", note=_HALVES)
    ece_change_high: float | None = _score(
        default=None, symbol="dECE high", title="Change of the ECE by scaling, upper end of its 95% interval",
        definition="2 d - 2.5% quantile of the change d over resampled images", note=_HALVES)
