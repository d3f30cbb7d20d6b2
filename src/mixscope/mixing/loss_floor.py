"""Floor of the training loss under mixing, and how far a loss is above it (after Liu et al. 2023, Lemma 3.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim, check_numbers, check_positive, check_same_length, check_size
from mixscope.base.kinds import checked

LARGEST_ALPHA = 1e15  # from here on the weights are all equal, to the last digit
SUM_TOLERANCE = 1e-4  # How far class frequencies or a target may be from summing to 1: float32 rounding with room.


@checked
def mixup_loss_floor(alpha: float, class_frequencies: Sequence[float] | Tensor, *, num_points: int = 2) -> float:
    """Return the mean entropy of blended labels: the lowest cross-entropy any network can have on blends.

    A blend of P examples has Dirichlet(alpha, ..., alpha) weights and classes drawn independently with probabilities
    p_k. A class that j of the members share has a weight from Beta(j alpha, (P - j) alpha), whose mean of -w log w is
    (j / P)(psi(P alpha + 1) - psi(j alpha + 1)), psi the digamma function. Summed over classes and numbers of members:

        sum_k sum_j Binomial(j; P, p_k) (j / P) (psi(P alpha + 1) - psi(j alpha + 1)).

    For P = 2 it is (1 - sum_k p_k^2)(psi(2 alpha + 1) - psi(alpha + 1)): (K - 1) / (2K) for alpha 1 and equal classes.
    It holds for partners from the whole set. Partners from a batch of B of the N examples share a class more often, as
    a row may meet itself: for P = 2 that lowers it by the factor 1 - (N - B) / (B (N - 1)), 1.5% at B = 50 of 200.
    `soft_target_entropy` has neither that difference nor sampling noise. The floor of the squared error is 0.
    Source: after Liu et al. 2023, Lemma 3.1 (alpha 1, P = 2, equal classes); the general form is derived here.

    Args:
        alpha: Concentration of the weights' law, positive.
        class_frequencies: K numbers p_k, at least 0, that sum to 1 within 1e-4.
        num_points: P, from 1 to a million; 1 mixes nothing.

    Returns:
        In nats, in [0, log P]: float64, right to 1e-13 for every alpha and up to 100 points. To be compared with a loss
        without label smoothing.

    Raises:
        ValueError: If alpha is not positive and finite, frequencies are no distribution, or num_points is below 1.

    Example:
        >>> round(mixup_loss_floor(1.0, [0.1] * 10), 6)
        0.45
    """
    check_positive(alpha=alpha)
    check_size(1, num_points=num_points)
    frequencies = torch.as_tensor(class_frequencies, dtype=torch.float64, device="cpu").detach()
    check_ndim(1, class_frequencies=frequencies)
    check_finite(class_frequencies=frequencies)
    if not len(frequencies) or float(frequencies.min()) < 0 or abs(float(frequencies.sum()) - 1) > SUM_TOLERANCE:
        raise ValueError(f"class_frequencies must be at least 0 and sum to 1, got {frequencies.tolist()}")
    check_numbers(num_points, len(frequencies), num_points=num_points, class_frequencies=f"{len(frequencies)} classes")
    shared = torch.arange(1, num_points + 1, dtype=torch.float64)
    total = torch.tensor(float(num_points), dtype=torch.float64)
    log_ways = torch.lgamma(total + 1) - torch.lgamma(shared + 1) - torch.lgamma(total - shared + 1)
    own, other = frequencies[:, None], 1 - frequencies[:, None]
    # xlogy: a class of frequency 0 or 1 has probability 0 of all numbers of members but one.
    binomial = torch.exp(log_ways + torch.xlogy(shared, own) + torch.xlogy(total - shared, other.clamp(min=0)))
    law = min(alpha, LARGEST_ALPHA)
    rises = torch.digamma(law * total + 1) - torch.digamma(law * shared + 1)
    return max(0.0, float((binomial * shared / num_points * rises).sum()))


@checked
def soft_target_entropy(targets: Tensor) -> Tensor:
    """Return the entropy of every target: the part of its cross-entropy that no network can remove.

    Targets are (N, K) float, rows at least 0 and summing to 1 within 1e-4; smoothed labels as trained on. The entropies
    are (N,) float64 in [0, log K], in nats; 0 for a hard label.

    Raises:
        ValueError: If targets are not distributions.

    Example:
        >>> soft_target_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).tolist()
        [0.6931471805599453, 0.0]
    """
    check_targets(targets=targets)
    return torch.special.entr(targets.detach().to(torch.float64)).sum(dim=1)


@checked
def loss_floor_gap(logits: Tensor, targets: Tensor) -> float:
    """Return how far the cross-entropy of blends is above its floor: the mean Kullback-Leibler divergence.

    mean_i sum_k t_ik (log t_ik - log softmax(z_i)_k): the loss minus the entropy of the very targets it was taken on,
    so weights drawn at random add no noise of their own. It falls towards 0 as the blended labels, the wrong ones
    among them, are learned by heart. Source: after Liu et al. 2023, Lemma 3.1.

    Args:
        logits: (N, K) float, N at least 1. Computed in float64.
        targets: (N, K) float, rows at least 0 and summing to 1 within 1e-4.

    Returns:
        In nats, at least 0; neither end is good: large has not learned, 0 has memorised.

    Raises:
        ValueError: If shapes differ, there are no examples, logits are not finite, or targets are not distributions.

    Example:
        >>> loss_floor_gap(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
        0.0
    """
    check_ndim(2, logits=logits)
    check_targets(targets=targets)
    check_same_length(logits=logits, targets=targets)
    if logits.shape != targets.shape or not logits.is_floating_point():
        got = f"{logits.dtype} of shape {tuple(logits.shape)}"
        raise ValueError(f"logits must be float of shape {tuple(targets.shape)}, got {got}")
    check_finite(logits=logits)
    wanted = targets.detach().to(torch.float64)
    log_probabilities = F.log_softmax(logits.detach().to(wanted.device, torch.float64), dim=1)
    divergences = -(wanted * log_probabilities).sum(dim=1) - soft_target_entropy(wanted)
    return max(0.0, float(divergences.mean()))  # rounding can leave -1e-17 where the targets are met exactly


def check_targets(**tensors: Tensor) -> None:
    """Raise unless every tensor is (N, K) float with rows that are distributions, N at least 1."""
    for name, targets in tensors.items():
        check_ndim(2, **{name: targets})
        if not targets.is_floating_point() or not targets.numel():
            got = f"{targets.dtype} of shape {tuple(targets.shape)}"
            raise ValueError(f"{name} must be floating point with at least one row and class, got {got}")
        check_finite(**{name: targets})
        low = float(targets.min())
        off = float((targets.detach().to(torch.float64).sum(dim=1) - 1).abs().max())
        if low < 0 or off > SUM_TOLERANCE:
            got = f"a smallest entry of {low:g} and a row that is off by {off:.2g}"
            raise ValueError(f"{name} must have rows at least 0 that sum to 1 within {SUM_TOLERANCE:g}, got {got}")
