"""Minimiser of the joint problem of classifier and features from random starts, assuming nothing about its shape."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mixscope.base.checks import check_numbers, check_size
from mixscope.base.kinds import checked
from mixscope.theory.channel.joint_scale import classifier_scale
from mixscope.theory.solution import Solution, solved
from mixscope.theory.weight_law import FiniteLaw

GRADIENT_TOLERANCE = 1e-6  # of the largest entry; L-BFGS reaches 1e-8 where the problem is well conditioned
MAX_ITERATIONS = 5000
START_SIZE = 0.3  # of the entries at the start, well away from the saddle at zero
SIMPLEX_DEVIATION = 1e-3  # seen: below 1e-5 for a simplex, above 0.1 where there is no room for one


@dataclass(frozen=True)
class JointCheck:
    """What a generic minimiser finds for the joint problem.

    Attributes:
        gram_deviation: Of the best start, | G / |G| - E / |E| |_F with G = W W^T and E = I - 11^T / K; 0 for a
            simplex frame, NaN where W has collapsed to zero.
        gram_deviations: The same for every start.
        objective: The lowest value found, in nats.
        objective_gap: (objective - that of the simplex solution) / the latter; at least 0 up to rounding, and positive
            where D leaves no room for a simplex.
        balance_gap: Relative difference of the energies classifier penalty |W|^2 and feature penalty E|h|^2; 0 where
            W has collapsed.
        scale: Root mean squared length of the rows of W at the best start.
        is_simplex: Whether gram_deviation is below 1e-3.
    """

    gram_deviation: float
    gram_deviations: tuple[float, ...]
    objective: float
    objective_gap: float
    balance_gap: float
    scale: float
    is_simplex: bool


@checked
def joint_optimum_check(
    num_classes: int,
    dim: int,
    *,
    classifier_penalty: float,
    feature_penalty: float,
    law: FiniteLaw,
    num_starts: int = 4,
    generator: torch.Generator,
) -> Solution[JointCheck]:
    """Minimise the joint problem by L-BFGS from random starts and compare with the simplex solution.

    For D at least K - 1 every start should end at a simplex frame with the objective of `classifier_scale`; for fewer
    dimensions none can. There are D (K + K^2 Q) unknowns for Q weights: meant for small K.
    The law is finite, for there is one free feature per pair and weight; the other arguments are as of
    `classifier_scale`, with D and the number of starts at least 1.
    Source: Fisher et al. 2024, unconstrained model; the check is defined here.

    Returns:
        The comparison. The residual is the largest entry of the gradient at the best start (features measured in
        units of the square root of their probability); tolerance 1e-6.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> law = FiniteLaw((0.5, 1.0), (0.5, 0.5))
        >>> penalties = {"classifier_penalty": 0.05, "feature_penalty": 0.05}
        >>> found = joint_optimum_check(3, 2, **penalties, law=law, num_starts=1, generator=generator).value
        >>> found.is_simplex, abs(found.objective_gap) < 1e-8
        (True, True)
    """
    check_size(2, num_classes=num_classes)
    check_size(1, dim=dim, num_starts=num_starts)
    num_blends = num_classes * num_classes * len(law.weights)
    check_numbers(num_blends, max(dim, num_classes), num_classes=num_classes, dim=dim)
    penalties = {"classifier_penalty": classifier_penalty, "feature_penalty": feature_penalty}
    expected = classifier_scale(num_classes, **penalties, law=law).value
    labels, masses = all_blends(num_classes, law)
    shape = (num_classes + len(masses), dim)

    def objective(flat: Any) -> Any:
        point = torch.from_numpy(flat).view(shape)
        value, gradient = joint_objective(point, labels=labels, masses=masses, **penalties)
        return value, gradient.flatten().numpy()

    options: Any = {"maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS, "maxcor": 30, "ftol": 0.0, "gtol": 1e-10}
    starts = [START_SIZE * torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(num_starts)]
    results = [
        minimize(objective, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=options) for start in starts
    ]
    points = [torch.from_numpy(result.x).view(shape) for result in results]
    deviations = tuple(gram_deviation(point[:num_classes]) for point in points)
    best = min(range(num_starts), key=lambda index: results[index].fun)
    lowest = float(results[best].fun)
    classifier, features = points[best][:num_classes], points[best][num_classes:]
    energies = classifier_penalty * float(classifier.square().sum()), feature_penalty * float(features.square().sum())
    value = JointCheck(
        gram_deviation=deviations[best],
        gram_deviations=deviations,
        objective=lowest,
        objective_gap=(lowest - expected.objective) / expected.objective,
        balance_gap=0.0 if math.isnan(deviations[best]) else abs(energies[0] - energies[1]) / max(energies),
        scale=math.sqrt(float(classifier.square().sum()) / num_classes),
        is_simplex=deviations[best] < SIMPLEX_DEVIATION,
    )
    return solved(
        value,
        residual=float(np.abs(results[best].jac).max()),
        iterations=sum(int(result.nit) for result in results),
        tolerance=GRADIENT_TOLERANCE,
        solver="joint_optimum_check",
    )


def all_blends(num_classes: int, law: FiniteLaw) -> tuple[Tensor, Tensor]:
    """Return the (N, K) labels and (N,) probabilities of all ordered pairs of classes at all weights of the law."""
    weights, shares = (torch.tensor(values, dtype=torch.float64) for values in (law.weights, law.probabilities))
    eye = torch.eye(num_classes, dtype=torch.float64)
    mixed = weights[:, None, None, None] * eye[:, None] + (1 - weights[:, None, None, None]) * eye
    masses = (shares / num_classes**2).repeat_interleave(num_classes**2)
    return mixed.reshape(-1, num_classes), masses / masses.sum()


def joint_objective(
    point: Tensor, *, labels: Tensor, masses: Tensor, classifier_penalty: float, feature_penalty: float
) -> tuple[float, Tensor]:
    """Return the joint problem's value and gradient at (K + N, D): classifier, and features times sqrt(mass)."""
    num_classes = labels.shape[1]
    classifier, features = point[:num_classes], point[num_classes:]
    roots = masses.sqrt()[:, None]
    log_probabilities = torch.log_softmax(features / roots @ classifier.T, dim=1)
    loss = -(masses @ (labels * log_probabilities).sum(dim=1))
    penalties = classifier_penalty * classifier.square().sum() + feature_penalty * features.square().sum()
    errors = roots * (log_probabilities.exp() - labels)
    gradient = torch.cat([errors.T @ features, errors @ classifier])
    gradient[:num_classes] += classifier_penalty * classifier
    gradient[num_classes:] += feature_penalty * features
    return float(loss + penalties / 2), gradient


def gram_deviation(classifier: Tensor) -> float:
    """Return | G / |G| - E / |E| |_F with G = W W^T, E = I - 11^T / K; NaN for rows of (nearly) zero."""
    num_classes = len(classifier)
    gram = classifier @ classifier.T
    size = float(torch.linalg.matrix_norm(gram))
    if size < 1e-10:
        return math.nan
    simplex = torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes
    return float(torch.linalg.matrix_norm(gram / size - simplex / math.sqrt(num_classes - 1)))
