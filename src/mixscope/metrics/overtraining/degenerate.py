"""Degenerate networks, told by measured numbers: those that answer the same whatever their input."""

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_ndim, check_not_empty
from mixscope.base.kinds import checked

SPREAD_LIMIT = 0.05  # Defined here. Seen on digits: below 1e-3 in collapsed networks, 0.45 in fresh, 0.87 in trained.
ROUNDING = 1e-6  # of a number in [0, 1]
CHANCE_LEVEL = 1e-3  # Defined here: how often guessing may pass for more than guessing.


@checked
def output_spread(logits: Tensor) -> float:
    """Measure how much the directions of outputs, (N, K) float logits of unblended examples, differ.

    sqrt(mean |u - mean u|^2) over examples, u = z / |z| the direction of the logits z (0 where all are 0), in float64.
    Directions rather than logits: a network that has collapsed may still give the size of its one answer by the image,
    and sizes can grow without bound.

    Returns:
        In [0, 1]: 0 where all outputs point the same way, and with it to one class; 1 where directions cancel.

    Raises:
        ValueError: If logits are not two-dimensional, have no row, or are not finite.

    Example:
        >>> one_way, both_ways = torch.tensor([[3.0, 4.0], [6.0, 8.0]]), torch.tensor([[3.0, 4.0], [-3.0, -4.0]])
        >>> output_spread(one_way), output_spread(both_ways)
        (0.0, 1.0)
    """
    check_ndim(2, logits=logits)
    check_not_empty(logits=logits)
    check_finite(logits=logits)
    directions = torch.nn.functional.normalize(logits.detach().to(torch.float64), dim=1, eps=1e-300)
    return float((directions - directions.mean(dim=0)).square().sum(dim=1).mean().sqrt())


@checked
def chance_accuracy(num_examples: int, *, largest_share: float) -> float:
    """Return the accuracy that guessing the most frequent class passes with probability at most 1e-3 (binomial).

    Args:
        num_examples: N, at least 1.
        largest_share: Share of the most frequent class, in (0, 1]; 1 / K where classes are balanced.

    Example:
        >>> chance_accuracy(1000, largest_share=0.1)
        0.13
    """
    from scipy.special import bdtrc  # the tail behind scipy.stats.binom, without the second scipy.stats takes to load

    check_at_least(1, num_examples=num_examples)
    if not 0 < largest_share <= 1:
        raise ValueError(f"largest_share must be in (0, 1], got {largest_share}")
    tails = bdtrc(range(num_examples + 1), num_examples, largest_share)
    return int((tails <= CHANCE_LEVEL).argmax()) / num_examples


@checked
def is_constant_classifier(*, accuracy: float, num_examples: int, largest_share: float, spread: float) -> bool:
    """Say whether a network has collapsed to a constant: it answers the same whatever its input.

    The accuracy is at most `chance_accuracy` and the spread at most 0.05; NaN is no constant. An untrained or wrongly
    trained network is at chance with outputs that differ; one whose logits share a large common part has outputs that
    hardly differ, and is right.

    Args:
        accuracy: On num_examples examples, in [0, 1].
        num_examples: N, at least 1.
        largest_share: Share of the most frequent class among them, in (0, 1].
        spread: Of the logits, from `output_spread`.

    Example:
        >>> is_constant_classifier(accuracy=0.104, num_examples=600, largest_share=0.1, spread=1e-4)
        True
        >>> is_constant_classifier(accuracy=0.104, num_examples=600, largest_share=0.1, spread=0.7)
        False
    """
    for name, value in (("accuracy", accuracy), ("spread", spread)):
        if value < 0 or value > 1 + ROUNDING:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
    return accuracy <= chance_accuracy(num_examples, largest_share=largest_share) and spread <= SPREAD_LIMIT
