"""Checks of the unconstrained model for Fisher et al. 2024: closed forms against solvers that know nothing of them.

What each value is, by its name before the "/", is said by the claim that reads it, in `claims_theory`.
"""

import math
import warnings
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from mixscope.base.generators import named_generator
from mixscope.base.kinds import checked
from mixscope.base.simplex import simplex_etf
from mixscope.studies.engine.trial import Measured
from mixscope.theory import (
    FiniteLaw,
    JointCheck,
    NotConvergedWarning,
    amplification,
    etf_threshold,
    joint_optimum_check,
    mixup_features,
    squared_loss_features,
)

LAW = FiniteLaw((0.1, 0.5, 0.8, 1.0), (0.2, 0.3, 0.3, 0.2))  # of the weight; lopsided, for nothing should need symmetry
SPARE_DIMENSIONS = 2  # of feature space beyond the K - 1 that a simplex fills
PENALTIES = tuple(10.0**-power for power in range(1, 9))
NEWTON_PENALTY = 1e-6  # below it the Hessian is too flat for Newton's method in float64
LIMIT_WEIGHTS = (0.05, 0.2, 0.4)
MAX_STEPS = 200
ROUNDING = 1e-14  # of the objective, in nats: a step that raises it by no more is taken
SMALLEST_STEP = 1e-15  # relative to the feature


def blended_features(
    class_counts: Sequence[int], scales: Sequence[float], penalties: Sequence[float], weights: Sequence[float]
) -> Measured:
    """Solve for the features of blends by Newton's method, and compare with the closed forms, case by case."""
    values: dict[str, float] = {}
    for num_classes, scale, penalty in product(class_counts, scales, penalties):
        case = f"K={num_classes} m={scale:g} penalty={penalty:g}"
        generator = named_generator(0, "features", num_classes)
        frame = simplex_etf(num_classes, num_classes - 1 + SPARE_DIMENSIONS, scale=scale, generator=generator)
        shares = torch.tensor(weights, dtype=torch.float64)
        theory = mixup_features(num_classes, shares, feature_penalty=penalty, scale=scale).value
        expected = theory.features(frame[0], frame[1])
        for row, weight in enumerate(weights):
            found = minimiser(frame, _label(num_classes, 0, 1, weight), penalty, generator=generator)
            values[f"newton/{case} w={weight:g}"] = _distance(expected[row], found)
        same = [minimiser(frame, _label(num_classes, 0, 0, w), penalty, generator=generator) for w in weights]
        unblended = theory.per_nat * theory.same_class * frame[0]
        values[f"newton-same/{case}"] = max(_distance(unblended, found) for found in same)
        values[f"same/{case}"] = max(_distance(found, same[0]) for found in same)
        values |= {
            f"{name}/{case}": value
            for name, value in _residuals(theory.same_class, num_classes, scale, penalty).items()
        }
        values[f"line/{case}"] = _line_distance(frame, shares, scale, penalty)
    return Measured(values)


def small_penalties(num_classes: int, scale: float) -> Measured:
    """Follow the even blend and the way across the channel as the feature penalty falls from 0.1 to 1e-8."""
    values: dict[str, float] = {}
    frame = simplex_etf(
        num_classes, num_classes - 1, scale=scale, generator=named_generator(0, "features", num_classes)
    )
    shares = torch.tensor(LIMIT_WEIGHTS, dtype=torch.float64)
    before = 1.0  # of squared error, and the limit of large penalties
    for penalty in PENALTIES:
        case = f"penalty={penalty:g}"
        value = amplification(num_classes, feature_penalty=penalty, scale=scale)
        values[f"amplification/{case}"], values[f"growth/{case}"] = value, value - before
        before = value
        if penalty > NEWTON_PENALTY:
            generator = named_generator(0, "starts")
            even, first, second = (
                minimiser(frame, _label(num_classes, 0, 1, weight), penalty, generator=generator)
                for weight in (0.5, 1.0, 0.0)
            )
            numeric = float(even.norm() / ((first + second) / 2).norm())
            values[f"newton-amplification/{case}"] = abs(value / numeric - 1)
        features = mixup_features(num_classes, shares, feature_penalty=penalty, scale=scale).value
        offsets = features.x1 - features.x2
        values[f"offset/{case}"] = float(offsets[0])
        values[f"offset-gap/{case}"] = float((offsets - torch.logit(shares)).abs().max())
    return Measured(values)


def joint_optimum(sizes: Sequence[Sequence[int]], penalty: float, num_starts: int, seed: int) -> Measured:
    """Minimise over classifier and features together by L-BFGS from random starts; "flat" is without room for both."""
    values: dict[str, float] = {}
    doubts = []
    for num_classes, dim in sizes:
        case = f"K={num_classes} D={dim}"
        found, reason = _joint(num_classes, dim, penalty, num_starts=num_starts, seed=seed)
        doubts += [f"{case}: {reason}"] if reason else []
        has_room = dim >= num_classes - 1
        for start, deviation in enumerate(found.gram_deviations):
            values[f"gram{'' if has_room else '-flat'}/{case} start {start}"] = deviation
        values[f"balance/{case}"] = found.balance_gap
    return Measured(values, problem="; ".join(doubts))


