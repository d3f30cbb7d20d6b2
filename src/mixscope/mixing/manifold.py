"""Manifold mixup: mixing at hidden layers of any network (Verma et al. 2019), through hooks that always come off."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from mixscope.base.kinds import checked
from mixscope.capturing.sites import hooked
from mixscope.mixing.mixture import INPUT_SITE, Mixture, blend
from mixscope.mixing.mixup import Mixup, check_batch, draw_mixture


@checked
@dataclass(frozen=True)
class ManifoldMixup:
    """Blend the batch at one random place among `sites`: the input, or the output of a named module.

    Source: Verma et al. 2019, Sec. 2 (one weight per batch, alpha 2 on CIFAR). Labels are blended by the caller, with
    the same mixture, whatever the site.

    Attributes:
        alpha: Concentration of Beta(alpha, alpha), positive.
        sites: Names of modules (as in `model.named_modules()`) whose output is blended, "NAME:input" for the input of
            one, or "input" for the network's; at least one.
    """

    alpha: float = 2.0
    _: KW_ONLY
    sites: tuple[str, ...]

    def __post_init__(self) -> None:
        Mixup(alpha=self.alpha)  # checks alpha
        if not self.sites or isinstance(self.sites, str):
            raise ValueError(f"sites must be a tuple with at least one module name, got {self.sites!r}")

    @checked
    def draw(self, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
        """Draw a site, which the mixture names, partners and one weight; see `MixingScheme.draw`."""
        check_batch(inputs, labels)
        site = self.sites[int(torch.randint(len(self.sites), (1,), generator=generator))]
        return draw_mixture(len(inputs), Mixup(alpha=self.alpha), site=site, generator=generator)


@checked
@contextmanager
def blending_at(model: nn.Module, mixture: Mixture) -> Iterator[None]:
    """Blend what the module `mixture.site` gives ("NAME:input": gets) in the forward pass run inside this block.

    Activation checkpointing computes layers again in the backward pass, which then must blend them again: where it is
    used, run the backward pass inside the block too. Of `DistributedDataParallel` the wrapped module is meant. Members
    index the rows of the batch that goes through. At the site "input" nothing is done: blend the inputs yourself.

    Raises:
        ValueError: If the model has no module of that name (near names are listed), what is blended is not a tensor of
            one row per example, the module was not passed through exactly once (a compiled network does not see that
            something is to be blended), or it is checkpointed and the backward pass was not run inside the block.
    """
    if mixture.site == INPUT_SITE:
        yield
        return
    passes = passes_again = 0
    is_checkpointed = False

    def blend_rows(value: Any) -> Tensor:
        nonlocal passes, passes_again, is_checkpointed
        if torch._C._current_graph_task_id() != -1:  # in a backward pass; checkpointing asks in the same way
            passes_again += 1
        else:
            passes += 1
            is_checkpointed = is_checkpointed or _in_checkpoint()
        if not isinstance(value, Tensor) or len(value) != len(mixture.members):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"site {mixture.site!r} must be a tensor of one row per example, got {got}")
        return blend(value, mixture)

    with hooked(model, {mixture.site: blend_rows}):
        yield
    if passes != 1:
        raise ValueError(f"site {mixture.site!r} must be passed through exactly once in the block, got {passes} times")
    if is_checkpointed and not passes_again and torch.is_grad_enabled():
        raise ValueError(
            f"site {mixture.site!r} lies where activation checkpointing computes again in the backward pass, "
            "which then must run inside the block too, got none"
        )


def _in_checkpoint() -> bool:
    """Return whether torch's activation checkpointing is what called."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != checkpoint.__file__:
        frame = frame.f_back
    return frame is not None
