"""The schemes by name, and the one method every scheme has."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mixscope.mixing.cutmix import CutMix
from mixscope.mixing.manifold import ManifoldMixup
from mixscope.mixing.mixture import Mixture
from mixscope.mixing.mixup import LabelMixup, Mixup, NoMixing


@runtime_checkable
class MixingScheme(Protocol):
    """Anything that draws a mixture for a batch. The contract every scheme in `SCHEMES` is tested against.

    The same generator state gives the same draw; the global random state and the arguments stay untouched; weights lie
    in [0, 1] and rows sum to 1; any batch size from 1 up is served; labels are (B,) integers or an error.
    """

    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw a mixture for (B, ...) inputs and (B,) integer labels from a CPU generator."""
        ...


SCHEMES: Mapping[str, type[MixingScheme]] = {
    "none": NoMixing,
    "mixup": Mixup,
    "label-mixup": LabelMixup,
    "cutmix": CutMix,
    "manifold-mixup": ManifoldMixup,
}
