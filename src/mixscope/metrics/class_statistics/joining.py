"""Groups of rows joined: what is known by class of two instances, or of all processes (Chan et al. 1983)."""

import torch
from torch import Tensor

from mixscope.metrics.class_statistics.shifted_sums import CLASSES_AT_ONCE
from mixscope.metrics.class_statistics.symmetric import NoProducts
from mixscope.metrics.process_sums import total_over_processes

Moments = tuple[Tensor, Tensor, Tensor]  # counts (K,), means (K, D) and squares about them (K,), all float64


def join_groups(own: Moments, other: Moments, *, products: NoProducts) -> None:
    """Add the other's rows to `own`, in place, and to `products`, which hold both sides' own already, what is between.

    The distance d of two means with n and m rows adds n m / (n + m) d d^T to the squares about the common mean.
    """
    counts, means, scatter = own
    device = counts.device
    for group in torch.nonzero(other[0] > 0).flatten().split(CLASSES_AT_ONCE):
        classes = group.to(device)
        more, more_means, more_scatter = (part[group].to(device) for part in other)
        before = counts[classes]
        offsets = more_means - means[classes]
        weighted = (before * more / (before + more))[:, None] * offsets
        products.add_outer(weighted, offsets)
        scatter[classes] += more_scatter + torch.linalg.vecdot(weighted, offsets)
        means[classes] += offsets * (more / (before + more))[:, None]
        counts[classes] += more


def join_processes(own: Moments, *, products: NoProducts) -> Moments:
    """Return the moments of the rows of all processes, and add up `products` likewise.

    Every process adds n d d^T for the distance d of its own mean from the common one.
    """
    own_counts, own_means, scatter = own
    counts = total_over_processes(own_counts)
    means = total_over_processes(own_counts[:, None] * own_means) / counts.clamp(min=1)[:, None]
    for classes in torch.nonzero(own_counts > 0).flatten().split(CLASSES_AT_ONCE):
        offsets, weights = own_means[classes] - means[classes], own_counts[classes]
        scatter.index_add_(0, classes, weights * offsets.square().sum(dim=1))
        products.add_outer(weights[:, None] * offsets, offsets)
    products.all_reduce()
    return counts, means, total_over_processes(scatter)
