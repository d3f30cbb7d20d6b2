"""Neural collapse in numbers: NC0 to NC4 of a classifier's last layer, every published variant under its own name."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from mixscope._checks import check_at_least, check_finite, check_ndim
from mixscope.metrics.statistics import ClassStatistics
from mixscope.simplex import center_rows, cosine_similarity_matrix, unit_rows, upper_pairs


@dataclass(frozen=True)
class CollapseReport:
    """The neural-collapse numbers of one network. All are dimensionless floats.

    Letters: mu_k class means, m_k = mu_k - centre, M their (K, D) matrix, w_k classifier rows, W_c the classifier minus
    the mean of its rows, Sigma_W = within / N, Sigma_B = M^T M / K, E = I - 11^T / K. Unless said otherwise a number is
    at least 0, low is good and 0 is full collapse. A number that is undefined (class means that coincide, a classifier
    of zeros) is NaN or infinite.

    Attributes:
        nc0_row_sum: |sum_k w_k|^2 / |W|_F^2.
        nc1_pinv: tr(Sigma_W pinv(Sigma_B)) / K (Papyan et al. 2020, with the 1/K of later work).
        nc1_pinv_sum: The same without 1/K, so exactly K times `nc1_pinv`.
        nc1_trace: tr Sigma_W / tr Sigma_B.
        nc1_cdnv: Mean over pairs of (v_i + v_j) / (2 |mu_i - mu_j|^2), v_k = mean |h - mu_k|^2 of class k (Galanti et
            al. 2021).
        nc2_equinorm_means: Coefficient of variation (population) of |m_k|.
        nc2_equinorm_weights: The same of the rows of W_c.
        nc2_equinorm_weights_uncentered: The same of the rows of W.
        nc2_equiangular_means: Mean over pairs of |cos(m_i, m_j) + 1/(K-1)|.
        nc2_equiangular_weights: The same of the rows of W_c.
        nc2_equiangular_weights_uncentered: The same of the rows of W.
        nc2_max_angle_means: Largest cos(m_i, m_j) over pairs, plus 1/(K-1).
        nc2_etf_means: |G/|G|_F - E/|E|_F|_F with G = M M^T; at most 2.
        nc2_etf_weights: The same with G = W_c W_c^T.
        nc3_duality: |W_c/|W_c|_F - M/|M|_F|_F; at most 2.
        nc3_duality_squared: Its square.
        nc3_product: |P/|P|_F - E/|E|_F|_F with P = W_c M^T; at most 2.
        nc3_alignment: 1 - mean_k cos(w_k, m_k), rows of W_c; at most 2.
        effective_rank: Exponential of the entropy of the normalised singular values of M, from 1 to K (Roy and Vetterli
            2007); K - 1 at collapse.
        participation: (tr S)^2 / tr S^2 with S the covariance of all examples, from 1 to D; neither end is good.
        nc4_mismatch: Share of examples on which the classifier and the nearest class mean disagree; None unless
            measured by `nearest_class_mean_mismatch` and put in with `dataclasses.replace`.
    """

    nc0_row_sum: float
    nc1_pinv: float
    nc1_pinv_sum: float
    nc1_trace: float
    nc1_cdnv: float
    nc2_equinorm_means: float
    nc2_equinorm_weights: float
    nc2_equinorm_weights_uncentered: float
    nc2_equiangular_means: float
    nc2_equiangular_weights: float
    nc2_equiangular_weights_uncentered: float
    nc2_max_angle_means: float
    nc2_etf_means: float
    nc2_etf_weights: float
    nc3_duality: float
    nc3_duality_squared: float
    nc3_product: float
    nc3_alignment: float
    effective_rank: float
    participation: float
    nc4_mismatch: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return every field by name, in the order of the class."""
        return asdict(self)


