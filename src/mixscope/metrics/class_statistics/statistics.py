"""Class means and the scatter around them, all of it, in one pass over the data."""

from torch import Tensor

from mixscope.metrics.class_statistics.class_sums import ClassSums
from mixscope.metrics.class_statistics.products import NoProducts, ScatterMatrix
from mixscope.metrics.class_statistics.symmetric import symmetric_product


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

    Attributes:
        counts: (K,) float64, examples of each class seen so far.
        means: (K, D) float64, class means; a row of zeros where the count is 0.
        within: (D, D) float64, sum over all examples of (h - mean_y)(h - mean_y)^T.
        scatter: (K,) float64, sum over the examples of each class of |h - mean_y|^2.

    Example:
        >>> import torch
        >>> statistics = ClassStatistics(num_classes=2, dim=1)
        >>> statistics.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> statistics.means.tolist(), statistics.within.tolist()
        ([[2.0], [5.0]], [[2.0]])
    """

    _LARGEST_DIM = 10**5  # D x D numbers are 80 GB there

    @property
    def within(self) -> Tensor:
        """(D, D) float64, sum over all examples of (h - mean_y)(h - mean_y)^T."""
        self._settle()
        return self._products.matrices()["within"]

    @property
    def total_covariance(self) -> Tensor:
        """(D, D) float64, the covariance of all examples around `sample_mean`, divided by N."""
        offsets = (self.means - self.sample_mean).mul_(self.counts.sqrt()[:, None])
        products = symmetric_product(offsets, offsets)
        return products.add_(self.within).div_(self.counts.sum())

    def _start_products(self) -> NoProducts:
        return ScatterMatrix(self.dim, device=self._means.device)

    def _matrix_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"within": (self.dim, self.dim)}
