"""Blends in the place of a training batch, whatever its form."""

from typing import Any

import torch
from torch import Tensor

from mixscope.base.batch_pairs import replace_in
from mixscope.mixing.mixture import INPUT_SITE, blend, blend_targets
from mixscope.mixing.schemes import MixingScheme


def blend_in(
    batch: Any,
    inputs: Tensor,
    labels: Tensor,
    scheme: MixingScheme,
    *,
    num_classes: int,
    generator: torch.Generator,
) -> None:
    """Put blended inputs and (B, K) targets in the place of a batch's own, whose tensors are left alone.

    Raises:
        ValueError: If the scheme blends a hidden layer, or nothing can be put into the batch.
    """
    mixture = scheme.draw(inputs, labels, generator=generator)
    if mixture.site != INPUT_SITE:
        raise ValueError(f"scheme must blend inputs (site {INPUT_SITE!r}), got site {mixture.site!r}")
    replace_in(batch, blend(inputs, mixture), blend_targets(labels, mixture, num_classes=num_classes))
