"""Linearity of layers: whether the feature of a blend equals the blend of the features. Streaming and mergeable."""

import math

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_finite,
    check_floating,
    check_labels,
    check_ndim,
    check_not_empty,
    check_same_length,
    check_shape,
)
from mixscope.base.kinds import checked
from mixscope.metrics.blends.blend_reports import NonlinearityReport
from mixscope.metrics.blends.blend_sums import (
    MIN_COLUMNS,
    NUM_SUMS,
    block_size,
    check_shares,
    column_sums,
    sum_over_blends,
)


class NonlinearityMeter:
    """The numbers of a `NonlinearityReport` for one layer, fed batch by batch in constant memory.

    `relative_defect` measures distances from the mean feature, which must be known before the first blend is seen: a
    first look at the features gives it (`column_sums`), or an earlier epoch. Any split, order or tree of merges gives
    the same numbers (relative 1e-10). Computed in float64, a block at a time; features are never stored.

    The lengths and angles come from the inner products of the members and the defect d = f(mix) - sum_p weights_p
    f(x_p), itself a difference taken number by number, so that nothing large cancels where a layer is nearly linear.

    Attributes:
        feature_mean: (D,) float64, of the examples that are blended.
        sums: (10,) float64 on the device of `feature_mean`: blends, those with directions, those with an angle, and
            over blends the sums of |a - v|, 1 - r, (1 - r)^2, 2 r (1 - cos phi), phi, |d| and of the mean over the
            members of |f(x_p) - mean f|. The sums of several devices add up to those of all blends.

    Example:
        >>> clean = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> meter = NonlinearityMeter(clean.mean(dim=0))
        >>> meter.update(clean.mean(dim=0)[None], clean, torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
        >>> report = meter.report()
        >>> round(report.nonlinearity, 6), round(report.floor, 6), report.relative_defect
        (0.292893, 0.292893, 0.0)
    """

    @checked
    def __init__(self, feature_mean: Tensor) -> None:
        """Start with no blends; `feature_mean` is finite and float, D at least 1."""
        check_ndim(1, feature_mean=feature_mean)
        if not feature_mean.is_floating_point() or not len(feature_mean):
            got = f"{feature_mean.dtype} of shape {tuple(feature_mean.shape)}"
            raise ValueError(f"feature_mean must be float of shape (D,), got {got}")
        check_finite(feature_mean=feature_mean)
        self.feature_mean = feature_mean.detach().to(torch.float64)
        self.sums = self.feature_mean.new_zeros(NUM_SUMS)

    @property
    def num_blends(self) -> int:
        """Blends seen so far."""
        return int(self.sums[0])

    @checked
    def update(self, mixed: Tensor, clean: Tensor, members: Tensor, weights: Tensor) -> None:
        """Add a batch of blends. When it raises, nothing has changed.

        Args:
            mixed: (b, D) float, flattened features of the blends, b at least 0.
            clean: (B, D) float, flattened features of the examples.
            members: (b, P) integers in [0, B): the rows of `clean` that each blend is made of (`Mixture.members`).
            weights: (b, P) float, at least 0, rows sum to 1 within 1e-4 (`Mixture.weights`).

        Raises:
            ValueError: If shapes do not fit, a value is not finite, members are no rows, or weights are not shares.
        """
        self._check(mixed, clean, members, weights)
        mixed, clean, device = mixed.detach(), clean.detach(), clean.device
        shares = weights.detach().to(device, torch.float64)
        total = sum_over_blends(mixed, clean, members.to(device).long(), shares, mean=self.feature_mean.to(device))
        # Nothing that is not finite leaves these sums finite.
        if not bool(total.isfinite().all()):
            check_finite(mixed=mixed, clean=clean)
            raise ValueError("mixed and clean (members) must have squares that float64 can hold, got an overflow")
        self.sums = self.sums + total.to(self.sums.device)

    @checked
    def merge(self, other: "NonlinearityMeter") -> None:
        """Add all that another meter, of the same feature_mean or a ValueError, has seen; it is left as it was."""
        if not torch.equal(other.feature_mean.to(self.feature_mean.device), self.feature_mean):
            got = f"{tuple(other.feature_mean.shape)} numbers that differ from {tuple(self.feature_mean.shape)}"
            raise ValueError(f"other must have the same feature_mean, got {got}")
        self.sums = self.sums + other.sums.to(self.sums.device)

    def report(self) -> NonlinearityReport:
        """Return the numbers over all blends seen so far; a ValueError where there are none."""
        if not self.num_blends:
            raise ValueError("NonlinearityMeter must be updated with at least one blend first, got 0")
        blends, directed, angled, distance, missing, radial, angular, angle, defect, spread = self.sums.cpu()
        return NonlinearityReport(
            nonlinearity=float(distance / directed),
            floor=float(missing / directed),
            radial=float(radial / directed),
            angular=float(angular / directed),
            angle_degrees=math.degrees(float(angle / angled)),
            relative_defect=float(defect / spread),
            left_out=float(1 - directed / blends),
        )

    def _check(self, mixed: Tensor, clean: Tensor, members: Tensor, weights: Tensor) -> None:
        check_ndim(2, mixed=mixed, clean=clean, members=members, weights=weights)
        check_same_length(mixed=mixed, members=members, weights=weights)
        dim = len(self.feature_mean)
        for name, features in (("mixed", mixed), ("clean", clean)):
            if features.shape[1] != dim or not features.is_floating_point():
                got = f"{features.dtype} of shape {tuple(features.shape)}"
                raise ValueError(f"{name} must be float with the {dim} columns of feature_mean, got {got}")
        check_labels(members.flatten(), num_classes=len(clean), name="members", because="the rows of clean")
        check_shape(tuple(members.shape), of="members", weights=weights)
        check_shares(weights)


@checked
def nonlinearity(mixed: Tensor, members: Tensor, weights: Tensor) -> NonlinearityReport:
    """Compare the features of blends with the blends of features.

    Source: Chaudhry et al. 2022, Eq. 3; the split into a radial and an angular part and the relative defect are ours.
    In float64; `NonlinearityMeter` streams it.

    Args:
        mixed: (N, D) float, flattened features of the blends, N at least 1.
        members: (N, P, D) float, features of the P examples of each blend.
        weights: (N, P) float, at least 0, rows sum to 1.

    Raises:
        ValueError: If there are no blends, shapes do not fit, a value is not finite, or weights are not shares.

    Example:
        >>> members = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> report = nonlinearity(members.mean(dim=1), members, torch.tensor([[0.5, 0.5]]))
        >>> round(report.nonlinearity, 6), round(report.floor, 6), report.relative_defect
        (0.292893, 0.292893, 0.0)
    """
    check_ndim(2, mixed=mixed, weights=weights)
    check_ndim(3, members=members)
    check_same_length(mixed=mixed, members=members, weights=weights)
    check_not_empty(mixed=mixed)
    check_shape((len(mixed), weights.shape[1], mixed.shape[1]), of="mixed and weights", members=members)
    check_floating(members=members)
    check_finite(members=members)
    num_blends, num_points, dim = members.shape
    total = torch.stack([column_sums(members[:, point]) for point in range(num_points)]).sum(dim=0)
    meter = NonlinearityMeter(total / (num_blends * num_points))
    size = max(1, block_size(members.device) // (num_points * min(dim, MIN_COLUMNS)))
    for rows in (slice(start, start + size) for start in range(0, num_blends, size)):
        clean = members[rows].flatten(0, 1)
        meter.update(mixed[rows], clean, torch.arange(len(clean)).view(-1, num_points), weights[rows])
    return meter.report()
