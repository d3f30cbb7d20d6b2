"""Linearity of layers: does the feature of a blend equal the blend of the features?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope._checks import check_finite, check_ndim, check_same_length

BLOCK_VALUES = 2**24  # Numbers turned into float64 at a time: 128 MiB.
WEIGHT_TOLERANCE = 1e-4  # How far a row of weights may be from summing to 1: float32 rounding with room.


@dataclass(frozen=True)
class NonlinearityReport:
    """How a layer treats blends. Means over the blends; low is linear.

    With v = sum_p weights_p f(x_p) / |f(x_p)|, a = f(mix) / |f(mix)|, r = |v| and phi the angle between a and v:

    Attributes:
        nonlinearity: mean |a - v| (Chaudhry et al. 2022, Eq. 3, as a mean over pairs with the L2 norm), in [0, 2].
            Above 0 even for an exactly affine layer: read it beside `floor` and `relative_defect`.
        floor: mean (1 - r), in [0, 1]: what any layer must show; it grows with the angles between the members.
        radial: mean (1 - r)^2, in [0, 1].
        angular: mean 2 r (1 - cos phi), in [0, 4]; for each blend radial + angular = nonlinearity^2.
        angle_degrees: mean phi, in [0, 180]; a blend with r = 0 has no angle and is left out.
        relative_defect: mean |f(mix) - sum_p weights_p f(x_p)| / mean |f(x) - mean f|, with the mean over all member
            features, each as often as it is a member. At least 0 and exactly 0 for an affine layer.
    """

    nonlinearity: float
    floor: float
    radial: float
    angular: float
    angle_degrees: float
    relative_defect: float


def nonlinearity(mixed: Tensor, members: Tensor, weights: Tensor) -> NonlinearityReport:
    """Compare the features of blends with the blends of features.

    Source: Chaudhry et al. 2022, Eq. 3; the split into a radial and an angular part and the relative defect are ours.
    Computed in float64, a block of rows at a time.

    Args:
        mixed: (N, D) float, flattened features of the blends, N at least 1.
        members: (N, P, D) float, features of the P examples of each blend.
        weights: (N, P) float, at least 0, rows sum to 1.

    Returns:
        The report.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, weights are not shares, or a feature has length 0.

    Example:
        >>> members = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> report = nonlinearity(members.mean(dim=1), members, torch.tensor([[0.5, 0.5]]))
        >>> round(report.nonlinearity, 6), round(report.floor, 6), report.relative_defect
        (0.292893, 0.292893, 0.0)
    """
    _check_blends(mixed, members, weights)
    num_blends, num_points, dim = members.shape
    blocks = list(_row_blocks(num_blends, max(1, BLOCK_VALUES // (num_points * dim))))
    total = torch.zeros(dim, dtype=torch.float64, device=members.device)
    for block in blocks:
        total += _as_float64(members[block]).sum(dim=(0, 1))
    member_mean = total / (num_blends * num_points)
    columns = []
    for block in blocks:
        features, blends, shares = _as_float64(members[block]), _as_float64(mixed[block]), _as_float64(weights[block])
        columns.append(_compare(blends, features, shares.to(features.device), member_mean=member_mean))
    distance, radius, angle, defect, spread = torch.cat(columns, dim=1)
    radial = (1 - radius).square()
    return NonlinearityReport(
        nonlinearity=float(distance.mean()),
        floor=float((1 - radius).mean()),
        radial=float(radial.mean()),
        angular=float(_angular(radius, angle).mean()),
        angle_degrees=math.degrees(float(angle.nanmean())),
        relative_defect=float(defect.mean() / spread.mean()),
    )


def _check_blends(mixed: Tensor, members: Tensor, weights: Tensor) -> None:
    check_ndim(2, mixed=mixed, weights=weights)
    check_ndim(3, members=members)
    check_same_length(mixed=mixed, members=members, weights=weights)
    num_blends, dim = mixed.shape
    if num_blends == 0:
        raise ValueError("mixed must hold at least one blend, got 0")
    expected = (num_blends, weights.shape[1], dim)
    if tuple(members.shape) != expected:
        raise ValueError(f"members must have shape {expected}, got {tuple(members.shape)}")
    check_finite(mixed=mixed, members=members, weights=weights)
    if float(weights.min()) < 0 or float((weights.sum(dim=1) - 1).abs().max()) > WEIGHT_TOLERANCE:
        raise ValueError(
            f"weights must be at least 0 with rows that sum to 1, got a smallest weight of {float(weights.min())} "
            f"and sums from {float(weights.sum(dim=1).min())} to {float(weights.sum(dim=1).max())}"
        )
    for name, features in (("mixed", mixed), ("members", members)):
        num_zero = int((features == 0).all(dim=-1).sum())
        if num_zero:
            raise ValueError(f"{name} must have features of non-zero length, got {num_zero} rows of zeros")


def _row_blocks(num_rows: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, num_rows, size))


def _as_float64(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64)


def _compare(mixed: Tensor, members: Tensor, weights: Tensor, *, member_mean: Tensor) -> Tensor:
    """Return (5, N): |a - v|, r, phi in radians, the raw defect, and the mean distance of the members to their mean."""
    direction = mixed / torch.linalg.vector_norm(mixed, dim=1, keepdim=True)
    units = members / torch.linalg.vector_norm(members, dim=2, keepdim=True)
    target = torch.einsum("np,npd->nd", weights, units)
    radius = torch.linalg.vector_norm(target, dim=1)
    unit_target = target / radius[:, None]
    # atan2 of half the difference and half the sum keeps its digits at small angles, where acos loses half of them.
    angle = 2 * torch.atan2(
        torch.linalg.vector_norm(direction - unit_target, dim=1),
        torch.linalg.vector_norm(direction + unit_target, dim=1),
    )
    return torch.stack(
        [
            torch.linalg.vector_norm(direction - target, dim=1),
            radius,
            angle,
            torch.linalg.vector_norm(mixed - torch.einsum("np,npd->nd", weights, members), dim=1),
            torch.linalg.vector_norm(members - member_mean, dim=2).mean(dim=1),
        ]
    )


def _angular(radius: Tensor, angle: Tensor) -> Tensor:
    """2 r (1 - cos phi) = 4 r sin^2(phi / 2), without the cancellation of the first form; 0 where r = 0."""
    return torch.where(radius > 0, 4 * radius * (angle / 2).sin().square(), 0.0)
