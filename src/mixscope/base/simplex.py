"""Simplex frames, centring, and the projection onto the plane of three classifiers."""

import math

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_floating, check_ndim, check_numbers, check_positive, check_size
from mixscope.base.kinds import checked

# Below this ratio of its two singular values the plane of three classifiers is taken for a line.
MIN_PLANE_RATIO = 1e-5


@checked
def simplex_etf(num_classes: int, dim: int, *, scale: float = 1.0, generator: torch.Generator) -> Tensor:
    """Draw a simplex equiangular tight frame in a random orientation.

    (K, D) float64: K >= 2 rows of length `scale` with w_c . w_c' = -scale^2 / (K - 1), which sum to zero, in D >= K - 1
    dimensions. The orientation is uniform (the orthogonal factor of a normal matrix, signs fixed).

    Raises:
        ValueError: If num_classes is below 2, dim below num_classes - 1, scale not positive and finite, or the frame
            too large for a memory.

    Example:
        >>> frame = simplex_etf(3, 5, scale=2.0, generator=torch.Generator().manual_seed(0))
        >>> [[round(value, 6) for value in row] for row in (frame @ frame.T).tolist()]
        [[4.0, -2.0, -2.0], [-2.0, 4.0, -2.0], [-2.0, -2.0, 4.0]]
    """
    check_size(2, num_classes=num_classes)
    check_size(1, dim=dim)
    check_positive(scale=scale)
    if dim < num_classes - 1:
        raise ValueError(f"dim must be at least num_classes - 1 = {num_classes - 1}, got {dim}")
    check_numbers(num_classes, max(num_classes, dim), num_classes=num_classes, dim=dim)
    normal = torch.randn(dim, num_classes - 1, dtype=torch.float64, generator=generator)
    directions, triangle = torch.linalg.qr(normal)
    directions = directions * triangle.diagonal().sign()
    return scale * math.sqrt(num_classes / (num_classes - 1)) * _helmert(num_classes) @ directions.T


@checked
def center_rows(matrix: Tensor) -> Tensor:
    """Subtract the mean of the rows from every row of (K, D) float, so that columns sum to zero; refuse all else."""
    check_ndim(2, matrix=matrix)
    check_floating(matrix=matrix)
    return matrix - matrix.mean(dim=0)


def spans_plane(corners: Tensor) -> bool:
    """Return whether three points, (3, D) float, do not lie on one line (three zeros do)."""
    sizes = torch.linalg.svdvals(center_rows(corners.detach().to(torch.float64)))
    return len(sizes) >= 2 and bool(sizes[1] > MIN_PLANE_RATIO * sizes[0])


@checked
def project_to_classifier_plane(features: Tensor, head_weight: Tensor, *, classes: tuple[int, int, int]) -> Tensor:
    """Project features onto the plane through the classifiers of three classes.

    With W the three rows, mu their mean, W - mu = U S V^T on its two directions and Q = U V^T, the picture is
    A Q (H - mu)^T with A = sqrt(2) [[1/2, -1/2, 0], [0, 0, sqrt(3/4)]] (I - 11^T / 3).
    The three classifiers of a simplex frame become an equilateral triangle: the first class to the right below, the
    second to the left below, the third at the top.

    Source: Fisher et al. 2024, App. B.2. Deviation: a plane is called degenerate by the ratio of the two singular
    values rather than their size, so that the answer does not depend on the scale of the classifier.

    Args:
        features: (N, D) float, not centred: the classifiers' own mean is subtracted.
        head_weight: (K, D) float, one row per class.
        classes: Three different class indices; their order says where each is drawn.

    Returns:
        (N, 2) float64.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a class is not in [0, K) or named twice, or the three
            classifiers lie on one line.

    Example:
        >>> frame = simplex_etf(4, 6, generator=torch.Generator().manual_seed(0))
        >>> corners = project_to_classifier_plane(frame, frame, classes=(0, 1, 2))[:3]
        >>> [round(float(side), 4) for side in torch.pdist(corners)]
        [1.633, 1.633, 1.633]
    """
    check_ndim(2, features=features, head_weight=head_weight)
    check_finite(features=features, head_weight=head_weight)
    num_classes, dim = head_weight.shape
    if features.shape[1] != dim:
        raise ValueError(f"features must have the {dim} columns of head_weight, got {features.shape[1]}")
    if len(set(classes)) != 3 or not all(0 <= index < num_classes for index in classes):
        got = f"{tuple(classes)} (rows of head_weight)"
        raise ValueError(f"classes must be three different indices in [0, {num_classes}), got {got}")
    corners = head_weight.detach().to(features.device, torch.float64)[list(classes)]
    if not spans_plane(corners):
        raise ValueError(f"head_weight must span a plane at classes {tuple(classes)}, got three rows on one line")
    middle = corners.mean(dim=0)
    left, _, right = torch.linalg.svd(corners - middle, full_matrices=False)
    polar = left[:, :2] @ right[:2]
    triangle = math.sqrt(2) * polar.new_tensor([[0.5, -0.5, 0.0], [0.0, 0.0, math.sqrt(0.75)]])
    picture = center_rows(triangle.T).T @ polar
    return (features.detach().to(torch.float64) - middle) @ picture.T


def _helmert(num_classes: int) -> Tensor:
    """Return (K, K - 1) float64, an orthonormal basis of the vectors whose entries sum to zero."""
    columns = torch.ones(num_classes, num_classes - 1, dtype=torch.float64).triu()
    order = torch.arange(1, num_classes, dtype=torch.float64)
    columns[torch.arange(1, num_classes), torch.arange(num_classes - 1)] = -order
    return columns / (order * (order + 1)).sqrt()
