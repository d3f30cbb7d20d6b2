"""Record of a path of the layer-peeled model: every neural-collapse quantity, batched over the times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixscope.theory.peeled.loss import Array, margins
from mixscope.theory.peeled.point import PeeledPoint
from mixscope.theory.peeled.separation import imbalanced_separation_optimum

# Relative to the largest singular value of the centred class means; rounding leaves about 1e-15 of the null direction.
RANK_TOLERANCE = 1e-13
RESOLVED = 1e-8  # of the terms of W^T W - H H^T; rounding leaves 1e-15 of them


@dataclass(frozen=True)
class FlowRecord:
    """A path through the layer-peeled model, and its geometry at T times. Every field but the states is (T,) float64.

    Conventions: K classes, n_k examples of class k, N in all; M the class means minus the mean of the class means, W_c
    the classifier minus the mean of its rows. Time is that of the summed loss; the mean over examples runs N times
    slower. Numbers that are undefined (class means that coincide, log t = 0) are NaN or infinite.

    Attributes:
        log_times: log t.
        log_losses: log L.
        squared_norms: rho^2 = |W|_F^2 + |H|_F^2.
        is_separated: (T,) bool, whether L < log 2: from then on the limit theorem of the flow applies.
        margin_ratio: Smallest margin over gamma rho^2, gamma the best of all points. At most 1; 1 at collapse.
        smoothed_margin_ratio: -log L over gamma rho^2; never falls along the flow once L < 1.
        loss_law: 4 gamma L t log t; tends to 1 on the flow.
        norm_law: gamma rho^2 / log t; tends to 1 on the flow.
        norm_ratio: |W|_F^2 / |H|_F^2; tends to 1 on the flow.
        nc1_trace: tr Sigma_W / tr Sigma_B, within- and between-class covariance. 0 is collapse, as for all that follow.
        nc1_pinv: tr(Sigma_W pinv(Sigma_B)) / K (Papyan et al. 2020).
        nc2_equinorm_means: Population coefficient of variation of the row lengths of M.
        nc2_equinorm_weights: The same of W_c.
        nc2_equinorm_weights_uncentered: The same of W.
        nc2_equiangular_means: Mean over pairs of |cos + 1/(K - 1)|, rows of M.
        nc2_equiangular_weights: The same of W_c.
        nc2_equiangular_weights_uncentered: The same of W.
        nc3_duality: |W_c/|W_c|_F - M/|M|_F|_F.
        nc3_duality_uncentered: |W/|W|_F - M/|M|_F|_F.
        conserved_drift: |C - C(0)|_F relative to the two terms of C(0), where C = W^T W - H H^T = sum_k w_k w_k^T -
            sum_i h_i h_i^T, which the flow conserves. (Terms at the start that are below 1e-8 of those at t count as
            that: float64 holds no more of C.)
        mean_classifier_drift: |wbar - wbar(0)| / |W(0)|_F with wbar the mean row of W, which the flow and gradient
            descent leave where it was.
        head_weights: (T, K, D) float64.
        features: (T, N, D) float64.
        labels: (N,) int64.
    """

    log_times: Tensor
    log_losses: Tensor
    squared_norms: Tensor
    is_separated: Tensor
    margin_ratio: Tensor
    smoothed_margin_ratio: Tensor
    loss_law: Tensor
    norm_law: Tensor
    norm_ratio: Tensor
    nc1_trace: Tensor
    nc1_pinv: Tensor
    nc2_equinorm_means: Tensor
    nc2_equinorm_weights: Tensor
    nc2_equinorm_weights_uncentered: Tensor
    nc2_equiangular_means: Tensor
    nc2_equiangular_weights: Tensor
    nc2_equiangular_weights_uncentered: Tensor
    nc3_duality: Tensor
    nc3_duality_uncentered: Tensor
    conserved_drift: Tensor
    mean_classifier_drift: Tensor
    head_weights: Tensor
    features: Tensor
    labels: Tensor


def record_path(
    states: Sequence[Array], *, start: PeeledPoint, log_times: Sequence[float], log_losses: Sequence[float]
) -> FlowRecord:
    """Measure the geometry of T states, each of (K + N) D entries: the rows of W above the features."""
    labels, num_classes = start.labels, start.num_classes
    stacked = torch.from_numpy(np.stack(states)).view(len(states), -1, start.head_weight.shape[1])
    times, losses = torch.tensor([list(log_times), list(log_losses)], dtype=torch.float64)
    weights, features = stacked[:, :num_classes], stacked[:, num_classes:]
    counts = start.class_counts
    gamma = imbalanced_separation_optimum(counts.tolist()).value.normalized_margin
    squared_norms = stacked.square().sum(dim=(1, 2))
    class_means = torch.zeros_like(weights).index_add(1, labels, features) / counts[:, None]
    means, centered = _centered(class_means), _centered(weights)
    within = features - class_means[:, labels]
    return FlowRecord(
        log_times=times,
        log_losses=losses,
        squared_norms=squared_norms,
        is_separated=losses < math.log(math.log(2)),
        margin_ratio=margins(weights, features, labels).amin(dim=1) / (gamma * squared_norms),
        smoothed_margin_ratio=-losses / (gamma * squared_norms),
        loss_law=4 * gamma * (losses + times).exp() * times,
        norm_law=gamma * squared_norms / times,
        norm_ratio=weights.square().sum(dim=(1, 2)) / features.square().sum(dim=(1, 2)),
        nc1_trace=within.square().sum(dim=(1, 2)) / len(labels) * num_classes / means.square().sum(dim=(1, 2)),
        nc1_pinv=_pinv_ratio(means, within),
        nc2_equinorm_means=_variation_of_lengths(means),
        nc2_equinorm_weights=_variation_of_lengths(centered),
        nc2_equinorm_weights_uncentered=_variation_of_lengths(weights),
        nc2_equiangular_means=_distance_to_equal_angles(means),
        nc2_equiangular_weights=_distance_to_equal_angles(centered),
        nc2_equiangular_weights_uncentered=_distance_to_equal_angles(weights),
        nc3_duality=_distance_of_directions(centered, means),
        nc3_duality_uncentered=_distance_of_directions(weights, means),
        conserved_drift=_conserved_drift(stacked, start),
        mean_classifier_drift=(weights.mean(dim=1) - start.head_weight.mean(dim=0)).norm(dim=1)
        / start.head_weight.norm(),
        head_weights=weights,
        features=features,
        labels=labels,
    )


def _centered(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=1, keepdim=True)


def _variation_of_lengths(rows: Tensor) -> Tensor:
    lengths = rows.norm(dim=2)
    return lengths.std(dim=1, correction=0) / lengths.mean(dim=1)


def _distance_to_equal_angles(rows: Tensor) -> Tensor:
    unit = rows / rows.norm(dim=2, keepdim=True)
    num_classes = rows.shape[1]
    first, second = torch.triu_indices(num_classes, num_classes, offset=1)
    cosines = (unit @ unit.mT)[:, first, second]
    return (cosines + 1 / (num_classes - 1)).abs().mean(dim=1)


def _distance_of_directions(first: Tensor, second: Tensor) -> Tensor:
    def directions(rows: Tensor) -> Tensor:
        return rows / rows.norm(dim=(1, 2), keepdim=True)

    return (directions(first) - directions(second)).norm(dim=(1, 2))


def _pinv_ratio(means: Tensor, within: Tensor) -> Tensor:
    """tr(Sigma_W pinv(Sigma_B)) / K from the singular values of the class means themselves, not of their square."""
    _, sizes, right = torch.linalg.svd(means, full_matrices=False)
    is_kept = sizes > RANK_TOLERANCE * sizes[:, :1]
    along = (within @ right.mT).square().mean(dim=1)
    return torch.where(is_kept, along / sizes.square(), 0.0).sum(dim=1)


def _conserved_drift(stacked: Tensor, start: PeeledPoint) -> Tensor:
    weights, features = stacked[:, : start.num_classes], stacked[:, start.num_classes :]
    of_weights, of_features = start.head_weight.T @ start.head_weight, start.features.T @ start.features
    weights, features = weights.mT @ weights, features.mT @ features
    drift = weights - features - (of_weights - of_features)
    resolved = RESOLVED * (weights.norm(dim=(1, 2)) + features.norm(dim=(1, 2)))
    return drift.norm(dim=(1, 2)) / (of_weights.norm() + of_features.norm()).clamp(min=resolved)