def collapse_threshold(sizes: Sequence[Sequence[int]], distance: float, seed: int) -> Measured:
    """Minimise over both with penalties whose product is below and above the predicted collapse by that share."""
    values: dict[str, float] = {}
    doubts = []
    for num_classes, dim in sizes:
        threshold = etf_threshold(num_classes, LAW)
        for side, factor in (("below", 1 - distance), ("above", 1 + distance)):
            found, reason = _joint(num_classes, dim, math.sqrt(factor * threshold), num_starts=1, seed=seed)
            values[f"{side}/K={num_classes} D={dim}"] = found.scale
            doubts += [f"K={num_classes} {side}: {reason}"] if reason else []
    return Measured(values, problem="; ".join(doubts))


@checked
def minimiser(frame: Tensor, label: Tensor, penalty: float, *, generator: torch.Generator) -> Tensor:
    """Minimise cross-entropy(W h, y) + (penalty / 2) |h|^2 over h by damped Newton steps from a random start.

    `frame` is W, (K, D) float64, and `label` y, (K,); h is returned, (D,).
    """
    feature = torch.randn(frame.shape[1], dtype=torch.float64, generator=generator)
    for _ in range(MAX_STEPS):
        chances = torch.softmax(frame @ feature, dim=0)
        gradient = frame.T @ (chances - label) + penalty * feature
        curvature = frame.T @ (torch.diag(chances) - torch.outer(chances, chances)) @ frame
        step = torch.linalg.solve(curvature + penalty * torch.eye(len(feature), dtype=torch.float64), gradient)
        value, size = _objective(frame, label, penalty, feature), 1.0
        while _objective(frame, label, penalty, feature - size * step) > value + ROUNDING:
            size /= 2
        feature = feature - size * step
        if float(step.norm()) <= SMALLEST_STEP * float(feature.norm()):
            break
    return feature


def _objective(frame: Tensor, label: Tensor, penalty: float, feature: Tensor) -> float:
    loss = -(label @ torch.log_softmax(frame @ feature, dim=0))
    return float(loss + penalty / 2 * feature.square().sum())


def _joint(num_classes: int, dim: int, penalty: float, *, num_starts: int, seed: int) -> tuple[JointCheck, str]:
    """Return what L-BFGS found with both penalties equal, and why it is not to be trusted, or ""."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        solution = joint_optimum_check(
            num_classes,
            dim,
            classifier_penalty=penalty,
            feature_penalty=penalty,
            law=LAW,
            num_starts=num_starts,
            generator=named_generator(seed, "joint optimum", num_classes, dim),
        )
    return solution.value, solution.reason


def _label(num_classes: int, first: int, second: int, weight: float) -> Tensor:
    label = torch.zeros(num_classes, dtype=torch.float64)
    label[first] += weight
    label[second] += 1 - weight
    return label


def _distance(first: Tensor, second: Tensor) -> float:
    """Return |first - second| / |second|."""
    return float((first - second).norm() / second.norm())


def _residuals(rise: float, count: int, scale: float, penalty: float) -> dict[str, float]:
    """Return the relative residuals of the scalar equations, whose right sides are a K and a K / 4."""
    gain = scale * scale * count / (count - 1) / penalty
    even = float(mixup_features(count, 0.5, feature_penalty=penalty, scale=scale).value.x1)
    return {
        "rise": abs((rise * math.exp(rise) + (count - 1) * rise) / (gain * count) - 1),
        "middle": abs((even * math.exp(even) + (count / 2 - 1) * even) / (gain * count / 4) - 1),
    }


def _line_distance(frame: Tensor, shares: Tensor, scale: float, penalty: float) -> float:
    """Solve the ridge regression of squared error for blends, and compare with the line and with the closed form."""
    num_classes, dim = frame.shape
    labels = torch.stack([_label(num_classes, 0, 1, weight) for weight in [*shares.tolist(), 1.0, 0.0]])
    ridge = frame.T @ frame + penalty * torch.eye(dim, dtype=torch.float64)
    found = torch.linalg.solve(ridge, frame.T @ labels.T).T
    blends, first, second = found[:-2], found[-2], found[-1]
    line = shares[:, None] * first + (1 - shares[:, None]) * second
    theory = squared_loss_features(num_classes, shares, feature_penalty=penalty, scale=scale).value
    closed = theory.features(frame[0], frame[1])
    return max(float((blends - other).norm(dim=1).max() / first.norm()) for other in (line, closed))
