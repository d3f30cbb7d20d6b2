"""Sharpness: how much the loss rises around trained weights, in random filter-normalised directions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixscope.base.checks import check_at_most, check_positive, check_size
from mixscope.base.kinds import checked
from mixscope.metrics.overtraining.loss_slices import LARGEST_STEP, Evaluate, filter_normalised_direction, loss_slice
from mixscope.stats.intervals import Interval, student_interval

RADIUS, NUM_DIRECTIONS = 0.3, 10  # Ours: every filter moves by 0.3 of its length, far enough to leave the flat bottom.


@dataclass(frozen=True)
class SharpnessReport:
    """How much the loss rises around the weights.

    Attributes:
        increase: Mean rise of the loss at the radius over the random directions, with Student's 95% interval over them;
            in the loss's unit. Low is flat.
        loss: The loss at the weights themselves.
        increases: (R,) float64, the rise along each direction.
    """

    increase: Interval
    loss: float
    increases: Tensor


@checked
def sharpness(
    model: nn.Module,
    evaluate: Evaluate,
    *,
    generator: torch.Generator,
    radius: float = RADIUS,
    num_directions: int = NUM_DIRECTIONS,
    include_vectors: bool = False,
    statistics_batches: Sequence[Tensor] | None = None,
) -> SharpnessReport:
    """Measure how much the loss rises at a distance from the weights, in random filter-normalised directions.

    Per direction (L(theta + r d) + L(theta - r d)) / 2 - L(theta): d is as likely as -d, and the two together leave
    out the slope. Compare networks on the same `evaluate`, radius and seed only. Source: directions of Li et al. 2018;
    the number is defined here.

    Args:
        model: Left as it was, bit for bit, also after an exception.
        evaluate: The loss of the network as it stands; it must not change it, and must draw nothing at random.
        generator: A CPU generator, for the directions.
        radius: r, positive, in units of the length of each filter.
        num_directions: R, at least 2.
        include_vectors: As in `filter_normalised_direction`.
        statistics_batches: As in `loss_slice`.

    Returns:
        The mean rise with its interval, and its parts. 2 R + 1 evaluations.

    Raises:
        ValueError: As `loss_slice`; if radius or num_directions is out of range, or a loss is not finite.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> nn.init.constant_(model.weight, 2.0).item()  # a step of 0.3 moves it by 0.6
        2.0
        >>> stream = torch.Generator().manual_seed(0)
        >>> report = sharpness(model, lambda net: net.weight.item() ** 2, generator=stream)
        >>> [round(rise, 5) for rise in report.increases.tolist()[:2]]  # ((2.6 ** 2 + 1.4 ** 2) / 2 - 4)
        [0.36, 0.36]
    """
    check_positive(radius=radius)
    check_at_most(LARGEST_STEP, radius=radius)
    check_size(2, num_directions=num_directions)
    loss = loss_slice(model, evaluate, direction={}, steps=(0.0,), statistics_batches=statistics_batches).item()
    increases = []
    for _ in range(num_directions):
        direction = filter_normalised_direction(model, generator=generator, include_vectors=include_vectors)
        ends = loss_slice(
            model, evaluate, direction=direction, steps=(-radius, radius), statistics_batches=statistics_batches
        )
        increases.append(float(ends.mean()) - loss)
    rises = torch.tensor(increases, dtype=torch.float64)
    if not torch.isfinite(rises).all():
        raise ValueError(f"evaluate must return finite losses at radius {radius}, got rises {increases[:4]}")
    increase = Interval(float(rises.mean()), *student_interval(increases), num_samples=num_directions)
    return SharpnessReport(increase=increase, loss=loss, increases=rises)
