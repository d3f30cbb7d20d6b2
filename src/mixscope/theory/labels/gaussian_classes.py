"""A mixture of Gaussians as classes: the one world in which the true label probabilities are known exactly."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_finite, check_ndim, check_numbers, check_positive
from mixscope.base.kinds import checked

SUM_TOLERANCE = 1e-9  # of the shares


@checked
@dataclass(frozen=True)
class GaussianClasses:
    """K classes; the inputs of class k are normal with mean mu_k and covariance F_k F_k^T.

    Attributes:
        means: (K, D0) float64.
        factors: (K, D0, D0) float64, F_k, lower triangular with a positive diagonal.
        shares: (K,) float64, class probabilities, positive, summing to 1.

    Raises:
        ValueError: If there are fewer than two classes, shapes do not fit, a value is not finite, a factor is not of
            that form, or shares are no distribution.
    """

    means: Tensor
    factors: Tensor
    shares: Tensor

    def __post_init__(self) -> None:
        check_ndim(2, means=self.means)
        if len(self.means) < 2:
            raise ValueError(f"means must be of at least two classes, got {len(self.means)}")
        check_finite(means=self.means, factors=self.factors, shares=self.shares)
        num_classes, dim = self.means.shape
        if self.factors.shape != (num_classes, dim, dim):
            shape = f"{(num_classes, dim, dim)}, got shape {tuple(self.factors.shape)} (to fit means)"
            raise ValueError(f"factors must have shape {shape}")
        if bool(self.factors.triu(1).any()) or not bool((self.factors.diagonal(dim1=1, dim2=2) > 0).all()):
            raise ValueError("factors must be lower triangular with a positive diagonal, got one that is not")
        off = abs(float(self.shares.sum()) - 1)
        if self.shares.shape != (num_classes,) or not float(self.shares.min()) > 0 or off > SUM_TOLERANCE:
            got = f"{self.shares.tolist()} (to fit means)"
            raise ValueError(f"shares must be {num_classes} positive numbers that sum to 1, got {got}")

    @checked
    def posterior(self, inputs: Tensor) -> Tensor:
        """Return P(class | input), f of the paper.

        Args:
            inputs: (N, D0) float.

        Returns:
            (N, K) float64; rows sum to 1. Exact in log space: far from all means too.

        Raises:
            ValueError: If the inputs do not have D0 columns or are not finite.
        """
        check_ndim(2, inputs=inputs)
        if inputs.shape[1] != self.means.shape[1]:
            raise ValueError(f"inputs must have {self.means.shape[1]} columns, got shape {tuple(inputs.shape)}")
        check_finite(inputs=inputs)
        gaps = inputs.to(self.means.device, torch.float64)[None] - self.means[:, None]  # (K, N, D0)
        whitened = torch.linalg.solve_triangular(self.factors, gaps.mT, upper=False)  # (K, D0, N)
        log_volume = self.factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        scores = (self.shares.log() - log_volume)[:, None] - whitened.square().sum(dim=1) / 2
        if not bool(scores.amax(dim=0).isfinite().all()):
            raise ValueError("inputs must have squares that float64 can hold, got an overflow")
        return torch.softmax(scores.T, dim=1)

    @checked
    def sample(self, num_examples: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw examples.

        Args:
            num_examples: N, at least 1.
            generator: A CPU generator.

        Returns:
            (N, D0) float64 inputs and (N,) int64 classes.

        Raises:
            ValueError: If there is no example.
        """
        check_at_least(1, num_examples=num_examples)
        check_numbers(num_examples, self.means.shape[1], num_examples=num_examples)
        labels = torch.multinomial(self.shares.cpu(), num_examples, replacement=True, generator=generator)
        noise = torch.randn(num_examples, self.means.shape[1], dtype=torch.float64, generator=generator)
        labels, noise = labels.to(self.means.device), noise.to(self.means.device)
        inputs = self.means[labels]
        for index, factor in enumerate(self.factors):
            inputs[labels == index] += noise[labels == index] @ factor.T
        return inputs, labels


@checked
def round_classes(means: Tensor, *, spread: float, shares: Tensor | None = None) -> GaussianClasses:
    """Return classes that scatter alike in all directions.

    Args:
        means: (K, D0) float.
        spread: Standard deviation of every coordinate around its mean, positive.
        shares: (K,) float, class probabilities; None: equal.

    Raises:
        ValueError: If there are fewer than two classes, a value is not finite, the spread is not positive, or shares
            are no distribution.

    Example:
        >>> classes = round_classes(torch.tensor([[-1.0], [1.0]]), spread=1.0)
        >>> classes.posterior(torch.tensor([[0.0], [50.0]])).tolist()  # 1 / (1 + exp(2 x))
        [[0.5, 0.5], [3.720075976020836e-44, 1.0]]
    """
    check_ndim(2, means=means)
    check_positive(spread=spread)
    num_classes, dim = means.shape
    factors = spread * torch.eye(dim, dtype=torch.float64, device=means.device).expand(num_classes, -1, -1)
    equal = torch.full((num_classes,), 1 / max(num_classes, 1), dtype=torch.float64, device=means.device)
    return GaussianClasses(means.to(torch.float64), factors, equal if shares is None else shares.to(torch.float64))


@checked
def class_triangle(radius: float, *, spread: float = 1.0) -> GaussianClasses:
    """Return three equal round classes in the plane, at `radius` from the middle: blends of two pass near the third.

    Raises:
        ValueError: If the radius or the spread is not positive and finite.

    Example:
        >>> class_triangle(2.0).posterior(torch.zeros(1, 2)).round(decimals=4).tolist()
        [[0.3333, 0.3333, 0.3333]]
    """
    check_positive(radius=radius)
    angles = 2 * math.pi * torch.arange(3, dtype=torch.float64) / 3
    return round_classes(radius * torch.stack([angles.cos(), angles.sin()], dim=1), spread=spread)
