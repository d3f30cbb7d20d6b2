"""Label noise of mixup in regression, w f(x) + (1 - w) f(x') - f(w x + (1 - w) x'), and how large it must be."""

from collections.abc import Callable

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_not_negative
from mixscope.base.kinds import checked, describe
from mixscope.theory.weight_law import checked_weights


@checked
def mixup_noise(
    teacher: Callable[[Tensor], Tensor], inputs: Tensor, partners: Tensor, *, mixing_weight: Tensor | float
) -> Tensor:
    """Return how far the blended label is above the label of the blend, (M,) float64, in the labels' unit.

    0 for a linear teacher, at least 0 for a convex one; its mean is not 0, so that it does not average out. The teacher
    f takes (M, D0) float64 inputs and returns (M,) labels; inputs x and partners x' are (M, D0) float, the weight w of
    x is a number or (M,) float in [0, 1]. Source: Z of Liu et al. 2023.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or a weight is outside [0, 1].

    Example:
        >>> corners, middle = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
        >>> mixup_noise(lambda x: x.square().sum(dim=1), corners, middle, mixing_weight=0.5).tolist()
        [6.25]
    """
    own, partner, weights = checked_ends(inputs, partners, mixing_weight)
    blends = torch.lerp(partner, own, weights[:, None])
    labels = [teacher(rows) for rows in (partner, own, blends)]
    if any(not isinstance(part, Tensor) or part.shape != weights.shape for part in labels):
        raise ValueError(f"teacher must give labels of shape {tuple(weights.shape)}, got {describe(labels[0])}")
    of_partner, of_own, of_blend = (part.to(weights) for part in labels)
    return torch.lerp(of_partner, of_own, weights) - of_blend


@checked
def convex_noise_floor(inputs: Tensor, partners: Tensor, *, mixing_weight: Tensor | float, convexity: float) -> Tensor:
    """Return what `mixup_noise` is at least for a strongly convex teacher: (rho / 2) w (1 - w) |x - x'|^2.

    Equal for f = rho |x|^2 / 2. Largest for even blends of distant examples. Inputs, partners, weights, result and
    errors as of `mixup_noise`; the convexity rho is at least 0: f - rho |x|^2 / 2 is convex. Source: derived here.

    Example:
        >>> corners, middle = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
        >>> convex_noise_floor(corners, middle, mixing_weight=0.5, convexity=2.0).tolist()
        [6.25]
    """
    check_not_negative(convexity=convexity)
    own, partner, weights = checked_ends(inputs, partners, mixing_weight)
    return convexity / 2 * weights * (1 - weights) * (own - partner).square().sum(dim=1)


def checked_ends(inputs: Tensor, partners: Tensor, mixing_weight: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs and partners, (M, D0), and one weight per row, all in float64 on one device."""
    if inputs.ndim != 2 or inputs.shape != partners.shape:
        shapes = f"{tuple(inputs.shape)} and {tuple(partners.shape)}"
        raise ValueError(f"inputs and partners must have the same shape (M, D0), got {shapes}")
    check_finite(inputs=inputs, partners=partners)
    own, partner = inputs.detach().to(torch.float64), partners.detach().to(inputs.device, torch.float64)
    return own, partner, row_weights(mixing_weight, own)


def row_weights(mixing_weight: Tensor | float, rows: Tensor) -> Tensor:
    """Return one checked weight per row, (M,) float64, from one for all rows or one each."""
    weights = checked_weights(mixing_weight).to(rows.device)
    if weights.shape not in (torch.Size([]), rows.shape[:1]):
        raise ValueError(f"mixing_weight must be a number or have shape ({len(rows)},), got {tuple(weights.shape)}")
    return weights.expand(len(rows))
