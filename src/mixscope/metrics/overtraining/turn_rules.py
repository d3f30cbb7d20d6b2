"""Rules that say when mixup has given what it can: from the training loss alone, or from a validation curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_positive
from mixscope.base.kinds import checked
from mixscope.metrics.catalogue import BLEND_ENTROPY, FLOOR_GAP
from mixscope.stats.intervals import check_level

VALIDATION_LOSS = "validation/loss"
SMALLEST_WINDOW = 3  # values: fewer give no useful standard error


@dataclass(frozen=True)
class TurnEstimate:
    """What a rule makes of the values so far.

    Attributes:
        has_turned: Whether the rule is sure enough.
        confidence: In [0, 1]: how sure it is that the turn has been passed; 0 while there are too few values to say.
        best_epoch: The epoch it takes for the best so far; None where its values cannot tell.
    """

    has_turned: bool
    confidence: float
    best_epoch: int | None


@runtime_checkable
class TurnRule(Protocol):
    """A rule that says from past values whether the turn has been passed: a pure function of them."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the values it is fed, one of each per epoch, as in the catalogue of metrics."""
        ...

    def judge(self, epochs: Sequence[int], values: Mapping[str, Sequence[float]]) -> TurnEstimate:
        """Judge T epochs, oldest first, with T values of every name needed; T at least 1."""
        ...


class _WindowRule:
    """What rules share that look at the last of the epochs so far."""

    window: float
    level: float

    def __post_init__(self) -> None:
        if not 0 < self.window <= 1:
            raise ValueError(f"window must be in (0, 1], got {self.window}")
        check_level(self.level)

    @property
    def needs(self) -> tuple[str, ...]:
        raise NotImplementedError

    @checked
    def judge(self, epochs: Sequence[int], values: Mapping[str, Sequence[float]]) -> TurnEstimate:
        """Judge T epochs, oldest first; a ValueError where there are not T values of every name needed."""
        for name in self.needs:
            if len(values.get(name, ())) != len(epochs):
                got = f"{len(values[name])}" if name in values else "none"
                raise ValueError(
                    f"values must hold a number of {name!r} for each of the {len(epochs)} epochs, got {got}"
                )
        size = max(SMALLEST_WINDOW, math.ceil(self.window * len(epochs)))
        if size > len(epochs):
            return TurnEstimate(has_turned=False, confidence=0.0, best_epoch=None)
        return self._judge(epochs, [torch.tensor(values[name], dtype=torch.float64) for name in self.needs], size)

    def _judge(self, epochs: Sequence[int], series: list[Tensor], size: int) -> TurnEstimate:
        raise NotImplementedError


@checked
@dataclass(frozen=True)
class FloorGapRule(_WindowRule):
    """The turn has been passed once the training loss is closer to its floor than a share of the floor.

    The loss under mixing cannot go below the mean entropy of the blended labels; what is above it, the gap, falls
    fast while classes are learned and slowly while single blends, wrong labels among them, are learned by heart.
    Half of the floor lies between the two on small images. It needs no validation images: both values come with
    the training loss, taken on the very blends of the epoch, at no extra pass. The gap is averaged over a last part of
    the epochs so far, so the rule means the same at any learning rate and epoch size; the confidence is that of a
    t-test that the average lies below, the blends of different epochs being drawn apart.

    A network that never comes that close (strong weight decay or augmentation, hard large sets, few epochs) is never
    told to stop. The gap cannot tell a blend understood from a blend memorised: on large easy sets the call comes
    earlier than over-training. It needs cross-entropy: the floor of the squared error is 0. Source: the floor after
    Liu et al. 2023, Lemma 3.1; the rule is defined here.

    Attributes:
        share: Of the floor, positive.
        window: Share of the epochs so far that is averaged, in (0, 1]; at least 3 of them.
        level: Confidence at which the turn is called, in (0, 1).
    """

    share: float = 0.5
    window: float = 0.2
    level: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(share=self.share)

    @property
    def needs(self) -> tuple[str, ...]:
        """The epoch's mean loss minus mean target entropy, and the mean entropy of its blended labels, in nats."""
        return (FLOOR_GAP, BLEND_ENTROPY)

    def _judge(self, epochs: Sequence[int], series: list[Tensor], size: int) -> TurnEstimate:
        gap, entropy = (values[-size:] for values in series)
        below = self.share * entropy - gap
        confidence = _confidence_above_zero(float(below.mean()), float(below.var() / size), size - 1)
        # Where nothing is blended there is no floor to come close to.
        has_turned = confidence >= self.level and bool((entropy > 0).any())
        return TurnEstimate(has_turned=has_turned, confidence=confidence, best_epoch=None)


@checked
@dataclass(frozen=True)
class ValidationRule(_WindowRule):
    """The turn has been passed once a validation curve is above its lowest stretch, and has been for long.

    The values of the last stretch (a share of the epochs so far) are compared with those of the lowest stretch by
    Welch's t-test, and as many epochs must have passed since it as led up to it, times `patience`. The loss turns
    earlier and more clearly than the error. The confidence speaks of the noise between epochs; it cannot see that
    other validation images might have turned elsewhere, and the lowest of many stretches is low partly by luck.

    Attributes:
        value: Name of the value it is fed; low is good.
        window: Share of the epochs so far in a stretch, in (0, 1]; at least 3 of them.
        patience: Epochs since the lowest stretch, in units of the epochs up to it; at least 0.
        level: Confidence at which the turn is called, in (0, 1).
    """

    value: str = VALIDATION_LOSS
    window: float = 0.2
    patience: float = 1.0
    level: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, patience=self.patience)

    @property
    def needs(self) -> tuple[str, ...]:
        """The loss, or the error, on images that are not trained on."""
        return (self.value,)

    def _judge(self, epochs: Sequence[int], series: list[Tensor], size: int) -> TurnEstimate:
        stretches = series[0].unfold(0, size, 1)
        lowest, last = int(stretches.mean(dim=1).argmin()), len(stretches) - 1
        best_epoch = epochs[lowest + size // 2]
        if lowest == last:
            return TurnEstimate(has_turned=False, confidence=0.0, best_epoch=best_epoch)
        rise = float(stretches[last].mean() - stretches[lowest].mean())
        variance = float((stretches[last].var() + stretches[lowest].var()) / size)
        confidence = _confidence_above_zero(rise, variance, 2 * (size - 1))
        waited = epochs[-1] - best_epoch >= self.patience * best_epoch and last - lowest >= size
        return TurnEstimate(
            has_turned=waited and confidence >= self.level, confidence=confidence, best_epoch=best_epoch
        )


def _confidence_above_zero(mean: float, variance: float, degrees: int) -> float:
    """Return P(true mean > 0) given a mean, the variance of that mean and its degrees of freedom (Student's t)."""
    from scipy.special import stdtr

    if variance == 0:
        return float(mean > 0)
    return float(stdtr(degrees, mean / math.sqrt(variance)))
