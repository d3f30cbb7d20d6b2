"""Linearity of layers: whether the feature of a blend equals the blend of the features. Streaming."""

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

# Numbers of one tensor turned into float64 at a time: as many for each CPU core as its cache holds beside what is made
# of them, and few, large blocks on a GPU.
CORE_BLOCK, GPU_BLOCK = 2**15, 2**24
WEIGHT_TOLERANCE = 1e-4  # how far a row of weights may be from summing to 1: float32 rounding with room
MIN_COLUMNS = 64  # of a block: shorter pieces of rows are slow to read
NUM_SUMS = 10  # blends, those with directions, those with an angle; then five sums over directions and two of distances


class NonlinearityMeter:
    """The numbers of a `NonlinearityReport` for one layer, fed batch by batch in constant memory.

    `relative_defect` measures distances from the mean feature, which must be known before the first blend is seen: a
    first look at the features gives it (`column_sums`), or an earlier epoch. Any split and order gives the same numbers
    (relative 1e-10). Computed in float64, a block at a time; features are never stored.

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
        """Start with no blends; (D,) `feature_mean` is finite and float, D at least 1."""
        check_ndim(1, feature_mean=feature_mean)
        if not feature_mean.is_floating_point() or not len(feature_mean):
            got = f"{feature_mean.dtype} of shape {tuple(feature_mean.shape)}"
            raise ValueError(f"feature_mean must be float of shape (D,), got {got}")
        check_finite(feature_mean=feature_mean)
        self.feature_mean = feature_mean.detach().to(torch.float64)
        self.sums = self.feature_mean.new_zeros(NUM_SUMS)

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
        total = _sum_over_blends(mixed, clean, members.to(device).long(), shares, mean=self.feature_mean.to(device))
        # Nothing that is not finite leaves these sums finite.
        if not bool(total.isfinite().all()):
            check_finite(mixed=mixed, clean=clean)
            raise ValueError("mixed and clean (members) must have squares that float64 can hold, got an overflow")
        self.sums = self.sums + total.to(self.sums.device)

    def report(self) -> NonlinearityReport:
        """Return the numbers over all blends seen so far.

        Raises:
            ValueError: If there are none.
        """
        blends, directed, angled, distance, missing, radial, angular, angle, defect, spread = self.sums.cpu()
        if not blends:
            raise ValueError("NonlinearityMeter must be updated with at least one blend first, got 0")
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
    size = max(1, _block_size(members.device) // (num_points * min(dim, MIN_COLUMNS)))
    for rows in (slice(start, start + size) for start in range(0, num_blends, size)):
        clean = members[rows].flatten(0, 1)
        meter.update(mixed[rows], clean, torch.arange(len(clean)).view(-1, num_points), weights[rows])
    return meter.report()


def check_shares(weights: Tensor) -> None:
    """Raise unless the rows of (N, P) weights are finite, at least 0, and sum to 1."""
    check_finite(weights=weights)
    if not len(weights):
        return
    sums = weights.sum(dim=1, dtype=torch.float64)
    if float(weights.min()) < 0 or float((sums - 1).abs().max()) > WEIGHT_TOLERANCE:
        raise ValueError(
            f"weights must be at least 0 with rows that sum to 1, got a smallest weight of {float(weights.min()):g} "
            f"and sums from {float(sums.min()):.6g} to {float(sums.max()):.6g}"
        )


def _block_size(device: torch.device) -> int:
    """Return how many numbers of a tensor are turned into float64 at a time."""
    return CORE_BLOCK * torch.get_num_threads() if device.type == "cpu" else GPU_BLOCK


def column_sums(rows: Tensor) -> Tensor:
    """Return (D,) float64, the sum of (N, D) rows, a block at a time; sums of batches over N give a mean feature."""
    check_ndim(2, rows=rows)
    width = max(MIN_COLUMNS, _block_size(rows.device) // max(1, len(rows)))
    return torch.cat([part.to(torch.float64).sum(dim=0) for part in rows.detach().split(width, dim=1)])


def _sum_over_blends(mixed: Tensor, clean: Tensor, members: Tensor, shares: Tensor, *, mean: Tensor) -> Tensor:
    """Return the (10,) sums of a meter over a checked batch of blends on one device, a block of columns at a time."""
    num_blends, num_points = members.shape
    own = torch.arange(len(clean), device=members.device)
    are_own = [torch.equal(column, own) for column in members.unbind(dim=1)]  # rows that need no gathering
    gram = shares.new_zeros(num_points, num_points, num_blends)
    cross = shares.new_zeros(num_points, num_blends)
    defect_power, mixed_power = shares.new_zeros(2, num_blends)
    spread = shares.new_zeros(len(clean))
    width = max(MIN_COLUMNS, _block_size(clean.device) // max(1, len(clean)))
    columns = clean.split(width, dim=1), mixed.split(width, dim=1), mean.split(width)
    for rows, defect, center in zip(*columns, strict=True):
        rows, defect = rows.to(torch.float64), defect.to(torch.float64, copy=True)
        mixed_power += _power(defect)
        spread += _power(rows - center)
        ends = [
            rows if is_own else rows.index_select(0, column)
            for column, is_own in zip(members.unbind(dim=1), are_own, strict=True)
        ]
        for share, end in zip(shares.unbind(dim=1), ends, strict=True):
            defect.addcmul_(share[:, None], end, value=-1)
        defect_power += _power(defect)
        for first, end in enumerate(ends):
            cross[first] += torch.linalg.vecdot(end, defect)
            gram[first, first] += _power(end)
            for second in range(first):
                gram[first, second] += torch.linalg.vecdot(end, ends[second])
    gram = gram.permute(2, 0, 1)
    gram = gram + gram.tril(-1).mT
    directions = _compare_directions(gram, cross.T, defect_power, mixed_power, shares)
    return torch.cat([directions, torch.stack([defect_power.sqrt().sum(), spread.sqrt()[members].mean(dim=1).sum()])])


def _power(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square_()


def _compare_directions(
    gram: Tensor, cross: Tensor, defect_power: Tensor, mixed_power: Tensor, shares: Tensor
) -> Tensor:
    """Return (8,): blends, those with directions, those with an angle, and the five sums over directions."""
    lengths = gram.diagonal(dim1=1, dim2=2).sqrt()
    is_directed = (mixed_power > 0) & (lengths > 0).all(dim=1)
    gram, cross, defect_power, lengths, shares = (
        part[is_directed] for part in (gram, cross, defect_power, lengths, shares)
    )
    inverse = mixed_power[is_directed].rsqrt()
    onto = shares / lengths  # v = sum_p onto_p f(x_p)
    radius = _quadratic(gram, onto).clamp(min=0).sqrt()
    has_angle = radius > 0
    # f(mix) = sum_p shares_p f(x_p) + d, so a - v / r has these coefficients, and 1 / |f(mix)| for d.
    apart = shares * inverse[:, None] - onto / radius[:, None]
    power = _quadratic(gram, apart) + 2 * inverse * torch.linalg.vecdot(apart, cross) + inverse.square() * defect_power
    # |a - v/r|^2 = 2 (1 - cos phi) = 4 sin^2(phi / 2) keeps its digits at small angles, where acos loses half of them.
    chord = torch.where(has_angle, power.clamp(min=0, max=4), 0.0)
    radial, angular = (1 - radius).square(), radius * chord
    sums = [(radial + angular).sqrt(), 1 - radius, radial, angular, 2 * (chord.sqrt() / 2).asin()]
    counts = [shares.new_tensor(len(is_directed)), is_directed.sum(), has_angle.sum()]
    return torch.stack([*(count.to(shares) for count in counts), *(part.sum() for part in sums)])


def _quadratic(gram: Tensor, coefficients: Tensor) -> Tensor:
    """Return (b,), the squared length of sum_p coefficients_p f_p from the (b, P, P) inner products of the f_p."""
    return torch.einsum("bp,bpq,bq->b", coefficients, gram, coefficients)
