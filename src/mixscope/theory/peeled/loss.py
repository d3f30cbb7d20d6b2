"""Loss and margins of the layer-peeled model, in log space: the loss may be far below the smallest float64."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixscope.base.checks import check_at_least, check_not_negative
from mixscope.base.kinds import checked
from mixscope.theory.peeled.point import PeeledPoint

Array = NDArray[np.float64]
LINEAR_TAIL = -37.0  # below it, log(log(1 + exp(a))) is a to the last digit of a float64


@dataclass(frozen=True)
class StackedLoss:
    """log L and its gradient as functions of one (K + N, D) array: the K rows of W above the N features.

    Numpy rather than torch, because on matrices this small the price of a call is all there is to pay.
    """

    num_classes: int
    own: NDArray[np.intp]  # (N,) where each example's own logit lies in the flattened (N, K) logits

    def relative_slope(self, stacked: Array) -> tuple[float, Array]:
        """Return log L and (dL/dZ) / L, (N, K). Every exponential is of a difference to the largest term."""
        gaps = stacked[self.num_classes :] @ stacked[: self.num_classes].T
        flat = gaps.ravel()
        gaps -= flat[self.own][:, None]
        flat[self.own] = -np.inf
        top = gaps.max(axis=1)
        log_odds = top + np.log(np.exp(gaps - top[:, None]).sum(axis=1))
        losses = np.logaddexp(0.0, log_odds)
        tail = log_odds < LINEAR_TAIL
        losses[tail] = 1.0
        log_losses = np.log(losses)
        log_losses[tail] = log_odds[tail]
        losses[tail] = 0.0
        largest = log_losses.max()
        log_loss = float(largest) + math.log(np.exp(log_losses - largest).sum())
        # log p_j = z_j - z_y - log(1 + sum exp(gaps)), and that last term is the example's own loss.
        slope = np.exp(gaps - (losses + log_loss)[:, None])
        slope.ravel()[self.own] = -slope.sum(axis=1)
        return log_loss, slope

    def descent(self, stacked: Array) -> tuple[float, Array]:
        """Return log L and minus the gradient of log L, (K + N, D)."""
        log_loss, slope = self.relative_slope(stacked)
        direction = np.empty_like(stacked)
        np.matmul(slope.T, stacked[self.num_classes :], out=direction[: self.num_classes])
        np.matmul(slope, stacked[: self.num_classes], out=direction[self.num_classes :])
        return log_loss, np.negative(direction, out=direction)


def stacked_loss(point: PeeledPoint) -> StackedLoss:
    """Return the loss for the point's labels."""
    own = np.arange(len(point.labels)) * point.num_classes + point.labels.numpy()
    return StackedLoss(num_classes=point.num_classes, own=own)


def stack(point: PeeledPoint) -> Array:
    """Return a fresh (K + N, D) array of the point."""
    return torch.cat([point.head_weight, point.features]).numpy()


def unstack(stacked: Array, *, like: PeeledPoint) -> PeeledPoint:
    """Return the point of a stacked array, a copy, with the labels of another."""
    rows = torch.from_numpy(stacked.copy())
    return PeeledPoint(rows[: like.num_classes], rows[like.num_classes :], like.labels)


@checked
def log_peeled_loss(point: PeeledPoint) -> float:
    """Return log L, L the cross-entropy summed over all examples. Low is good; no lower bound.

    Source: Ji et al. 2022, section 2.

    Example:
        >>> point = PeeledPoint(torch.eye(2) * 1000, torch.eye(2), torch.tensor([0, 1]))
        >>> round(log_peeled_loss(point), 6)  # two examples, each -log softmax = exp(-1000)
        -999.306853
    """
    return stacked_loss(point).relative_slope(stack(point))[0]


@checked
def peeled_margins(point: PeeledPoint) -> Tensor:
    """Return q_i = w_y.h_i - max_{j != y} w_j.h_i of every example, (N,) float64. High is good.

    Source: Ji et al. 2022, section 3.

    Example:
        >>> peeled_margins(PeeledPoint(torch.eye(2), torch.tensor([[3.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1])))
        tensor([2., 1.], dtype=torch.float64)
    """
    return margins(point.head_weight, point.features, point.labels)


def margins(weights: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Return the margins (..., N) of classifiers (..., K, D) and features (..., N, D)."""
    logits = features @ weights.mT
    places = labels[:, None].expand(*logits.shape[:-1], 1)
    own = logits.gather(-1, places)
    return (own - logits.scatter(-1, places, -math.inf)).amin(dim=-1)


@checked
def normalized_margin(point: PeeledPoint) -> float:
    """Return the smallest margin over |W|_F^2 + |H|_F^2; at most `best_normalized_margin`. High is good.

    Dimensionless; NaN for the zero point. Source: Ji et al. 2022, section 3.
    """
    return float(peeled_margins(point).min()) / point.squared_norm if point.squared_norm else math.nan


@checked
def best_normalized_margin(num_classes: int, num_per_class: int) -> float:
    """Return gamma = 1 / (2 sqrt(n) (K - 1)), which no normalised margin exceeds and neural collapse alone reaches.

    Source: derived from Ji et al. 2022 (balanced classes).

    Raises:
        ValueError: If num_classes is below 2 or num_per_class below 1.
    """
    check_at_least(2, num_classes=num_classes)
    check_at_least(1, num_per_class=num_per_class)
    return 1 / (2 * math.sqrt(num_per_class) * (num_classes - 1))


@checked
def log_loss_bound(squared_norm: float, *, num_classes: int, num_per_class: int) -> float:
    """Return the logarithm of the least loss that any point of a given norm can have; neural collapse reaches it.

    L >= n K log(1 + (K - 1) exp(-gamma rho^2)) with rho^2 = |W|^2 + |H|^2: at every norm the collapsed points are the
    only optima. Source: derived from Ji et al. 2022 (balanced classes).

    Raises:
        ValueError: If squared_norm is negative or not finite, num_classes is below 2, or num_per_class below 1.
    """
    gamma = best_normalized_margin(num_classes, num_per_class)
    check_not_negative(squared_norm=squared_norm)
    log_odds = math.log(num_classes - 1) - gamma * squared_norm
    one_example = log_odds if log_odds < LINEAR_TAIL else math.log(np.logaddexp(0.0, log_odds))
    return math.log(num_per_class * num_classes) + one_example
