"""Mixup of whole inputs: of P points (Zhang et al. 2018; Chaudhry et al. 2022, Eq. 1), of labels alone, or none.

Also blends of fixed weights to look at a network along, and the epochs in which mixing is on.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_least,
    check_labels,
    check_numbers,
    check_positive,
    check_same_length,
    check_size,
)
from mixscope.base.generators import sample_dirichlet
from mixscope.base.kinds import checked
from mixscope.mixing.mixture import INPUT_SITE, Mixture
from mixscope.mixing.schemes import MixingScheme

ROW_TOLERANCE = 1e-6  # How far fixed weights may be from summing to 1: thirds written with seven digits pass.


def check_batch(inputs: Tensor, labels: Tensor) -> None:
    """Raise unless labels are one integer per input: soft or two-dimensional labels are refused, never averaged."""
    check_same_length(inputs=inputs, labels=labels)
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype is torch.bool:
        check_labels(labels, num_classes=0)  # always raises, with the message for the shape or the dtype


@checked
def draw_members(batch_size: int, num_points: int, *, generator: torch.Generator) -> Tensor:
    """Draw (B, P) int64 partners: row i keeps itself first, then one entry of each of P - 1 uniform permutations.

    A row may meet itself, as in the reference code of Zhang et al. 2018.
    """
    check_numbers(batch_size, num_points, batch_size=batch_size, num_points=num_points)
    columns = [torch.arange(batch_size)]
    columns += [torch.randperm(batch_size, generator=generator) for _ in range(num_points - 1)]
    return torch.stack(columns, dim=1)


@dataclass(frozen=True)
class NoMixing:
    """Empirical risk minimisation: every example stays itself."""

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Return the mixture of one member with weight 1; the generator is not used. See `MixingScheme.draw`."""
        check_batch(inputs, labels)
        return Mixture(members=torch.arange(len(inputs))[:, None], weights=torch.ones(len(inputs), 1))


@checked
@dataclass(frozen=True)
class Mixup:
    """Blend P examples with weights from the symmetric Dirichlet law; P = 2 is Beta(alpha, alpha) and plain mixup.

    Source: Zhang et al. 2018 (P = 2, one weight per batch in their code); Chaudhry et al. 2022, Eq. 1 (P > 2).

    Attributes:
        alpha: Concentration, positive. 1 is uniform over the simplex; near 0 hardly mixes. Default as most studies.
        num_points: P, from 2 to a million.
        per_example: Draw one row of weights per example instead of one for the whole batch.
    """

    alpha: float = 1.0
    num_points: int = 2
    per_example: bool = False

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)
        check_size(2, num_points=self.num_points)

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw partners and weights for a batch; see `MixingScheme.draw`.

        Example:
            >>> inputs, labels = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
            >>> mixture = Mixup(alpha=1.0).draw(inputs, labels, generator=torch.Generator().manual_seed(0))
            >>> mixture.members.shape, bool((mixture.weights.sum(dim=1) == 1).all())
            (torch.Size([4, 2]), True)
        """
        check_batch(inputs, labels)
        return draw_mixture(len(inputs), self, generator=generator)


@checked
@dataclass(frozen=True)
class LabelMixup:
    """Leave every input as it is and blend the labels of two examples, with one weight per batch.

    A control: what mixup's labels do without its inputs. Partners and weights are those that `Mixup` draws, with
    Beta(alpha, alpha).
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw partners and `target_weights`; `weights` are 1 and 0. See `MixingScheme.draw`."""
        check_batch(inputs, labels)
        drawn = draw_mixture(len(inputs), Mixup(alpha=self.alpha), generator=generator)
        own = torch.tensor([[1.0, 0.0]]).expand(len(inputs), -1)
        return replace(drawn, weights=own, target_weights=drawn.weights)


@checked
@dataclass(frozen=True)
class FixedWeights:
    """Blend P examples with weights that run through a grid: row i of a batch has the weights i mod G of G.

    A law for measuring, along which a network is looked at. Partners are drawn as for `Mixup`; the grid begins anew
    with every batch, so batches of a multiple of G examples use every weight equally often.

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


@checked
def draw_mixture(batch_size: int, scheme: Mixup, *, site: str = INPUT_SITE, generator: torch.Generator) -> Mixture:
    """Draw a mixture of `scheme` for `batch_size` examples, to be blended at `site`."""
    members = draw_members(batch_size, scheme.num_points, generator=generator)
    num_rows = batch_size if scheme.per_example else 1
    weights = single_precision(sample_dirichlet(scheme.alpha, (num_rows, scheme.num_points), generator=generator))
    return Mixture(members=members, weights=weights.expand(batch_size, -1), site=site)


def single_precision(weights: Tensor) -> Tensor:
    """Return (b, P) float64 weights in float32; what rounding moves a row's sum by, 1e-7, the last weight takes up."""
    rounded = weights.to(torch.float32)
    rounded[:, -1] = (1 - rounded[:, :-1].sum(dim=1)).clamp_(min=0)
    return rounded


@checked
def scheme_at(scheme: MixingScheme, epoch: int, *, mixing_off: int | None) -> MixingScheme:
    """Return the scheme in force in an epoch, counted from 1, of a training that mixes with `scheme`.

    `mixing_off` says after how many epochs mixing stops: 200 means that epoch 200 is the last one mixed, and 0 that
    none is; None is never. (Not "the last N epochs", which other tools mean by a similar name.)

    Raises:
        ValueError: If epoch is below 1 or mixing_off negative.

    Example:
        >>> scheme_at(Mixup(), 200, mixing_off=200), scheme_at(Mixup(), 201, mixing_off=200)
        (Mixup(alpha=1.0, num_points=2, per_example=False), NoMixing())
    """
    check_at_least(1, epoch=epoch)
    if mixing_off is not None:
        check_at_least(0, mixing_off=mixing_off)
    return scheme if mixing_off is None or epoch <= mixing_off else NoMixing()
