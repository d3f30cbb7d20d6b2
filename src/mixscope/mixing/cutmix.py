"""CutMix: a region of one image pasted into another (Yun et al. 2019)."""

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
class CutMix:
    """Replace one box, the same for the whole batch, by the partner's pixels; labels share by the area that is kept.

    The box has sides sqrt(1 - u) of the image's, u ~ Beta(alpha, alpha), and a uniform centre; what falls outside the
    image is clipped, and the share is counted after clipping. Source: Yun et al. 2019, Sec. 3.1 and Algorithm 1.

    Attributes:
        alpha: Concentration of the law of u, positive. Default: Yun et al. 2019.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw partners and one box: a (1, 1, H, W) mask of kept pixels, and the kept share as weight.

        Inputs must be (B, C, H, W) images; else see `MixingScheme.draw`.
        """
        check_ndim(4, inputs=inputs)
        check_batch(inputs, labels)
        height, width = inputs.shape[-2:]
        if not height * width:
            raise ValueError(f"inputs must be images of at least one pixel, got shape {tuple(inputs.shape)}")
        members = draw_members(len(inputs), 2, generator=generator)
        side = float((1 - sample_beta(self.alpha, 1, generator=generator)).sqrt())
        rows = _kept_outside(height, int(height * side), generator=generator)
        columns = _kept_outside(width, int(width * side), generator=generator)
        mask = rows[:, None] | columns[None, :]
        kept = float(mask.sum()) / (height * width)
        weights = torch.tensor([[kept, 1 - kept]]).expand(len(inputs), -1)
        return Mixture(members=members, weights=weights, mask=mask[None, None])


def _kept_outside(length: int, box: int, *, generator: torch.Generator) -> Tensor:
    """Return (length,) bool: True outside 2 (box // 2) pixels around a uniform centre, clipped to the image."""
    center = int(torch.randint(length, (1,), generator=generator))
    positions = torch.arange(length)
    return (positions < center - box // 2) | (positions >= center + box // 2)
