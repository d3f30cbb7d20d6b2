"""Singular values and pseudo-inverse of the class means, at the least cost that keeps the digits."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Eigenvalues of M^T M carry an error of about 2e-16 of the largest; above this ratio they keep twelve digits.
WELL_CONDITIONED = 1e-4
BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a (K, D) matrix M, and what its pseudo-inverse is taken from."""

    shape: tuple[int, int]
    singular_values: Tensor  # (min(K, D),) float64
    directions: Tensor | None  # (min(K, D), D), right singular vectors in the same order; None where `inverse` stands
    inverse: Tensor | None  # (D, D), (M^T M)^-1, for K > D and a well-conditioned M^T M

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the normalised singular values (Roy and Vetterli 2007), from 1 to min(K, D)."""
        shares = self.singular_values / self.singular_values.sum()
        return float(torch.special.entr(shares).sum().exp())

    def trace_of_pinv_times(self, scatter: Tensor) -> float:
        """Return tr(scatter pinv(M^T M)) for a (D, D) float64 matrix; NaN where M is 0."""
        if self.inverse is not None:
            return float(torch.linalg.vecdot(self.inverse.flatten(), scatter.flatten()))
        assert self.directions is not None
        eigenvalues = self.singular_values.square()
        # Up to max(K, D) * 2.2e-16 of the largest they are the rounding of an exact 0.
        kept = eigenvalues > max(self.shape) * torch.finfo(torch.float64).eps * eigenvalues.max()
        if not kept.any():
            return math.nan
        directions = self.directions[kept]
        return float((torch.linalg.vecdot(directions @ scatter, directions) / eigenvalues[kept]).sum())


def spectrum(means: Tensor, *, gram: Tensor) -> Spectrum:
    """Decompose centred class means M, (K, D); `gram` is the smaller of M^T M and M M^T."""
    # Squaring M halves its digits: M^T M is used only where it is smaller than M and well conditioned.
    num_classes, dim = means.shape
    if num_classes > dim:
        eigenvalues = torch.linalg.eigvalsh(gram, UPLO="U")
        if eigenvalues[0] > WELL_CONDITIONED * eigenvalues[-1]:
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
            return Spectrum((num_classes, dim), eigenvalues.sqrt(), directions=None, inverse=inverse)
        means = _triangle(means)
    singular_values, directions = torch.linalg.svd(means, full_matrices=False)[1:]
    return Spectrum((num_classes, dim), singular_values, directions=directions, inverse=None)


def _triangle(matrix: Tensor) -> Tensor:
    """Return R of M = Q R, (D, D): the same singular values and right directions, without a second (K, D)."""
    triangle = matrix[:0]
    for block in matrix.split(max(BLOCK_ROWS, matrix.shape[1])):
        triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
    return triangle
