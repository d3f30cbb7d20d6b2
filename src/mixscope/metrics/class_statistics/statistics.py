"""Class means and the scatter around them in one pass over the data, with and without its D x D matrix."""

from torch import Tensor

from mixscope.metrics.class_statistics.class_sums import ClassSums
from mixscope.metrics.class_statistics.symmetric import symmetric_product


class ClassMoments(ClassSums):
    """Counts, means and scatter of the features of each class, fed batch by batch.

    `ClassStatistics` without its D x D matrix: memory and time grow with D, not D^2. `class_geometry`
    reads it. Any split, order or tree of merges gives the same numbers (relative 1e-10 in float64).
    Numbers that are read are the live ones; clone what must outlast the next update.

    Example:
        >>> import torch
        >>> moments = ClassMoments(num_classes=2, dim=1)
        >>> moments.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> moments.means.tolist(), moments.scatter.tolist()
        ([[2.0], [5.0]], [2.0, 0.0])
    """


class ClassStatistics(ClassSums):
    """Counts, means and scatter of the features of each class, fed batch by batch.

    Any split, order or tree of merges gives the same numbers (relative 1e-10 in float64); nothing large cancels, also
    where the mean is large or a class begins with an outlier. Features are never stored, and there is no K x D x D.
    Narrow features (below 96 columns), half-precision ones and everything with `product_dtype=torch.float64` are
    computed in float64. Residuals of wide float32 features are multiplied in float32, 256 rows at a time, and added up
    in float64: `within` is within 1e-6 of float64 (Frobenius norm), in whatever order the processor adds up, and within
    about 1e-7 where classes do not move during the data. Products are held against float64 on the way; where their
    roundings lean one way, as with a binary layer's few values, they are taken in float64 from there on. Autocast and a
    reduced matmul precision set by the caller are switched off inside.
    Counts, means and scatter are live: clone what must outlast the next update.

    Example:
        >>> import torch
        >>> statistics = ClassStatistics(num_classes=2, dim=1)
        >>> statistics.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> statistics.means.tolist(), statistics.within.tolist()
        ([[2.0], [5.0]], [[2.0]])
    """

    _LARGEST_DIM = 10**5  # D x D numbers are 80 GB there
    _keeps_scatter = True

    @property
    def within(self) -> Tensor:
        """(D, D) float64, sum over all examples of (h - mean_y)(h - mean_y)^T."""
        self._settle()
        return self._products.matrix()

    @property
    def total_covariance(self) -> Tensor:
        """(D, D) float64, the covariance of all examples around `sample_mean`, divided by N."""
        offsets = (self.means - self.sample_mean).mul_(self.counts.sqrt()[:, None])
        return symmetric_product(offsets, offsets).add_(self.within).div_(self.counts.sum())
