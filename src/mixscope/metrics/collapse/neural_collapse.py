"""Neural collapse in numbers: NC0 to NC4 of a classifier's last layer, every published variant under its own name."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_shape
from mixscope.base.kinds import checked
from mixscope.metrics.class_statistics.class_sums import ClassSums
from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.collapse_report import ClassGeometry, CollapseReport
from mixscope.metrics.collapse.pairwise import (
    angle_deviations,
    compare_means,
    distance_to_simplex,
    row_products,
    smaller_gram,
    squared_distance,
    squared_product_norm,
    squared_row_distance,
)
from mixscope.metrics.collapse.spectrum import Spectrum, spectrum

MOST_CLASSES_NAMED = 10
WithScatter = Annotated[ClassStatistics, "class_geometry gives what there is without D x D scatter"]


@checked
def neural_collapse(
    statistics: WithScatter, head_weight: Tensor, head_bias: Tensor | None = None, *, center: Tensor | None = None
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
        >>> statistics = ClassStatistics(num_classes=2, dim=2)
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> statistics.update(features, torch.tensor([0, 0, 1, 1]))
        >>> report = neural_collapse(statistics, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        >>> round(report.nc1_pinv, 6), round(report.nc1_trace, 6), round(report.nc3_duality, 6)
        (0.125, 0.5, 0.0)
    """
    check_head(head_weight, head_bias, shape=tuple(statistics.means.shape), of="statistics")
    means = CenteredMeans.of(statistics, center=center)
    participation = _participation(statistics, means=means if center is None else None)
    decomposition = spectrum(means.rows, gram=means.gram)
    # M^T M = K Sigma_B: the 1/K of the definition and this K cancel.
    nc1_pinv = decomposition.trace_of_pinv_times(statistics.within) / statistics.num_examples
    of_means = _geometry_of_means(statistics, means, decomposition).as_dict()
    del decomposition
    return CollapseReport(
        nc1_pinv=nc1_pinv,
        nc1_pinv_sum=statistics.num_classes * nc1_pinv,
        participation=participation,
        **of_means,
        **_geometry_of_head(head_weight, means),
    )


@checked
def class_geometry(statistics: ClassSums, *, center: Tensor | None = None) -> ClassGeometry:
    """Compute what needs neither the D x D scatter nor a classifier: any layer, however wide (`ClassMoments`).

    Arguments and errors as of `neural_collapse`.
    """
    means = CenteredMeans.of(statistics, center=center)
    return _geometry_of_means(statistics, means, spectrum(means.rows, gram=means.gram))


@dataclass(frozen=True)
class CenteredMeans:
    """Centred means of statistics that hold every class, (K, D) float64, and the smaller of their Gram matrices."""

    rows: Tensor
    gram: Tensor

    @cached_property
    def lengths(self) -> Tensor:
        """(K,) float64, of the rows."""
        return torch.linalg.vector_norm(self.rows, dim=1)

    @property
    def square(self) -> Tensor:
        """|M|_F^2."""
        return self.lengths.square().sum()

    @classmethod
    def of(cls, statistics: ClassSums, *, center: Tensor | None) -> "CenteredMeans":
        """Centre the means, by their own mean where `center` is None."""
        check_every_class(statistics)
        if center is not None:
            check_shape((statistics.dim,), of="statistics", center=center)
            check_finite(center=center)
        means = statistics.means
        rows = means - (means.mean(dim=0) if center is None else center.detach().to(means))
        return cls(rows, smaller_gram(rows))


def check_every_class(statistics: ClassSums, *, name: str = "statistics") -> None:
    """Raise unless there are two classes or more and each has an example."""
    check_at_least(2, **{f"{name}.num_classes": statistics.num_classes})
    missing = statistics.missing_classes()
    if missing:
        named, more = ", ".join(map(str, missing[:MOST_CLASSES_NAMED])), len(missing) - MOST_CLASSES_NAMED
        rest = f" and {more} more" if more > 0 else ""
        raise ValueError(f"{name} must hold an example of every class, got none of {named}{rest}")


