"""Products whose result is symmetric, at little more than half the work."""

import torch
from torch import Tensor

# The upper half is multiplied in strips, about six: narrower ones compute less, but each product takes longer for it.
NUM_STRIPS = 6
SMALLEST_STRIP = 64
STRIP_STEP = 32  # widths are multiples of it


def upper_strips(matrix: Tensor) -> list[Tensor]:
    """Return views of a (D, D) matrix that cover its upper half: the i-th is `matrix[start_i:stop_i, start_i:]`."""
    size = len(matrix)
    width = max(SMALLEST_STRIP, -(-size // (NUM_STRIPS * STRIP_STEP)) * STRIP_STEP)
    return [matrix[start : start + width, start:] for start in range(0, size, width)]


def add_symmetric_product(strips: list[Tensor], left: Tensor, right: Tensor) -> None:
    """Add left^T right, (N, D) both with a symmetric product, to the `upper_strips` of a matrix."""
    transposed = left.T
    start = 0
    for strip in strips:
        stop = start + strip.shape[0]
        strip.addmm_(transposed[start:stop], right[:, start:])
        start = stop


def mirror_upper_half(matrix: Tensor) -> None:
    """Copy the upper half of a (D, D) matrix to the lower one."""
    start = 0
    for strip in upper_strips(matrix):
        stop = start + len(strip)
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T
        block = matrix[start:stop, start:stop]
        block.copy_(block.triu() + block.triu(1).T)
        start = stop


def symmetric_product(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right, (D, D), of two (N, D) matrices whose product is symmetric."""
    product = torch.zeros(left.shape[1], left.shape[1], dtype=left.dtype, device=left.device)
    add_symmetric_product(upper_strips(product), left, right)
    mirror_upper_half(product)
    return product
