"""The theory's curves of a channel, (x1, x2) against the weight, as functions of few parameters that can be fitted.

Source: Fisher et al. 2024, unconstrained model; derived.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mixscope.base.checks import check_size
from mixscope.base.kinds import checked
from mixscope.theory.channel.mixed_features import checked_weights
from mixscope.theory.channel.soft_labels import rise_slopes, solve_rises

Curve = Callable[..., tuple[Tensor, Tensor]]  # (weights, *parameters) -> (x1, x2)
LOG_GAIN_RANGE = (math.log(1e-6), math.log(1e15))  # where a gain is looked for
LARGEST_LOG_GAIN = 690.0  # exp of it still fits a float64
NUM_CURVE_POINTS = 101


@checked
def mixup_curve(num_classes: int) -> Curve:
    """Return the theory's curve for cross-entropy under mixup: (weights, log_gain) -> (x1, x2) in nats.

    Args:
        num_classes: K, at least 2.

    Example:
        >>> x1, x2 = mixup_curve(10)(torch.tensor([0.5]), math.log(1e4 / 9))
        >>> round(float(x1), 6), round(float(x2), 6)
        (6.110551, 6.110551)
    """
    check_size(2, num_classes=num_classes)

    @checked
    def curve(weights: Tensor, log_gain: float) -> tuple[Tensor, Tensor]:
        if not abs(log_gain) <= LARGEST_LOG_GAIN:
            raise ValueError(f"log_gain must lie within {LARGEST_LOG_GAIN:g} of 0, got {log_gain}")
        first, second = mixup_points(checked_weights(weights, name="weights"), log_gain, num_classes)[0]
        return first, second

    return curve


@checked
def line_curve(num_classes: int) -> Curve:
    """Return the straight line between the unblended features: (weights, same_class) -> (x1, x2).

    What squared error gives under mixup, and for a network trained without mixing what an affine one would show.
    x1 = w same_class and x2 = (1 - w) same_class; with two classes (2 w - 1) same_class / 2 and its negative.

    Args:
        num_classes: K, at least 2.

    Example:
        >>> [x.tolist() for x in line_curve(3)(torch.tensor([0.25]), 4.0)]
        [[1.0], [3.0]]
    """
    check_size(2, num_classes=num_classes)

    @checked
    def curve(weights: Tensor, same_class: float) -> tuple[Tensor, Tensor]:
        if not math.isfinite(same_class):
            raise ValueError(f"same_class must be finite, got {same_class}")
        first, second = same_class * unit_line(checked_weights(weights, name="weights"), num_classes)
        return first, second

    return curve


def mixup_points(weights: Tensor, log_gain: Tensor | float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return (2, ...), the theory's coordinates, and (2, ...), their derivative in log(a); both arguments broadcast."""
    gain = torch.as_tensor(log_gain, dtype=torch.float64, device=weights.device).exp()
    gain, weights = torch.broadcast_tensors(gain, weights)
    values = torch.stack([weights, 1 - weights], dim=-1)
    base = values.amin(dim=-1) if num_classes == 2 else torch.zeros_like(weights)
    offsets, total = gain[..., None] * (values - base[..., None]), gain * num_classes * base
    ones = torch.ones(2, dtype=torch.float64, device=weights.device)
    rises, log_scale, _ = solve_rises(offsets, counts=ones, base=total, num_classes=num_classes)
    # Offsets and base are proportional to a: their derivatives in log(a) are themselves.
    slopes = rise_slopes(
        rises, log_scale, offset_slopes=offsets, base_slope=total, counts=ones, num_classes=num_classes
    )
    if num_classes == 2:
        rises, slopes = ((part - part.flip(-1)) / 2 for part in (rises, slopes))
    return rises.movedim(-1, 0), slopes.movedim(-1, 0)


def unit_line(weights: Tensor, num_classes: int) -> Tensor:
    """Return (2, N), the line of `line_curve` whose ends are 1 apart."""
    line = torch.stack([weights, 1 - weights])
    return line if num_classes > 2 else line - 0.5


def curve_grid(weights: Tensor) -> Tensor:
    """Return (101,) float64, the weights at which fitted curves are given, on the device of the data."""
    return torch.linspace(0, 1, NUM_CURVE_POINTS, dtype=torch.float64, device=weights.device)
