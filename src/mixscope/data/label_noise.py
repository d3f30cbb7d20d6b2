"""Label noise: a share of the labels, each replaced by another class."""

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_labels
from mixscope.base.kinds import checked


@checked
def flip_labels(labels: Tensor, *, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """Replace a share of the labels by another class, drawn uniformly from the K - 1 others.

    Exactly round(share * N) labels are replaced, at random places, and none by itself; with each label replaced with
    probability `share` instead, the share itself would be random.

    Args:
        labels: (N,) integers in [0, K), not changed; what is returned has their device and dtype.
        share: In [0, 1]; 0 leaves all as they are.
        num_classes: K, at least 2.
        generator: A CPU generator.

    Raises:
        ValueError: If share is not in [0, 1], num_classes is below 2, or labels are not integers in [0, K).

    Example:
        >>> flipped = flip_labels(torch.zeros(10, dtype=torch.int64), share=0.3, num_classes=2,
        ...                       generator=torch.Generator().manual_seed(0))
        >>> sorted(flipped.tolist())
        [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    check_at_least(2, num_classes=num_classes)
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    check_labels(labels, num_classes=num_classes)
    rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    steps = torch.randint(1, num_classes, (len(rows),), generator=generator)
    rows, steps = rows.to(labels.device), steps.to(labels.device)
    flipped = labels.to(torch.int64, copy=True)  # in uint8, the sum of a label and a step could overflow
    flipped[rows] = (flipped[rows] + steps) % num_classes
    return flipped.to(labels.dtype)
