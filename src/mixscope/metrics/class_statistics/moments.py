"""Class means and the scatter of each class in one pass, for layers too wide for a D x D matrix."""

from mixscope.metrics.class_statistics.class_sums import ClassSums


class ClassMoments(ClassSums):
    """Counts, means and scatter of the features of each class, fed batch by batch.

    `ClassStatistics` without its D x D matrix: memory and time grow with D, not D^2. `class_geometry`
    reads it. Any split, order or tree of merges gives the same numbers (relative 1e-10 in float64).
    Numbers that are read are the live ones; clone what must outlast the next update.

    Attributes:
        counts: (K,) float64, examples of each class seen so far.
        means: (K, D) float64, class means; a row of zeros where the count is 0.
        scatter: (K,) float64, sum over the examples of each class of |h - mean_y|^2.

    Example:
        >>> import torch
        >>> moments = ClassMoments(num_classes=2, dim=1)
        >>> moments.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> moments.means.tolist(), moments.scatter.tolist()
        ([[2.0], [5.0]], [2.0, 0.0])
    """