def neural_collapse(
    statistics: ClassStatistics,
    head_weight: Tensor,
    head_bias: Tensor | None = None,
    *,
    center: Tensor | None = None,
) -> CollapseReport:
    """Compute the neural-collapse numbers from one-pass statistics and the classifier.

    The pseudo-inverse is taken from the singular values of M in float64; squared values up to max(K, D) * 2.2e-16 of
    the largest are the rounding of an exact 0 and are left out.

    Args:
        statistics: Of the features that enter the classifier; every class needs an example.
        head_weight: (K, D) float, one row per class.
        head_bias: (K,) float or None. Checked, so that a head can be handed over whole, but no number here depends on
            it: NC4, which does, looks at the examples again (`nearest_class_mean_mismatch`).
        center: (D,) float, what class means are centred by. Default: the mean of the class means, as the theory is
            class-balanced; `statistics.sample_mean` is the other convention and differs on imbalanced data.

    Returns:
        The report, without `nc4_mismatch`.

    Raises:
        ValueError: If a class has no example, there are fewer than two classes, or shapes do not fit.

    Example:
        >>> statistics = ClassStatistics(num_classes=2, dim=2)
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> statistics.update(features, torch.tensor([0, 0, 1, 1]))
        >>> report = neural_collapse(statistics, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        >>> round(report.nc1_pinv, 6), round(report.nc1_trace, 6), round(report.nc3_duality, 6)
        (0.125, 0.5, 0.0)
    """
    check_at_least(2, num_classes=statistics.num_classes)
    missing = statistics.missing_classes()
    if missing:
        raise ValueError(f"statistics must hold an example of every class, got none of {', '.join(map(str, missing))}")
    _check_head(head_weight, head_bias, shape=tuple(statistics.means.shape))
    device = statistics.means.device
    weight = head_weight.detach().to(device, torch.float64)
    if center is None:
        middle = statistics.means.mean(dim=0)
    elif center.shape != (statistics.dim,):
        raise ValueError(f"center must have shape ({statistics.dim},), got {tuple(center.shape)}")
    else:
        check_finite(center=center)
        middle = center.detach().to(device, torch.float64)
    means = statistics.means - middle
    centered_weight = center_rows(weight)
    singular_values, directions = torch.linalg.svd(means, full_matrices=False)[1:]
    within = statistics.within / statistics.num_examples
    nc1_pinv = _pinv_trace(within, singular_values, directions, cutoff_size=max(means.shape))
    duality = float(torch.linalg.matrix_norm(_unit(centered_weight) - _unit(means)))
    mean_cosines = upper_pairs(cosine_similarity_matrix(means))
    covariance = statistics.total_covariance
    regular_cosine = -1 / (statistics.num_classes - 1)
    return CollapseReport(
        nc0_row_sum=float(weight.sum(dim=0).square().sum() / weight.square().sum()),
        nc1_pinv=nc1_pinv,
        nc1_pinv_sum=statistics.num_classes * nc1_pinv,
        nc1_trace=float(within.trace() / (means.square().sum() / statistics.num_classes)),
        nc1_cdnv=_class_distance_normalized_variance(statistics),
        nc2_equinorm_means=_norm_variation(means),
        nc2_equinorm_weights=_norm_variation(centered_weight),
        nc2_equinorm_weights_uncentered=_norm_variation(weight),
        nc2_equiangular_means=float((mean_cosines - regular_cosine).abs().mean()),
        nc2_equiangular_weights=_angle_deviation(centered_weight),
        nc2_equiangular_weights_uncentered=_angle_deviation(weight),
        nc2_max_angle_means=float(mean_cosines.max() - regular_cosine),
        nc2_etf_means=_distance_to_simplex(means @ means.T),
        nc2_etf_weights=_distance_to_simplex(centered_weight @ centered_weight.T),
        nc3_duality=duality,
        nc3_duality_squared=duality**2,
        nc3_product=_distance_to_simplex(centered_weight @ means.T),
        nc3_alignment=float(1 - torch.linalg.vecdot(unit_rows(centered_weight), unit_rows(means)).mean()),
        effective_rank=_effective_rank(singular_values),
        participation=float(covariance.trace().square() / covariance.square().sum()),
    )


