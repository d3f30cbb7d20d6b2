"""Recipe of a training: one frozen description, checked when it is made. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from mixscope.base.ranges import COUNTS, EPOCHS, Range, check_ranges

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "multi-step", "one-cycle"]
Loss = Literal["cross-entropy", "squared-error"]
Precision = Literal["fp32", "bf16"]

LEARNING_RATES = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3}  # SGD: Zhang et al. 2018's code; Adam: torch's default.


@dataclass(frozen=True)
class Recipe:
    """The options of training."""

    epochs: Annotated[int, EPOCHS] = 30
    """Passes over the training images."""
    batch_size: Annotated[int, COUNTS] = 128
    """Images a step, over all processes together."""
    optimizer: Optimizer = "sgd"
    """Update rule."""
    learning_rate: Annotated[float | None, Range(1e-12, 1e9)] = None
    """Peak learning rate; left out: 0.1 for sgd, 0.001 for adam and adamw."""
    momentum: Annotated[float, Range(0, 1, excludes=(1,))] = 0.9
    """Momentum of sgd."""
    weight_decay: Annotated[float, Range(0, 1e9)] = 5e-4
    """L2 penalty (decoupled from the step size in adamw), on every parameter."""
    schedule: Schedule = "cosine"
    """How the learning rate runs: constant, cosine to 0, divided at milestones, or one cycle."""
    milestones: Annotated[tuple[float, ...], Range(0, 1, excludes=(0, 1))] = (0.3, 0.6, 0.8)
    """multi-step: where the rate drops, as shares of training."""
    gamma: Annotated[float, Range(0, 1, excludes=(0,))] = 0.1
    """multi-step: factor at each milestone."""
    loss: Loss = "cross-entropy"
    """Against soft targets: cross-entropy, or half the squared distance of the logits to them."""
    label_smoothing: Annotated[float, Range(0, 1, excludes=(1,))] = 0.0
    """Share of each target that is spread evenly over all classes."""
    mixing_off: Annotated[int | Literal["auto"] | None, Range(0, EPOCHS.high)] = None
    """After how many epochs mixing stops (0: never starts), or auto; left out: it goes on to the end."""
    max_gradient_norm: Annotated[float | None, Range(1e-12, 1e12)] = None
    """Gradients longer than this are scaled down to it."""
    precision: Precision = "fp32"
    """bf16 computes layers in bfloat16 and keeps weights in float32."""
    channels_last: bool = True
    """Store images with channels innermost for convolutions: faster; rounds otherwise, which grows in training."""
    compile: bool = False
    """Compile the network with torch.compile."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate in force: the one given, or the optimizer's default."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate
