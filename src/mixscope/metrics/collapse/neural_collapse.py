"""Neural collapse in numbers: NC0 to NC4 of a classifier's last layer, every published variant under its own name."""

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
from mixscope.metrics.collapse.collapse_report import CollapseReport
from mixscope.metrics.collapse.spectrum import spectrum


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
        **geometry_of_head(head_weight, means),
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
