"""Grids of fixed weights: blends to look at a network along."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.mixing.mixture import Mixture
from mixscope.mixing.mixup import check_batch, draw_members, single_precision

ROW_TOLERANCE = 1e-6  # How far a row of the grid may be from summing to 1: thirds written with seven digits pass.


@checked
@dataclass(frozen=True)
class FixedWeights:
    """Blend P examples with weights that run through a grid: row i of a batch has the weights i mod G of G.

    A law for measuring. Partners are drawn as for `Mixup`; the grid begins anew with every batch, so batches of a
    multiple of G examples use every weight equally often.

    Attributes:
        weights: The grid: G rows of P shares, each at least 0 and summing to 1 within 1e-6; G at least 1.
    """

    weights: tuple[tuple[float, ...], ...] = ((0.5, 0.5),)

    def __post_init__(self) -> None:
        if not self.weights or not all(isinstance(row, tuple) and row for row in self.weights):
            raise ValueError(f"weights must be a tuple of tuples, one for each blend of the grid, got {self.weights!r}")
        lengths = sorted({len(row) for row in self.weights})
        if len(lengths) > 1:
            raise ValueError(f"weights must have rows of one length, got {' and '.join(map(str, lengths))}")
        for row in self.weights:
            if not min(row) >= 0 or not abs(math.fsum(row) - 1) <= ROW_TOLERANCE:
                raise ValueError(f"weights must have rows that are at least 0 and sum to 1, got {row}")

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw partners for a batch and give its rows the weights of the grid in turn; see `MixingScheme.draw`.

        Example:
            >>> scheme = FixedWeights(weights=((0.5, 0.5), (0.9, 0.1)))
            >>> inputs, labels = torch.zeros(3, 2), torch.tensor([0, 1, 2])
            >>> scheme.draw(inputs, labels, generator=torch.Generator().manual_seed(0)).weights[:, 0].tolist()
            [0.5, 0.8999999761581421, 0.5]
        """
        check_batch(inputs, labels)
        members = draw_members(len(inputs), len(self.weights[0]), generator=generator)
        grid = torch.tensor(self.weights, dtype=torch.float64)
        rows = single_precision(grid / grid.sum(dim=1, keepdim=True))
        return Mixture(members=members, weights=rows[torch.arange(len(inputs)) % len(rows)])
