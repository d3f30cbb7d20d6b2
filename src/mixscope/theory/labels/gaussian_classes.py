"""Gaussian classes: the one world in which the true label probabilities are known exactly."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_least,
    check_finite,
    check_floating,
    check_ndim,
    check_numbers,
    check_positive,
    check_shape,
)
from mixscope.base.kinds import checked


@checked
@dataclass(frozen=True)
class GaussianClasses:
    """K equally probable classes; the inputs of each are normal around its mean, alike in all directions.

    Attributes:
        means: (K, D0) float, kept in float64.
        spread: Standard deviation of every coordinate around its mean, positive.

    Raises:
        ValueError: If there are fewer than two classes, a mean is not finite, or the spread not positive and finite.

    Example:
        >>> classes = GaussianClasses(torch.tensor([[-1.0], [1.0]]), spread=1.0)
        >>> classes.posterior(torch.tensor([[0.0], [50.0]])).tolist()  # 1 / (1 + exp(2 x))
        [[0.5, 0.5], [3.720075976020836e-44, 1.0]]
    """

    means: Tensor
    spread: float

    def __post_init__(self) -> None:
        check_ndim(2, means=self.means)
        check_floating(means=self.means)
        check_finite(means=self.means)
        if len(self.means) < 2:
            raise ValueError(f"means must be of at least two classes, got {len(self.means)}")
        check_positive(spread=self.spread)
        object.__setattr__(self, "means", self.means.to(torch.float64))

    @checked
    def posterior(self, inputs: Tensor) -> Tensor:
        """Return P(class | input), f of the paper, of (N, D0) float inputs: (N, K) float64, rows that sum to 1.

        Exact in log space: far from all means too.

        Raises:
            ValueError: If the inputs do not have D0 columns or are not finite.
        """
        check_ndim(2, inputs=inputs)
        check_shape((len(inputs), self.means.shape[1]), of="the means", inputs=inputs)
        check_finite(inputs=inputs)
        gaps = (inputs.to(self.means.device, torch.float64)[None] - self.means[:, None]) / self.spread  # (K, N, D0)
        scores = -gaps.square().sum(dim=2) / 2
        if not bool(scores.amax(dim=0).isfinite().all()):
            raise ValueError("inputs must have squares that float64 can hold, got an overflow")
        return torch.softmax(scores.T, dim=1)

    @checked
    def sample(self, num_examples: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw (N, D0) float64 inputs and their (N,) int64 classes, N at least 1, with a CPU generator.

        Raises:
            ValueError: If there is no example.
        """
        check_at_least(1, num_examples=num_examples)
        check_numbers(num_examples, self.means.shape[1], num_examples=num_examples)
        equal = torch.full((len(self.means),), 1 / len(self.means), dtype=torch.float64)
        labels = torch.multinomial(equal, num_examples, replacement=True, generator=generator)
        noise = torch.randn(num_examples, self.means.shape[1], dtype=torch.float64, generator=generator)
        labels, noise = labels.to(self.means.device), noise.to(self.means.device)
        return self.means[labels] + self.spread * noise, labels


@checked
def class_triangle(radius: float, *, spread: float = 1.0) -> GaussianClasses:
    """Return three classes in the plane, at `radius` from the middle: blends of two pass near the third.

    Raises:
        ValueError: If the radius or the spread is not positive and finite.
    """
    check_positive(radius=radius)
    angles = 2 * math.pi * torch.arange(3, dtype=torch.float64) / 3
    return GaussianClasses(radius * torch.stack([angles.cos(), angles.sin()], dim=1), spread=spread)