def count_nearest_mean_mismatches(
    features: Tensor, means: Tensor, head_weight: Tensor, head_bias: Tensor | None = None
) -> int:
    """Count the examples on which the classifier and the nearest class mean disagree; sum it over batches for NC4.

    Arguments as of `nearest_class_mean_mismatch`, but no features at all are fine.

    Returns:
        From 0 to N. Equal scores go to the class with the lower index.

    Raises:
        ValueError: If shapes do not fit or a value is not finite.
    """
    check_ndim(2, features=features, means=means)
    check_finite(features=features, means=means)
    if features.shape[1] != means.shape[1]:
        raise ValueError(f"features must have the {means.shape[1]} columns of means, got {features.shape[1]}")
    _check_head(head_weight, head_bias, shape=tuple(means.shape))
    device = features.device
    values, corners, weight = (part.detach().to(device, torch.float64) for part in (features, means, head_weight))
    logits = values @ weight.T
    if head_bias is not None:
        logits += head_bias.detach().to(device, torch.float64)
    # argmin |h - mu|^2 = argmax h.mu - |mu|^2 / 2; a common shift first, so that a large mean does not eat the digits.
    shift = corners.mean(dim=0)
    corners = corners - shift
    closeness = (values - shift) @ corners.T - corners.square().sum(dim=1) / 2
    return int((logits.argmax(dim=1) != closeness.argmax(dim=1)).sum())


def nearest_class_mean_mismatch(
    features: Tensor, means: Tensor, head_weight: Tensor, head_bias: Tensor | None = None
) -> float:
    """Return the share of examples where argmax(W h + b) differs from the nearest class mean (NC4).

    Args:
        features: (N, D) float, N at least 1. Computed in float64.
        means: (K, D) float, the class means, usually of the training features.
        head_weight: (K, D) float.
        head_bias: (K,) float; None only for a classifier without bias.

    Returns:
        In [0, 1]; 0 is full collapse.

    Raises:
        ValueError: If there are no features, shapes do not fit, or a value is not finite.

    Example:
        >>> features, means = torch.tensor([[0.4], [2.0]]), torch.tensor([[0.0], [1.0]])
        >>> nearest_class_mean_mismatch(features, means, torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5]))
        0.0
        >>> nearest_class_mean_mismatch(features, means, torch.tensor([[0.0], [1.0]]))
        0.5
    """
    if len(features) == 0:
        raise ValueError("features must hold at least one example, got 0")
    return count_nearest_mean_mismatches(features, means, head_weight, head_bias) / len(features)


def _check_head(head_weight: Tensor, head_bias: Tensor | None, *, shape: tuple[int, ...]) -> None:
    if tuple(head_weight.shape) != shape:
        raise ValueError(f"head_weight must have shape {shape}, got {tuple(head_weight.shape)}")
    check_finite(head_weight=head_weight)
    if head_bias is not None:
        if tuple(head_bias.shape) != shape[:1]:
            raise ValueError(f"head_bias must have shape {shape[:1]}, got {tuple(head_bias.shape)}")
        check_finite(head_bias=head_bias)


def _unit(matrix: Tensor) -> Tensor:
    return matrix / torch.linalg.matrix_norm(matrix)


def _pinv_trace(within: Tensor, singular_values: Tensor, directions: Tensor, *, cutoff_size: int) -> float:
    """tr(within pinv(M^T M)): the 1/K of the definition and the K of pinv(M^T M / K) cancel."""
    eigenvalues = singular_values.square()
    kept = eigenvalues > cutoff_size * torch.finfo(torch.float64).eps * eigenvalues.max()
    if not kept.any():
        return math.nan
    spread = torch.linalg.vecdot(directions[kept] @ within, directions[kept])
    return float((spread / eigenvalues[kept]).sum())


def _class_distance_normalized_variance(statistics: ClassStatistics) -> float:
    variances = statistics.scatter / statistics.counts
    # pdist subtracts before it squares; the inner-product form loses close means.
    squared_distances = torch.pdist(statistics.means).square()
    return float((upper_pairs(variances[:, None] + variances) / (2 * squared_distances)).mean())


def _norm_variation(rows: Tensor) -> float:
    norms = torch.linalg.vector_norm(rows, dim=1)
    return float(norms.std(correction=0) / norms.mean())


def _angle_deviation(rows: Tensor) -> float:
    return float((upper_pairs(cosine_similarity_matrix(rows)) + 1 / (len(rows) - 1)).abs().mean())


def _distance_to_simplex(gram: Tensor) -> float:
    simplex = center_rows(torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    return float(torch.linalg.matrix_norm(_unit(gram) - _unit(simplex)))


def _effective_rank(singular_values: Tensor) -> float:
    shares = singular_values / singular_values.sum()
    return float(torch.special.entr(shares).sum().exp())
