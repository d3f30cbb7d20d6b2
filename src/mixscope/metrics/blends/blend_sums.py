"""Sums behind the linearity numbers: inner products of features a block at a time, and what follows from them."""

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim

# Numbers of one tensor turned into float64 at a time: as many for each CPU core as its cache holds beside what is made
# of them, and few, large blocks on a GPU.
CORE_BLOCK, GPU_BLOCK = 2**15, 2**24
WEIGHT_TOLERANCE = 1e-4  # how far a row of weights may be from summing to 1: float32 rounding with room
MIN_COLUMNS = 64  # of a block: shorter pieces of rows are slow to read
NUM_SUMS = 10  # blends, those with directions, those with an angle; then five sums over directions and two of distances


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


def block_size(device: torch.device) -> int:
    """Return how many numbers of a tensor are turned into float64 at a time."""
    return CORE_BLOCK * torch.get_num_threads() if device.type == "cpu" else GPU_BLOCK


def column_sums(rows: Tensor) -> Tensor:
    """Return (D,) float64, the sum of (N, D) rows, a block at a time; sums of batches over N give a mean feature."""
    check_ndim(2, rows=rows)
    width = max(MIN_COLUMNS, block_size(rows.device) // max(1, len(rows)))
    return torch.cat([part.to(torch.float64).sum(dim=0) for part in rows.detach().split(width, dim=1)])


def sum_over_blends(mixed: Tensor, clean: Tensor, members: Tensor, shares: Tensor, *, mean: Tensor) -> Tensor:
    """Return the (10,) sums of a meter over a checked batch of blends on one device, a block of columns at a time."""
    num_blends, num_points = members.shape
    own = torch.arange(len(clean), device=members.device)
    are_own = [torch.equal(column, own) for column in members.unbind(dim=1)]  # rows that need no gathering
    gram = shares.new_zeros(num_points, num_points, num_blends)
    cross = shares.new_zeros(num_points, num_blends)
    defect_power, mixed_power = shares.new_zeros(2, num_blends)
    spread = shares.new_zeros(len(clean))
    width = max(MIN_COLUMNS, block_size(clean.device) // max(1, len(clean)))
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
