"""Numbers over all pairs of classes, in tiles: no K x K matrix, and digits that survive near collapse."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.metrics.class_statistics.symmetric import symmetric_product

TILE_ROWS = 128
TILE_COLUMNS = 1024
# Squared distances below this share of the squared lengths are taken from the difference of the two rows; above it the
# inner product loses at most four of sixteen digits.
CLOSE = 1e-4
PAIRS_AT_ONCE = 4096
# Rows longer than this share of the longest one keep ten digits of their inner products when a mean is added.
SAFE_LENGTH = 1e-3
# Above this cosine between a matrix and the simplex, their distance is not read off the cosine.
NEAR_SIMPLEX = 0.9
# Two matrices of unit length have their squared distance read off their cosine above this: four of sixteen digits lost.
FAR = 1e-3


@dataclass(frozen=True)
class MeanPairs:
    """What all pairs of class means say: see `ClassGeometry` for the three numbers."""

    normalized_variance: float
    angle_deviation: float
    largest_angle_deviation: float


def compare_means(variances: Tensor, means: Tensor, *, lengths: Tensor) -> MeanPairs:
    """Compare all pairs of (K, D) centred class means, given their lengths and the classes' variances, (K,) both.

    The normalised variance is infinite where two means coincide, the others NaN where a mean has length 0.
    """
    squares = lengths.square()
    ratios, deviations, largest = (means.new_zeros(()) for _ in range(3))
    for rows, columns in _tiles(len(means)):
        products = means[rows] @ means[columns].T
        distances = (squares[rows, None] + squares[columns]).sub_(products, alpha=2)
        if rows.start == columns.start:
            square = distances[:, : len(products)]
            square += torch.full_like(square, math.inf).tril_()  # no pairs: infinitely far apart
        if not distances.amin() > CLOSE * (squares[rows].max() + squares[columns].max()):
            sizes = squares[rows, None] + squares[columns]
            first, second = torch.nonzero(distances <= CLOSE * sizes, as_tuple=True)
            for i, j in zip(first.split(PAIRS_AT_ONCE), second.split(PAIRS_AT_ONCE), strict=True):
                distances[i, j] = (means[rows][i] - means[columns][j]).square().sum(dim=1)
        ratios += (variances[rows, None] + variances[columns]).div_(distances).sum()
        angles = _angle_deviations(products, lengths, rows, columns)
        # Over all pairs it is never negative, as |sum of unit rows|^2 is not: zeros off the pairs do no harm.
        largest = torch.maximum(largest, angles.amax())
        deviations += angles.abs_().sum()
    num_pairs = len(means) * (len(means) - 1) / 2
    return MeanPairs(float(ratios / (2 * num_pairs)), float(deviations / num_pairs), float(largest))


def angle_deviations(
    rows: Tensor, *, lengths: Tensor, mean: Tensor, centered: Tensor, centered_lengths: Tensor
) -> tuple[float, float]:
    """Return the mean over pairs of |cos + 1/(K-1)| of (K, D) rows of any precision, and of the same rows centred.

    Both are 0 for a simplex, and NaN where a row has length 0.
    """
    along, mean_square = centered @ mean, mean @ mean
    # (c_i + m).(c_j + m) = c_i.c_j + c_i.m + c_j.m + m.m saves a product, unless a row all but vanishes with the mean.
    scale = centered_lengths.max() + mean_square.sqrt()
    is_safe = bool(lengths.min() > SAFE_LENGTH * scale)
    total, total_centered = centered.new_zeros(()), centered.new_zeros(())
    for upper, lower in _tiles(len(centered)):
        products = centered[upper] @ centered[lower].T
        if is_safe:
            with_mean = (products + along[upper, None]).add_(along[lower] + mean_square)
        else:
            with_mean = rows[upper].to(torch.float64) @ rows[lower].to(torch.float64).T
        total += _angle_deviations(with_mean, lengths, upper, lower).abs_().sum()
        total_centered += _angle_deviations(products, centered_lengths, upper, lower).abs_().sum()
    num_pairs = len(centered) * (len(centered) - 1) / 2
    return float(total / num_pairs), float(total_centered / num_pairs)


def row_products(left: Tensor, right: Tensor) -> Tensor:
    """Return the (K,) inner products of the rows of two (K, D) matrices."""
    parts = zip(left.split(TILE_ROWS), right.split(TILE_ROWS), strict=True)
    return torch.cat([torch.linalg.vecdot(a, b) for a, b in parts])


def squared_distance(left: Tensor, right: Tensor, *, inner: Tensor, squares: tuple[Tensor, Tensor]) -> float:
    """Return |A/|A|_F - B/|B|_F|_F^2, right also near 0, given <A, B> and (|A|_F^2, |B|_F^2); NaN where one is 0."""
    distance = float(2 - 2 * inner / (squares[0] * squares[1]).sqrt())
    if distance > FAR:
        return distance
    scales = [square.rsqrt() for square in squares]
    parts = zip(left.split(TILE_ROWS), right.split(TILE_ROWS), strict=True)
    return float(sum((a * scales[0]).sub_(b * scales[1]).square_().sum() for a, b in parts))


def squared_row_distance(left: Tensor, right: Tensor, *, inner: Tensor, lengths: tuple[Tensor, Tensor]) -> float:
    """Return the mean over rows of |a/|a| - b/|b||^2, right also near 0, given <a, b> and lengths; NaN for 0."""
    distance = float(2 - 2 * (inner / (lengths[0] * lengths[1])).mean())
    if distance > FAR:
        return distance
    total = left.new_zeros(())
    for a, b in zip(left.split(TILE_ROWS), right.split(TILE_ROWS), strict=True):
        scales = [1 / torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (a, b)]
        total += (a * scales[0]).sub_(b * scales[1]).square_().sum()
    return float(total / len(left))


def angle_deviation(rows: Tensor, *, lengths: Tensor) -> float:
    """Return the mean over pairs of |cos + 1/(K-1)| of rows, (K, D) float64; `lengths` are theirs."""
    total = rows.new_zeros(())
    for upper, lower in _tiles(len(rows)):
        total += _angle_deviations(rows[upper] @ rows[lower].T, lengths, upper, lower).abs_().sum()
    return float(total / (len(rows) * (len(rows) - 1) / 2))


def _angle_deviations(products: Tensor, lengths: Tensor, rows: slice, columns: slice) -> Tensor:
    """Turn a tile of inner products, in place, into cos + 1/(K-1) of its pairs; zeros elsewhere."""
    scales = 1 / lengths
    deviations = products.mul_(scales[rows, None]).mul_(scales[columns]).add_(1 / (len(lengths) - 1))
    if rows.start == columns.start:
        deviations[:, : len(products)].triu_(1)
    return deviations


def distance_to_simplex(left: Tensor, right: Tensor, *, inner: Tensor, squared_norm: Tensor) -> float:
    """Return |P/|P|_F - E/|E|_F|_F for P = left right^T and E = I - 11^T/K.

    With c the cosine between P and E it is sqrt(2 - 2 c). Near c = 1 that has no digits left: then, with
    s = <P, E> / (K - 1), the rest R = P/s - E is orthogonal to E, r = |R|/|E| is summed up in tiles, and the distance
    is sqrt(2 r^2 / (h (1 + h))) with h = sqrt(1 + r^2).
    `inner` is <P, E> = <left, right> - (sum of left's rows).(sum of right's rows) / K, `squared_norm` |P|_F^2. The
    result lies in [0, 2]; NaN where P is 0.
    """
    num_classes = len(left)
    cosine = float(inner / (squared_norm * (num_classes - 1)).sqrt())
    if not cosine > NEAR_SIMPLEX:
        return math.sqrt(max(0.0, 2 - 2 * cosine)) if cosine == cosine else math.nan
    scale = float(inner) / (num_classes - 1)
    rest = left.new_zeros(())
    for rows in torch.arange(num_classes, device=left.device).split(TILE_ROWS):
        tile = (left[rows] @ right.T).add_(scale / num_classes)
        tile[torch.arange(len(rows), device=left.device), rows] -= scale
        rest += tile.square_().sum()
    ratio = float(rest) / (scale**2 * (num_classes - 1))
    length = math.sqrt(1 + ratio)
    return math.sqrt(2 * ratio / (length * (1 + length)))


def smaller_gram(rows: Tensor) -> Tensor:
    """Return rows^T rows or rows rows^T of a (K, D) matrix, whichever is smaller."""
    return symmetric_product(rows, rows) if rows.shape[0] > rows.shape[1] else rows @ rows.T


def squared_product_norm(left: Tensor, right: Tensor, *, left_gram: Tensor, right_gram: Tensor) -> Tensor:
    """Return |left right^T|_F^2 of two (K, D) matrices, given their smaller Gram matrices."""
    if len(left) > left.shape[1]:
        return torch.dot(left_gram.reshape(-1), right_gram.reshape(-1))
    return (left @ right.T).square_().sum()


def _tiles(num_rows: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of tiles that cover i < j; where both start alike, i >= j comes with them."""
    for top in range(0, num_rows, TILE_ROWS):
        for left in range(top, num_rows, TILE_COLUMNS):
            yield slice(top, top + TILE_ROWS), slice(left, left + TILE_COLUMNS)
