"""Class means and scatter around them in one pass over the data, by the pairwise update of Chan et al. 1983."""

import torch
from torch import Tensor

from mixscope._checks import check_at_least, check_finite, check_labels, check_ndim, check_same_length


class ClassStatistics:
    """Counts, means and scatter of the features of each class, fed batch by batch.

    A group of m examples with mean mu' joins n examples with mean mu by
    `within += within' + n m / (n + m) (mu' - mu)(mu' - mu)^T`, so nothing large cancels and any split, order or tree of
    merges gives the same numbers (relative 1e-10). Features are never stored.

    Attributes:
        counts: (K,) float64, examples of each class seen so far.
        means: (K, D) float64, class means; a row of zeros where the count is 0.
        within: (D, D) float64, sum over all examples of (h - mean_y)(h - mean_y)^T.
        scatter: (K,) float64, sum over the examples of each class of |h - mean_y|^2.

    Example:
        >>> statistics = ClassStatistics(num_classes=2, dim=1)
        >>> statistics.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> statistics.means.tolist(), statistics.within.tolist()
        ([[2.0], [5.0]], [[2.0]])
    """

    def __init__(self, num_classes: int, dim: int, *, device: torch.device | str = "cpu") -> None:
        """Start with no examples.

        Args:
            num_classes: K, at least 1.
            dim: D, at least 1.
            device: Where the numbers are kept and updated; it must know float64.

        Raises:
            ValueError: If num_classes or dim is below 1.
        """
        check_at_least(1, num_classes=num_classes, dim=dim)
        self.counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self.means = torch.zeros(num_classes, dim, dtype=torch.float64, device=device)
        self.within = torch.zeros(dim, dim, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(num_classes, dtype=torch.float64, device=device)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.means.shape[0]

    @property
    def dim(self) -> int:
        """D."""
        return self.means.shape[1]

    @property
    def num_examples(self) -> int:
        """N, the examples seen so far."""
        return int(self.counts.sum())

    @property
    def sample_mean(self) -> Tensor:
        """(D,) float64, the mean of all examples; on imbalanced data it differs from the mean of the class means."""
        return (self.counts @ self.means) / self.counts.sum()

    @property
    def total_covariance(self) -> Tensor:
        """(D, D) float64, the covariance of all examples around `sample_mean`, divided by N."""
        offsets = self.means - self.sample_mean
        return (self.within + (self.counts[:, None] * offsets).T @ offsets) / self.counts.sum()

    def missing_classes(self) -> list[int]:
        """Return the classes that have no example."""
        return torch.nonzero(self.counts == 0).flatten().tolist()

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            features: (B, D) float, B at least 0, moved to the device of the statistics. Computed in float64.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If shapes do not fit, features are not finite floats, or labels are not integers in [0, K).
        """
        check_ndim(2, features=features)
        check_same_length(features=features, labels=labels)
        if features.shape[1] != self.dim or not features.is_floating_point():
            raise ValueError(
                f"features must be float of shape (B, {self.dim}), "
                f"got {features.dtype} of shape {tuple(features.shape)}"
            )
        check_labels(labels, num_classes=self.num_classes)
        check_finite(features=features)
        values = features.detach().to(self.means.device, torch.float64)
        # Only the classes of this batch take part: their number, not K, sets the cost.
        present, position, counts = labels.to(values.device).long().unique(return_inverse=True, return_counts=True)
        sums = values.new_zeros(len(present), self.dim).index_add_(0, position, values)
        means = sums / counts[:, None]
        residuals = values - means[position]
        scatter = values.new_zeros(len(present)).index_add_(0, position, residuals.square().sum(dim=1))
        self.within.addmm_(residuals.T, residuals)
        self._join(present, counts.to(torch.float64), means, scatter)

    def merge(self, other: "ClassStatistics") -> None:
        """Add everything another instance has seen (another device, process or file). `other` is left as it was.

        Raises:
            ValueError: If the number of classes or the dimension differs.
        """
        if other.means.shape != self.means.shape:
            raise ValueError(
                f"other must have num_classes and dim {tuple(self.means.shape)}, got {tuple(other.means.shape)}"
            )
        device = self.means.device
        present = torch.nonzero(other.counts > 0).flatten().to(device)
        counts, means, scatter = (part.to(device)[present] for part in (other.counts, other.means, other.scatter))
        self.within += other.within.to(device)
        self._join(present, counts, means, scatter)

    def _join(self, present: Tensor, counts: Tensor, means: Tensor, scatter: Tensor) -> None:
        """Join groups, one per class in `present`, whose own scatter is already in `within`."""
        before = self.counts[present]
        after = before + counts
        offsets = means - self.means[present]
        weights = before * counts / after
        self.within.addmm_((weights[:, None] * offsets).T, offsets)
        self.scatter.index_add_(0, present, scatter + weights * offsets.square().sum(dim=1))
        self.means.index_add_(0, present, offsets * (counts / after)[:, None])
        self.counts.index_add_(0, present, counts)
