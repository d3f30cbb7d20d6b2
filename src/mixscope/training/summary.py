"""Summary of one epoch of training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochSummary:
    """What one epoch of training saw.

    Attributes:
        epoch: Counted from 1.
        step: Optimizer steps taken since the start of training.
        learning_rate: At the epoch's last step.
        mixing_on: Whether anything was mixed: false for plain training, and after mixing is switched off.
        loss: Mean objective over the epoch's examples, as trained on (blends, smoothed labels).
        loss_floor: The lowest the loss could be on the labels as trained on: for cross-entropy their mean entropy, for
            the squared error 0.
        blend_entropy: Mean entropy of the blended labels before smoothing, in nats; 0 where nothing is mixed.
        accuracy_blends: Mean weight of the predicted class in the blended label, in [0, 1]; equal to plain accuracy
            where nothing is mixed. It is not the accuracy on real examples.
        auxiliary: Mean over the epoch's steps of the auxiliary loss before its weight, the steps of weight 0 left out;
            None where there is none. It is not part of `loss`.
    """

    epoch: int
    step: int
    learning_rate: float
    mixing_on: bool
    loss: float
    loss_floor: float
    blend_entropy: float
    accuracy_blends: float
    auxiliary: float | None = None

    @property
    def floor_gap(self) -> float:
        """How far the loss is above its floor, at least 0: rounding can leave it just below."""
        return max(0.0, self.loss - self.loss_floor)
