"""Neural collapse in numbers: NC0 to NC4 of a classifier's last layer, every published variant under its own name."""

from dataclasses import asdict, dataclass

from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.class_geometry import (
    CenteredMeans,
    WithScatter,
    check_every_class,
    check_head,
    geometry_of_head,
    geometry_of_means,
)
from mixscope.metrics.collapse.spectrum import spectrum


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
        nc4_mismatch: Share of examples on which the classifier and the nearest class mean disagree. This and the next
            look at the examples again, against fixed means: None unless measured by `NearestMeanCounts` and put in with
            `dataclasses.replace`.
        nearest_mean_accuracy: Share of examples whose nearest class mean is that of their own class; high is good.
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
    nearest_mean_accuracy: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return every field by name, in the order of the class."""
        return asdict(self)


@checked
def neural_collapse(
    statistics: WithScatter,
    head_weight: Tensor,
    head_bias: Tensor | None = None,
    *,
    center: Tensor | None = None,
) -> CollapseReport:
    """Compute the neural-collapse numbers from one-pass statistics and the classifier.

    All in float64. Squared singular values of M up to max(K, D) * 2.2e-16 of the largest are the rounding of an exact 0
    and are left out of the pseudo-inverse. Pairs of classes are taken in tiles: no K x K matrix, at K^2 D operations.

    Args:
        statistics: Of the features that enter the classifier; every class needs an example.
        head_weight: (K, D) float, one row per class.
        head_bias: (K,) float or None. Checked, so that a head can be handed over whole, but no number here depends on
            it: NC4, which does, looks at the examples again (`NearestMeanCounts`).
        center: (D,) float, what class means are centred by. Default: the mean of the class means, as the theory is
            class-balanced; `statistics.sample_mean` is the other convention and differs on imbalanced data.

    Returns:
        The report, without `nc4_mismatch` and `nearest_mean_accuracy`.

    Raises:
        ValueError: If a class has no example, there are fewer than two classes, or shapes do not fit.

    Example:
        >>> import torch
        >>> statistics = ClassStatistics(num_classes=2, dim=2)
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> statistics.update(features, torch.tensor([0, 0, 1, 1]))
        >>> report = neural_collapse(statistics, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        >>> round(report.nc1_pinv, 6), round(report.nc1_trace, 6), round(report.nc3_duality, 6)
        (0.125, 0.5, 0.0)
    """
    check_head(head_weight, head_bias, shape=tuple(statistics.means.shape), of="statistics")
    check_every_class(statistics)
    means = CenteredMeans.of(statistics, center=center)
    participation = _participation(statistics, means=means if center is None else None)
    decomposition = spectrum(means.rows, gram=means.gram)
    # M^T M = K Sigma_B: the 1/K of the definition and this K cancel.
    nc1_pinv = decomposition.trace_of_pinv_times(statistics.within) / statistics.num_examples
    of_means = geometry_of_means(statistics, means, decomposition).as_dict()
    del decomposition
    return CollapseReport(
        nc1_pinv=nc1_pinv,
        nc1_pinv_sum=statistics.num_classes * nc1_pinv,
        participation=participation,
        **of_means,
        **geometry_of_head(head_weight, means).as_dict(),
    )


def _participation(statistics: ClassStatistics, *, means: CenteredMeans | None) -> float:
    """Return `participation`; `means` are the class means where they are centred by their own mean."""
    counts = statistics.counts
    if means is not None and statistics.num_classes > statistics.dim and bool((counts == counts[0]).all()):
        # As many examples of each class: N S = n M^T M + N Sigma_W, and M^T M is there already.
        covariance = (means.gram * counts[0]).add_(statistics.within)
    else:
        covariance = statistics.total_covariance
    return float(covariance.trace().square() / covariance.square_().sum())
