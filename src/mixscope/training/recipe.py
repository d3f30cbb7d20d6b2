"""How a network is trained: one frozen description, checked when it is made. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from mixscope._errors import UserError

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "multi-step", "one-cycle"]
Loss = Literal["cross-entropy", "squared-error"]
Precision = Literal["fp32", "bf16"]

LEARNING_RATES = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3}  # SGD: Zhang et al. 2018's code; Adam: torch's default.


@dataclass(frozen=True)
class Recipe:
    """The options of training."""

    epochs: int = 30
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step, over all processes together."""
    optimizer: Optimizer = "sgd"
    """Update rule."""
    learning_rate: float | None = None
    """Peak learning rate; left out: 0.1 for sgd, 0.001 for adam and adamw."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float = 5e-4
    """L2 penalty (decoupled from the step size in adamw), on every parameter."""
    schedule: Schedule = "cosine"
    """How the learning rate runs: constant, cosine to 0, divided at milestones, or one cycle."""
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    """multi-step: where the rate drops, as shares of training."""
    gamma: float = 0.1
    """multi-step: factor at each milestone."""
    loss: Loss = "cross-entropy"
    """Against soft targets: cross-entropy, or half the squared distance of the logits to them."""
    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all classes."""
    mixing_off: int | Literal["auto"] | None = None
    """After how many epochs mixing stops (0: never starts), or auto; left out: it goes on to the end."""
    max_gradient_norm: float | None = None
    """Gradients longer than this are scaled down to it."""
    precision: Precision = "fp32"
    """bf16 computes layers in bfloat16 and keeps weights in float32."""
    channels_last: bool = True
    """Store images with channels innermost for convolutions: faster; rounds otherwise, which grows in training."""
    compile: bool = False
    """Compile the network with torch.compile."""

    def __post_init__(self) -> None:
        rules: list[tuple[str, bool, str]] = [
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("learning_rate", self.learning_rate is None or 0 < self.learning_rate < float("inf"), "positive"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), "at least 0"),
            ("milestones", all(0 < m < 1 for m in self.milestones), "shares of training in (0, 1)"),
            ("gamma", 0 < self.gamma <= 1, "in (0, 1]"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)"),
            ("mixing_off", self.mixing_off in (None, "auto") or int(self.mixing_off or 0) >= 0, "at least 0 or auto"),
            ("max_gradient_norm", self.max_gradient_norm is None or self.max_gradient_norm > 0, "positive"),
        ]
        for name, holds, rule in rules:
            if not holds:
                raise UserError(f"{name.replace('_', '-')} must be {rule}, got {getattr(self, name)}")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate in force: the one given, or the optimizer's default."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate
