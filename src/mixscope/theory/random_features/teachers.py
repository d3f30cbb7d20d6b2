"""Teachers, fixed tanh features, and blends of examples and labels: the toy of random features.

Inputs are standard normal; a fixed first layer phi turns them into D features; only the layer on top is trained. A
teacher in the span of phi can be met exactly, so that every error left is the labels' doing; one outside cannot.
Source: after the random-feature least squares of Liu et al. 2023; the sizes and laws here are ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_most,
    check_finite,
    check_floating,
    check_ndim,
    check_numbers,
    check_positive,
    check_shape,
    check_size,
)
from mixscope.base.kinds import checked
from mixscope.theory.weight_law import checked_weights

GAIN = 3.0  # Ours: tanh well into its bends, so that blends and labels do not fit linearly.
LARGEST_GAIN = 1e100  # features are signs long before
WIDTH = 10  # Ours: hidden units of the teacher outside the span.

Teacher = Callable[[Tensor], Tensor]  # (N, D0) float64 inputs -> (N,) float64 labels


@dataclass(frozen=True)
class TanhFeatures:
    """phi(x) = tanh(x A) / sqrt(D), with a fixed matrix A, (D0, D) float64. |phi(x)|^2 is at most 1."""

    matrix: Tensor

    @checked
    def __call__(self, inputs: Tensor) -> Tensor:
        """Return (N, D) float64 features of (N, D0) inputs.

        Raises:
            ValueError: If the inputs are not (N, D0) or not finite.
        """
        check_shape((*inputs.shape[:1], len(self.matrix)), of="the features", inputs=inputs)
        check_finite(inputs=inputs)
        return torch.tanh(inputs.to(torch.float64) @ self.matrix) / math.sqrt(self.matrix.shape[1])


@dataclass(frozen=True)
class SpanTeacher:
    """Labels in the span of the features, phi(x) theta, theta (D,) float64: a student on them can meet them exactly."""

    features: TanhFeatures
    coefficients: Tensor

    @checked
    def __call__(self, inputs: Tensor) -> Tensor:
        """Return (N,) float64 labels of (N, D0) inputs, which are checked as the features check them."""
        return self.features(inputs) @ self.coefficients


@checked
def tanh_features(input_dim: int, num_features: int, *, gain: float = GAIN, generator: torch.Generator) -> TanhFeatures:
    """Draw features whose arguments are gain times a standard normal number for standard normal inputs.

    Towards a gain of 0 the features become linear, towards infinity signs.

    Raises:
        ValueError: If a size is below 1 or the gain not in (0, 1e100].
    """
    check_size(1, input_dim=input_dim, num_features=num_features)
    check_numbers(input_dim, num_features, input_dim=input_dim, num_features=num_features)
    check_positive(gain=gain)
    check_at_most(LARGEST_GAIN, gain=gain)
    matrix = torch.randn(input_dim, num_features, dtype=torch.float64, generator=generator)
    return TanhFeatures(matrix * (gain / math.sqrt(input_dim)))


@checked
def span_teacher(features: TanhFeatures, *, generator: torch.Generator) -> SpanTeacher:
    """Draw a teacher in the span of the student's features, with standard normal coefficients: variance below 1."""
    num_features = features.matrix.shape[1]
    return SpanTeacher(features, torch.randn(num_features, dtype=torch.float64, generator=generator))


@checked
def two_layer_teacher(features: TanhFeatures, *, generator: torch.Generator) -> SpanTeacher:
    """Draw a teacher outside the span of the student's features: ten tanh units of its own, at gain 3."""
    return span_teacher(tanh_features(len(features.matrix), WIDTH, generator=generator), generator=generator)


@dataclass(frozen=True)
class Pairs:
    """All ordered pairs (i, j) of N examples, with itself too, and their first members' weights, (N, N) in [0, 1]."""

    weights: Tensor

    @checked
    def blend(self, values: Tensor) -> Tensor:
        """Return (N^2, ...), weight * values[i] + (1 - weight) * values[j], exact for equal members.

        Raises:
            ValueError: If values are not (N, ...) float.
        """
        check_floating(values=values)
        check_shape((len(self.weights), *values.shape[1:]), of="the pairs", values=values)
        weights = self.weights.to(values.dtype).view(*self.weights.shape, *[1] * (values.ndim - 1))
        return torch.lerp(values[None], values[:, None], weights).flatten(0, 1)


@checked
def all_pairs(weights: Tensor) -> Pairs:
    """Return the pairs with these weights, (N^2,) float in [0, 1].

    Raises:
        ValueError: If the number of weights is no square, or one is outside [0, 1].

    Example:
        >>> pairs = all_pairs(torch.tensor([1.0, 0.25, 0.5, 1.0]))
        >>> pairs.blend(torch.tensor([0.0, 4.0], dtype=torch.float64)).tolist()
        [0.0, 3.0, 2.0, 4.0]
    """
    check_ndim(1, weights=weights)
    shares = checked_weights(weights, name="weights")
    num_examples = math.isqrt(len(shares))
    if num_examples**2 != len(shares) or not num_examples:
        raise ValueError(f"weights must be one for each of N^2 pairs, got {len(shares)}")
    return Pairs(shares.view(num_examples, num_examples))
