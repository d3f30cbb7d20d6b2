"""Conventions of other tools: the numbers they print, to the last digit, each given by its formulas.

These are not this package's definitions: see `CollapseReport` for those, docs/conventions.md for the differences.
Letters: M the class means minus the named centre, (K, D); W the classifier as it is, not centred; Sigma_W = within / N;
Sigma_B = M^T M / K; E = I - 11^T / K; std_1 the standard deviation with K - 1 below. Each function takes one-pass
statistics, and the classifier (K, D) where its tool looks at it, and raises as `neural_collapse` does.
"""

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.metrics.class_statistics.class_sums import ClassSums
from mixscope.metrics.collapse.neural_collapse import CenteredMeans, WithScatter, class_geometry, neural_collapse
from mixscope.metrics.collapse.pairwise import (
    angle_deviation,
    distance_to_simplex,
    row_products,
    smaller_gram,
    squared_distance,
    squared_product_norm,
)


@checked
def as_papyan2020(statistics: WithScatter, head_weight: Tensor) -> dict[str, float]:
    """Return what the notebook that follows Papyan et al. 2020 prints, by its names.

    Centre: the mean of the class means. The classifier is not centred.
        Sw_invSb = tr(Sigma_W pinv(Sigma_B)): K times `nc1_pinv`.
        norm_M_CoV = std_1(|m_k|) / mean(|m_k|) and norm_W_CoV = std_1(|w_k|) / mean(|w_k|).
        cos_M and cos_W = mean over pairs of |cos + 1/(K-1)| of the rows of M and of W.
        W_M_dist = |W/|W|_F - M/|M|_F|_F^2: squared.
    """
    report, means = neural_collapse(statistics, head_weight), CenteredMeans.of(statistics, center=None)
    weight = head_weight.detach().to(means.rows)
    lengths, weight_lengths = means.lengths, torch.linalg.vector_norm(weight, dim=1)
    inner, squares = row_products(weight, means.rows).sum(), (weight_lengths.square().sum(), means.square)
    return {
        "Sw_invSb": report.nc1_pinv_sum,
        "norm_M_CoV": float(lengths.std() / lengths.mean()),
        "norm_W_CoV": float(weight_lengths.std() / weight_lengths.mean()),
        "cos_M": report.nc2_equiangular_means,
        "cos_W": angle_deviation(weight, lengths=weight_lengths),
        "W_M_dist": squared_distance(weight, means.rows, inner=inner, squares=squares),
    }


@checked
def as_zhu2021(statistics: WithScatter, head_weight: Tensor) -> dict[str, float]:
    """Return what Zhu et al. 2021 and followers report, by the names of their code.

    Centre: the mean of all examples, which on imbalanced data is not the mean of the class means.
        collapse_metric = tr(Sigma_W pinv(Sigma_B)) / K.
        WH_relation_metric = |P/|P|_F - E/|E|_F|_F with P = W M^T and W not centred.
    """
    report = neural_collapse(statistics, head_weight, center=statistics.sample_mean)
    means = CenteredMeans.of(statistics, center=statistics.sample_mean)
    weight = head_weight.detach().to(means.rows)
    squared_norm = squared_product_norm(weight, means.rows, left_gram=smaller_gram(weight), right_gram=means.gram)
    inner = row_products(weight, means.rows).sum()
    inner -= weight.sum(dim=0) @ means.rows.sum(dim=0) / len(weight)
    return {
        "collapse_metric": report.nc1_pinv,
        "WH_relation_metric": distance_to_simplex(weight, means.rows, inner=inner, squared_norm=squared_norm),
    }


@checked
def as_tirer(statistics: ClassSums) -> float:
    """Return the "quotient" of Tirer et al.: tr Sigma_W / tr Sigma_B, centred by the mean of the class means."""
    return class_geometry(statistics).nc1_trace


@checked
def as_rangamani(statistics: ClassSums) -> float:
    """Return the share form of Rangamani et al., tr Sigma_W / (tr Sigma_W + tr Sigma_B), in [0, 1].

    Centre: the mean of the class means. With q the quotient of `as_tirer` it is q / (1 + q).
    """
    quotient = class_geometry(statistics).nc1_trace
    return quotient / (1 + quotient)


@checked
def as_galanti2021(statistics: ClassSums) -> float:
    """Return the class-distance normalised variance of Galanti et al. 2021: the mean over pairs, no centre in it.

    (v_i + v_j) / (2 |mu_i - mu_j|^2), v_k = mean |h - mu_k|^2 of class k.
    """
    return class_geometry(statistics).nc1_cdnv
