"""Laws of the mixing weight: Beta(alpha, alpha), or finitely many values with their probabilities."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_positive, check_size, check_within
from mixscope.base.kinds import checked

SUM_TOLERANCE = 1e-9  # of the probabilities
# The integrands are analytic for imaginary parts of log(w / (1 - w)) below about pi / log(K): with many classes a logit
# bends where a w is around log(K). The trapezoidal rule's error is exp(-2 pi (pi / log K) / step), so 1e-16 or less.
LOGIT_STEP = 0.25
LOG_CLASSES_STEP = 0.5
SPREADS_PER_STEP = 0.4  # the same against a narrow law: exp(-2 pi^2 / 0.4^2)
EVEN = 1e13  # alpha from which a function of the blend has its mean in the middle, to 1e-13: Var(w) = 1 / (8 alpha)
STIRLING = 100.0  # alpha from which three terms of Stirling's series are exact, and lgamma begins to lose digits
CUT = 46.0  # nats: exp(-46) = 1e-20 of the integral is left out


def checked_weights(mixing_weight: Tensor | float, *, name: str = "mixing_weight") -> Tensor:
    """Return weights in float64 after checking that they lie in [0, 1]."""
    weights = torch.as_tensor(mixing_weight, dtype=torch.float64).detach()
    check_finite(**{name: weights})
    check_within(0, 1, **{name: weights})
    return weights


@checked
@dataclass(frozen=True)
class BetaLaw:
    """Beta(alpha, alpha), the law of mixup. alpha = 1 is uniform.

    Attributes:
        alpha: Positive; towards 0 blends become rare, towards infinity all blends are even.

    Raises:
        ValueError: If alpha is not positive and finite.
    """

    alpha: float

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha)

    @property
    def mean_square(self) -> float:
        """E[w^2 + (1 - w)^2] = (alpha + 1) / (2 alpha + 1), in [1/2, 1]; 1 without mixing."""
        return 0.5 + 0.5 / (2 * self.alpha + 1)

    @checked
    def nodes(self, *, gain: float, num_classes: int) -> tuple[Tensor, Tensor]:
        """Return weights and masses that give the mean of a function g of an optimal blend, g(w) = g(1 - w).

        The trapezoidal rule in log(w / (1 - w)), which resolves the layers of width 1 / gain at both ends that
        Gauss-Jacobi nodes in w would miss. What the rule leaves of the mass stands at w = 0: it integrates g - g(0),
        which vanishes at the ends however small alpha is. The gain is a of `logit_gain`: g changes around w = 1 / gain.

        Returns:
            Weights in [0, 1/2] and masses that sum to 1, each (Q,) float64. Relative error of the mean of |z|^2 below
            1e-12 for every alpha and gains up to 1e12.

        Raises:
            ValueError: If the gain is not positive and finite, or num_classes is below 2.
        """
        check_positive(gain=gain)
        check_size(2, num_classes=num_classes)
        alpha = min(self.alpha, EVEN)
        # Var(w) = 1 / (4 (2 alpha + 1)) and dw = d logit / 4 in the middle.
        spread = 2 / math.sqrt(2 * alpha + 1)
        step = min(LOGIT_STEP, LOG_CLASSES_STEP / math.log(num_classes), SPREADS_PER_STEP * spread)
        # Either the density, (2 cosh(logit / 2))^(-2 alpha), or g - g(0) ends it.
        density_end = 2 * (CUT / (2 * alpha) + math.log(2.0))
        if density_end < 40:
            density_end = 2 * math.acosh(math.exp(CUT / (2 * alpha)))
        end = min(density_end, math.log1p(gain) + CUT)
        logits = -step * torch.arange(math.ceil(end / step) + 1, dtype=torch.float64)
        masses = 2 * step * log_odds_density(logits, alpha).exp()
        masses[0] /= 2  # the middle is its own mirror image
        edge = 1 - masses.sum(dim=0, keepdim=True)
        return torch.cat([logits.sigmoid(), logits.new_zeros(1)]), torch.cat([masses, edge])


def log_beta_peak(alpha: float) -> float:
    """Return log(4^alpha B(alpha, alpha)), what Beta(alpha, alpha) is normalised by relative to its middle."""
    # log(2 sqrt(pi) Gamma(alpha) / Gamma(alpha + 1/2)), by Legendre's duplication formula: right to 1e-13.
    if alpha < STIRLING:
        rise = math.lgamma(alpha) - math.lgamma(alpha + 0.5)
    else:
        inverse = 1 / alpha
        rise = inverse * (1 / 8 - inverse**2 / 192 + inverse**4 / 640) - math.log(alpha) / 2
    return math.log(2) + math.log(math.pi) / 2 + rise


def log_odds_density(log_odds: Tensor, alpha: float) -> Tensor:
    """Return the logarithm of the density of l = log(w / (1 - w)), (...) float64, w from Beta(alpha, alpha)."""
    # -2 alpha log cosh(l / 2) less the normalisation, with the digits that large alpha would lose.
    size = log_odds.abs()
    far = size / 2 - math.log(2) + (-size).exp().log1p()
    near = (2 * (size.clamp(max=4.0) / 4).sinh().square()).log1p()  # cosh(l / 2) = 1 + 2 sinh(l / 4)^2
    return -2 * alpha * torch.where(size < 4, near, far) - log_beta_peak(alpha)


@checked
@dataclass(frozen=True)
class FiniteLaw:
    """Finitely many weights with their probabilities. `FiniteLaw((1.0,), (1.0,))` is training without mixing.

    Attributes:
        weights: In [0, 1], at least one.
        probabilities: One each, positive, summing to 1.

    Raises:
        ValueError: If the lengths differ, a weight is outside [0, 1], or the probabilities are not positive or do not
            sum to 1.
    """

    weights: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.probabilities):
            lengths = f"{len(self.weights)} and {len(self.probabilities)}"
            raise ValueError(f"weights and probabilities must be as many, at least 1, got {lengths}")
        if not all(0 <= weight <= 1 for weight in self.weights):
            raise ValueError(f"weights must lie in [0, 1], got {self.weights}")
        if not all(share > 0 for share in self.probabilities):
            raise ValueError(f"probabilities must be positive, got {self.probabilities}")
        if not abs(math.fsum(self.probabilities) - 1) <= SUM_TOLERANCE:
            raise ValueError(f"probabilities must sum to 1, got {math.fsum(self.probabilities)}")

    @property
    def mean_square(self) -> float:
        """E[w^2 + (1 - w)^2]."""
        pairs = zip(self.weights, self.probabilities, strict=True)
        return math.fsum(share * (weight**2 + (1 - weight) ** 2) for weight, share in pairs)

    @checked
    def nodes(self, *, gain: float, num_classes: int) -> tuple[Tensor, Tensor]:
        """Return the law itself, each (Q,) float64; neither argument matters."""
        return torch.tensor(self.weights, dtype=torch.float64), torch.tensor(self.probabilities, dtype=torch.float64)


WeightLaw = BetaLaw | FiniteLaw
