"""Label noise of mixup: the label a blend is given against the label it would have by nature.

f(x) is the true distribution of the label at x. Mixup gives the blend X~ = w X + (1 - w) X' a label from
p = w f(X) + (1 - w) f(X'), where nature would draw from q = f(X~). Labels drawn from p and q, however coupled, differ
with probability at least their total variation distance; independent ones differ more often; a coupling that attains
it exists. The most probable labels, argmax p and argmax q, do not obey: they may agree where the distance is large.
Source: after Liu et al. 2023, Theorem 5.1; stated for drawn labels, where it holds; derived here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_labels, check_ndim, check_numbers, naming
from mixscope.base.kinds import checked
from mixscope.mixing.loss_floor import check_targets
from mixscope.theory.labels.blended_regression import checked_ends, row_weights
from mixscope.theory.labels.gaussian_classes import GaussianClasses
from mixscope.theory.weight_law import checked_weights

ROUNDING = 1e-12  # of a distance between two distributions that are equal


@dataclass(frozen=True)
class LabelNoise:
    """How wrong the labels of M blends are.

    Attributes:
        given: (M, K) float64, p, distribution of the label that mixup gives.
        true: (M, K) float64, q, distribution that the blend itself has.
        total_variation: (M,) float64 in [0, 1], sum_k |p_k - q_k| / 2: the least probability that labels drawn from
            both differ, over all couplings.
        largest_gap: (M,) float64, max_k |p_k - q_k|, at most total_variation; equal to it for two or three classes.
        independent_rate: (M,) float64 in [0, 1], 1 - sum_k p_k q_k: the probability that independent labels differ.
        argmax_differs: (M,) bool: whether the most probable labels differ; ties go to the first class.
    """

    given: Tensor
    true: Tensor
    total_variation: Tensor
    largest_gap: Tensor
    independent_rate: Tensor
    argmax_differs: Tensor

    @property
    def argmax_fails(self) -> Tensor:
        """(M,) bool: the most probable labels differ less often (0 or 1 for a given blend) than the distance asks."""
        return self.argmax_differs.to(torch.float64) < self.total_variation - ROUNDING


@dataclass(frozen=True)
class LabelNoiseCurve:
    """Means over blends at L weights.

    Attributes:
        weights: (L,) float64, w.
        total_variation: (L,) float64, mean distance: what drawn labels cannot go below.
        independent_rate: (L,) float64, mean probability that independently drawn labels differ.
        argmax_rate: (L,) float64, share of blends whose most probable labels differ.
        argmax_failures: (L,) float64, share of blends for which that is below the distance.
    """

    weights: Tensor
    total_variation: Tensor
    independent_rate: Tensor
    argmax_rate: Tensor
    argmax_failures: Tensor


@checked
def label_noise(
    posteriors: Tensor, partner_posteriors: Tensor, blend_posteriors: Tensor, *, mixing_weight: Tensor | float
) -> LabelNoise:
    """Compare the labels that mixup gives with the labels that the blends have.

    The posteriors f(X), f(X') and f(X~) are (M, K) float, M at least 1: rows at least 0 that sum to 1 within 1e-4 and
    are divided by their sum, one-hot for certain labels. The weight w of X in [0, 1] is a number or (M,) float.

    Raises:
        ValueError: If shapes differ, there are fewer than two classes, rows are no distributions, or a weight is
            outside [0, 1].

    Example:
        >>> rows = torch.eye(3)  # certain labels: of classes 0 and 1, and the blend lies in class 2, or in class 0
        >>> noise = label_noise(rows[[0, 0]], rows[[1, 1]], rows[[2, 0]], mixing_weight=0.75)
        >>> noise.total_variation.tolist(), noise.argmax_differs.tolist()
        ([1.0, 0.25], [True, False])
    """
    parts = {"posteriors": posteriors, "partner_posteriors": partner_posteriors, "blend_posteriors": blend_posteriors}
    check_targets(**parts)
    if len({rows.shape for rows in parts.values()}) > 1 or posteriors.shape[1] < 2:
        shapes = " and ".join(str(tuple(rows.shape)) for rows in parts.values())
        names = "posteriors, partner_posteriors and blend_posteriors"
        raise ValueError(f"{names} must be (M, K) alike, K at least 2, got {shapes}")
    rows = (part.detach().to(posteriors.device, torch.float64) for part in parts.values())
    own, partner, true = (part / part.sum(dim=1, keepdim=True) for part in rows)
    weights = row_weights(mixing_weight, own)
    given = torch.lerp(partner, own, weights[:, None])
    gaps = (given - true).abs()
    return LabelNoise(
        given=given,
        true=true,
        total_variation=gaps.sum(dim=1) / 2,
        largest_gap=gaps.max(dim=1).values,
        independent_rate=1 - (given * true).sum(dim=1),
        argmax_differs=given.argmax(dim=1) != true.argmax(dim=1),
    )


@checked
def gaussian_label_noise(
    classes: GaussianClasses, inputs: Tensor, partners: Tensor, *, mixing_weight: Tensor | float
) -> LabelNoise:
    """Return the label noise of blends of given inputs, with the exact posterior of Gaussian classes.

    Inputs X, partners X', weights and errors as of `mixup_noise`.

    Example:
        >>> classes = GaussianClasses(torch.tensor([[-1.0], [1.0]]), spread=1.0)
        >>> noise = gaussian_label_noise(classes, torch.tensor([[-1.0]]), torch.tensor([[1.0]]), mixing_weight=0.75)
        >>> [round(float(row[0, 0]), 4) for row in (noise.given, noise.true)]  # 1 / (1 + e^-1) is the steeper way
        [0.6904, 0.7311]
    """
    own, partner, weights = checked_ends(inputs, partners, mixing_weight)
    blends = torch.lerp(partner, own, weights[:, None])
    with naming("inputs and partners"):
        posteriors = [classes.posterior(rows) for rows in (own, partner, blends)]
    return label_noise(*posteriors, mixing_weight=weights)


@checked
def label_noise_curve(
    classes: GaussianClasses, *, mixing_weights: Tensor, num_pairs: int, generator: torch.Generator
) -> LabelNoiseCurve:
    """Return the mean label noise of random pairs at each weight, (L,) float in [0, 1], on the same pairs.

    Raises:
        ValueError: If there is no pair or a weight is outside [0, 1].
    """
    check_ndim(1, mixing_weights=mixing_weights)
    weights = checked_weights(mixing_weights, name="mixing_weights")
    check_at_least(1, num_pairs=num_pairs)
    check_numbers(num_pairs, classes.means.shape[1], num_pairs=num_pairs)
    inputs, _ = classes.sample(num_pairs, generator=generator)
    partners, _ = classes.sample(num_pairs, generator=generator)
    rows = []
    for weight in weights.tolist():
        noise = gaussian_label_noise(classes, inputs, partners, mixing_weight=weight)
        columns = (noise.total_variation, noise.independent_rate, noise.argmax_differs, noise.argmax_fails)
        rows.append(torch.stack([column.to(torch.float64).mean() for column in columns]))
    means = torch.stack(rows, dim=1) if rows else weights.new_zeros(4, 0)
    return LabelNoiseCurve(weights, *means)


@checked
def one_hot_variation(first: Tensor, second: Tensor, true: Tensor, *, mixing_weight: Tensor | float) -> Tensor:
    """Return the total variation distance, (M,) float64, for certain labels: of the members, and of the blend.

    1 - w [true = first] - (1 - w) [true = second]: 1 where the blend has intruded on a third class; 1 - w or w where it
    lies in the class of one of two different members; 0 where all three are the same. The classes of X, X' and X~ are
    (M,) integers; the weight w in [0, 1] is a number or (M,) float.

    Raises:
        ValueError: If shapes differ, labels are not integers of at least 0, or a weight is outside [0, 1].

    Example:
        >>> first, second, true = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 0], [2, 0, 1, 0]])
        >>> one_hot_variation(first, second, true, mixing_weight=0.75).tolist()
        [1.0, 0.25, 0.75, 0.0]
    """
    if first.ndim != 1 or not first.shape == second.shape == true.shape:
        shapes = " and ".join(str(tuple(labels.shape)) for labels in (first, second, true))
        raise ValueError(f"first, second and true must have the same shape (M,), got {shapes}")
    for name, labels in {"first": first, "second": second, "true": true}.items():
        check_labels(labels, num_classes=torch.iinfo(torch.int64).max, name=name)
    weights = row_weights(mixing_weight, first)
    return 1 - (weights * (true == first) + (1 - weights) * (true == second))


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
