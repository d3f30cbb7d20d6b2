"""Draws of the label that mixup gives a blend and of the label that it has: independent, and as alike as can be."""

import torch
from torch import Tensor

from mixscope.base.kinds import checked
from mixscope.theory.labels.noisy_labels import LabelNoise


@checked
def independent_labels(noise: LabelNoise, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw given and true labels of all blends, (M,) int64 each, independently: they differ with `independent_rate`."""
    return _draw(noise.given, generator=generator), _draw(noise.true, generator=generator)


@checked
def coupled_labels(noise: LabelNoise, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw given and true labels, (M,) int64 each, that agree as often as they can: they differ with total_variation.

    With probability 1 - TV both are the same draw from min(p, q); else one is from p - min(p, q), the other from
    q - min(p, q), which share no class. Each label alone still has the law p, or q. Source: the maximal coupling.
    """
    common = torch.minimum(noise.given, noise.true)
    uniform = torch.rand(len(common), dtype=torch.float64, generator=generator).to(common.device)
    is_apart = uniform < noise.total_variation
    same = _draw(common, generator=generator)
    given = torch.where(is_apart, _draw(noise.given - common, generator=generator), same)
    true = torch.where(is_apart, _draw(noise.true - common, generator=generator), same)
    return given, true


def _draw(masses: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draw one class per row in proportion to its masses; a class of mass 0 never, any class where all are 0."""
    heights = masses.cumsum(dim=1)
    total = heights[:, -1:]
    uniform = torch.rand(len(masses), 1, dtype=torch.float64, generator=generator).to(masses.device)
    # Rounding must not lift the level to the total itself, where a class of mass 0 could be the last.
    level = torch.minimum(uniform * total, torch.nextafter(total, -torch.ones_like(total)))
    return torch.searchsorted(heights, level, right=True).squeeze(1).clamp(max=masses.shape[1] - 1)