def check_head(head_weight: Tensor, head_bias: Tensor | None, *, shape: tuple[int, ...], of: str) -> None:
    """Raise unless the weight is finite and of this shape, and the bias (or None) finite with one number per row."""
    check_shape(shape, of=of, head_weight=head_weight)
    check_finite(head_weight=head_weight)
    if head_bias is not None:
        check_shape(shape[:1], of=of, head_bias=head_bias)
        check_finite(head_bias=head_bias)


def _geometry_of_means(statistics: ClassSums, means: CenteredMeans, decomposition: Spectrum) -> ClassGeometry:
    """Compute `ClassGeometry` from means that are centred and decomposed already."""
    num_classes = statistics.num_classes
    pairs = compare_means(statistics.scatter / statistics.counts, means.rows, lengths=means.lengths)
    return ClassGeometry(
        nc1_trace=float(statistics.scatter.sum() / statistics.num_examples / (means.square / num_classes)),
        nc1_cdnv=pairs.normalized_variance,
        nc2_equinorm_means=_length_variation(means.lengths),
        nc2_equiangular_means=pairs.angle_deviation,
        nc2_max_angle_means=pairs.largest_angle_deviation,
        nc2_etf_means=distance_to_simplex(
            means.rows,
            means.rows,
            inner=means.square - means.rows.sum(dim=0).square().sum() / num_classes,
            squared_norm=torch.linalg.matrix_norm(means.gram).square(),
        ),
        effective_rank=decomposition.effective_rank,
    )


def _geometry_of_head(head_weight: Tensor, means: CenteredMeans) -> dict[str, float]:
    """Compute the numbers of `CollapseReport` that compare a checked head with the simplex and with the class means."""
    head_weight = head_weight.detach().to(means.rows.device)
    weight = head_weight.to(torch.float64, copy=True)
    mean, lengths_uncentered = weight.mean(dim=0), torch.linalg.vector_norm(weight, dim=1)
    weight -= mean  # in place: K x D numbers are the most there is
    lengths = torch.linalg.vector_norm(weight, dim=1)
    square = lengths.square().sum()
    gram = smaller_gram(weight)
    product = squared_product_norm(weight, means.rows, left_gram=gram, right_gram=means.gram)
    gram_square = torch.linalg.matrix_norm(gram).square()
    del gram  # its memory is used for the tiles
    angles_uncentered, angles = angle_deviations(
        head_weight, lengths=lengths_uncentered, mean=mean, centered=weight, centered_lengths=lengths
    )
    inner = row_products(weight, means.rows)
    duality_squared = squared_distance(weight, means.rows, inner=inner.sum(), squares=(square, means.square))
    return {
        "nc0_row_sum": float((len(weight) * mean).square().sum() / lengths_uncentered.square().sum()),
        "nc2_equinorm_weights": _length_variation(lengths),
        "nc2_equinorm_weights_uncentered": _length_variation(lengths_uncentered),
        "nc2_equiangular_weights": angles,
        "nc2_equiangular_weights_uncentered": angles_uncentered,
        "nc2_etf_weights": distance_to_simplex(weight, weight, inner=square, squared_norm=gram_square),
        "nc3_duality": math.sqrt(duality_squared),
        "nc3_duality_squared": duality_squared,
        "nc3_product": distance_to_simplex(weight, means.rows, inner=inner.sum(), squared_norm=product),
        # 1 - cos of two unit vectors is half their squared distance, which keeps its digits near 0.
        "nc3_alignment": squared_row_distance(weight, means.rows, inner=inner, lengths=(lengths, means.lengths)) / 2,
    }


def _participation(statistics: ClassStatistics, *, means: CenteredMeans | None) -> float:
    """Return `participation`; `means` are the class means where they are centred by their own mean."""
    counts = statistics.counts
    if means is not None and statistics.num_classes > statistics.dim and bool((counts == counts[0]).all()):
        # As many examples of each class: N S = n M^T M + N Sigma_W, and M^T M is there already.
        covariance = (means.gram * counts[0]).add_(statistics.within)
    else:
        covariance = statistics.total_covariance
    return float(covariance.trace().square() / covariance.square_().sum())


def _length_variation(lengths: Tensor) -> float:
    """Return the coefficient of variation of (K,) lengths, with the population standard deviation."""
    return float(lengths.std(correction=0) / lengths.mean())
