"""RowMix: the upper rows of one image above the lower rows of another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_ndim, check_positive
from mixscope.base.generators import sample_beta
from mixscope.base.kinds import checked
from mixscope.mixing.mixture import Mixture
from mixscope.mixing.mixup import check_batch, draw_members


@checked
@dataclass(frozen=True)
class RowMix:
    """Keep the first u H rows, u ~ Beta(alpha, alpha); the partner's rows follow."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw partners and a number of rows."""
        check_ndim(4, inputs=inputs)
        check_batch(inputs, labels)
        height = inputs.shape[2]
        members = draw_members(len(inputs), 2, generator=generator)
        rows = round(float(sample_beta(self.alpha, 1, generator=generator)) * height)
        mask = (torch.arange(height) < rows)[None, None, :, None].expand(1, 1, *inputs.shape[2:])
        weights = torch.tensor([[rows / height, 1 - rows / height]]).expand(len(inputs), -1)
        return Mixture(members=members, weights=weights, mask=mask)
