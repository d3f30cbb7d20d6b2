"""Blends in the place of a training batch, whatever its form."""

from typing import Any

from torch import Tensor

from mixscope.base.batch_pairs import replace_in
from mixscope.mixing.mixture import INPUT_SITE, Mixture, blend, blend_targets


def blend_in(batch: Any, inputs: Tensor, labels: Tensor, mixture: Mixture, *, num_classes: int) -> None:
    """Put blended inputs and (B, K) targets in the place of a batch's own, whose tensors are left alone.

    Raises:
        ValueError: If the scheme that was drawn from blends a hidden layer, or nothing can be put into the batch.
    """
    if mixture.site != INPUT_SITE:
        raise ValueError(f"scheme must blend inputs (site {INPUT_SITE!r}), got site {mixture.site!r}")
    replace_in(batch, blend(inputs, mixture), blend_targets(labels, mixture, num_classes=num_classes))
