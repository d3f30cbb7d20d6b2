"""The label noise of mixup in regression, w f(x) + (1 - w) f(x') - f(w x + (1 - w) x'), and how large it must be."""

from collections.abc import Callable

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_not_negative
from mixscope.base.kinds import checked, describe
from mixscope.theory.channel.mixed_features import checked_weights


@checked
def mixup_noise(
    teacher: Callable[[Tensor], Tensor], inputs: Tensor, partners: Tensor, *, mixing_weight: Tensor | float
) -> Tensor:
    """Return how far the blended label is above the label of the blend.

    0 for a linear teacher, at least 0 for a convex one; its mean is not 0, so that it does not average out.
    Source: Z of Liu et al. 2023.

    Args:
        teacher: f, from (M, D0) float64 inputs to (M,) labels.
        inputs: (M, D0) float, x.
        partners: (M, D0) float, x'.
        mixing_weight: w of x in [0, 1], a number or (M,) float.

    Returns:
        (M,) float64, in the labels' unit.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or a weight is outside [0, 1].

    Example:
        >>> corners, middle = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
        >>> mixup_noise(lambda x: x.square().sum(dim=1), corners, middle, mixing_weight=0.5).tolist()
        [6.25]
    """
    own, partner, weights = _checked(inputs, partners, mixing_weight)
    blends = torch.lerp(partner, own, weights[:, None])
    labels = [teacher(rows) for rows in (partner, own, blends)]
    if any(not isinstance(part, Tensor) or part.shape != weights.shape for part in labels):
        raise ValueError(f"teacher must give labels of shape {tuple(weights.shape)}, got {describe(labels[0])}")
    of_partner, of_own, of_blend = (part.to(weights) for part in labels)
    return torch.lerp(of_partner, of_own, weights) - of_blend


@checked
def convex_noise_floor(inputs: Tensor, partners: Tensor, *, mixing_weight: Tensor | float, convexity: float) -> Tensor:
    """Return what `mixup_noise` is at least for a strongly convex teacher: (rho / 2) w (1 - w) |x - x'|^2.

    Equal for f = rho |x|^2 / 2. Largest for even blends of distant examples. Source: derived here.

    Args:
        inputs: (M, D0) float, x.
        partners: (M, D0) float, x'.
        mixing_weight: w of x in [0, 1], a number or (M,) float.
        convexity: rho, at least 0: f - rho |x|^2 / 2 is convex.

    Returns:
        (M,) float64, at least 0, in the labels' unit.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a weight is outside [0, 1], or rho is negative.

    Example:
        >>> corners, middle = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
        >>> convex_noise_floor(corners, middle, mixing_weight=0.5, convexity=2.0).tolist()
        [6.25]
    """
    check_not_negative(convexity=convexity)
    own, partner, weights = _checked(inputs, partners, mixing_weight)
    return convexity / 2 * weights * (1 - weights) * (own - partner).square().sum(dim=1)


def row_weights(mixing_weight: Tensor | float, rows: Tensor) -> Tensor:
    """Return one checked weight per row, (M,) float64.

    Raises:
        ValueError: If a weight is outside [0, 1], or there is neither one for all rows nor one each.
    """
    weights = checked_weights(mixing_weight).to(rows.device)
    if weights.shape not in (torch.Size([]), rows.shape[:1]):
        raise ValueError(f"mixing_weight must be a number or have shape ({len(rows)},), got {tuple(weights.shape)}")
    return weights.expand(len(rows))


def _checked(inputs: Tensor, partners: Tensor, mixing_weight: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    if inputs.ndim != 2 or inputs.shape != partners.shape:
        raise ValueError(
            f"inputs and partners must have the same shape (M, D0), got {tuple(inputs.shape)} and "
            f"{tuple(partners.shape)}"
        )
    check_finite(inputs=inputs, partners=partners)
    weights = row_weights(mixing_weight, inputs)
    own, partner = inputs.detach().to(torch.float64), partners.detach().to(inputs.device, torch.float64)
    return own, partner, weights
