"""Mixup of whole inputs: of P points (Zhang et al. 2018; Chaudhry et al. 2022, Eq. 1), of labels alone, or none."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixscope.base.checks import check_labels, check_numbers, check_positive, check_same_length, check_size
from mixscope.base.generators import sample_dirichlet
from mixscope.base.kinds import checked
from mixscope.mixing.mixture import INPUT_SITE, Mixture


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

    A control: what mixup's labels do without its inputs. Partners and weights are those that `Mixup` draws.

    Attributes:
        alpha: Concentration of Beta(alpha, alpha), positive.
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
