"""Joint optimum of classifier and features under mixing: how long the classifier is, and when it vanishes.

The model, over all ordered pairs of K balanced classes and the law of the weight w:
minimise E[cross-entropy(W h, w e_i + (1 - w) e_j) + (feature penalty / 2) |h|^2] + (classifier penalty / 2) |W|_F^2
over the classifier W (K, D) and one free feature h per blend. With D at least K - 1 the classifier of every global
minimiser is a simplex equiangular tight frame; proof in outline: the problem is convex in the logits plus a nuclear
norm, strictly convex where the classifier's rows sum to zero, so that its solution shares the symmetry of the classes.
Source: the unconstrained model of Fisher et al. 2024, section 3; the joint optimum is derived and tested here.
"""

import math
from dataclasses import dataclass

import torch
from scipy.optimize import brentq

from mixscope.base.checks import check_positive, check_size
from mixscope.base.kinds import checked
from mixscope.theory.channel.mixed_features import same_class_rise
from mixscope.theory.channel.soft_labels import pair_rises
from mixscope.theory.solution import Solution, solved
from mixscope.theory.weight_law import WeightLaw

TOLERANCE = 1e-10  # relative, of the balance between the two penalties
SMALLEST_PRODUCT = 1e-200  # of the penalties; below, the squared error that balances them is no number
LOG_GAIN_END = 690.0  # exp of it still fits a float64


@dataclass(frozen=True)
class JointScale:
    """The joint optimum of classifier and features.

    Attributes:
        scale: Length m of the classifier's rows; 0 where it has collapsed.
        gain: a of `logit_gain` at that scale, in nats; 0 where collapsed.
        is_collapsed: Whether W = 0 is the only optimum: the product of the penalties is at or above `etf_threshold`.
        same_class: Logit of an unblended example's class above the others, in nats.
        same_class_probability: Its probability; 1 / K where collapsed.
        objective: The value of the whole problem, in nats; lower is better.
    """

    scale: float
    gain: float
    is_collapsed: bool
    same_class: float
    same_class_probability: float
    objective: float


@checked
def etf_threshold(num_classes: int, law: WeightLaw) -> float:
    """Return the product of the two penalties at and above which the classifier collapses to zero.

    E[w^2 + (1 - w)^2] / K: the only curvature of the loss at W = 0 that the penalties have to beat. Mixing lowers it,
    from 1 / K without mixing to 2 / (3 K) for uniform weights and 1 / (2 K) for even blends.
    Source: Fisher et al. 2024, unconstrained model; derived.

    Raises:
        ValueError: If num_classes is below 2.
    """
    check_size(2, num_classes=num_classes)
    return law.mean_square / num_classes


@checked
def classifier_scale(
    num_classes: int, *, classifier_penalty: float, feature_penalty: float, law: WeightLaw
) -> Solution[JointScale]:
    """Solve for the length of the classifier's rows at the joint optimum of classifier and features.

    Both penalties carry the same energy, classifier penalty |W|^2 = feature penalty E|h|^2; with the gain a this is
    E|y - p|^2 = (K - 1) classifier penalty * feature penalty, whose left side falls with a from K - 1 times the
    threshold to 0. The gain, and with it every logit, depends on the product of the penalties alone.
    K is at least 2, the penalties are positive: the factors of |W|_F^2 / 2 and E|h|^2 / 2.
    Source: Fisher et al. 2024, unconstrained model; derived.

    Returns:
        The optimum. The residual is the difference of the two energies relative to the larger; tolerance 1e-10.

    Raises:
        ValueError: If num_classes is below 2, or a penalty or their product is out of its range.
    """
    threshold = etf_threshold(num_classes, law)
    check_positive(classifier_penalty=classifier_penalty, feature_penalty=feature_penalty)
    product = classifier_penalty * feature_penalty
    if not SMALLEST_PRODUCT <= product < math.inf:
        raise ValueError(
            f"classifier_penalty and feature_penalty must have a finite product of at least {SMALLEST_PRODUCT:g}, "
            f"got {product:g}"
        )
    zero = JointScale(0.0, 0.0, True, 0.0, 1 / num_classes, math.log(num_classes))
    collapsed = Solution(zero, residual=0.0, iterations=0, is_converged=True)
    if product >= threshold:
        return collapsed

    def imbalance(log_gain: float) -> float:
        squared_error = mean_blend(num_classes, law, gain=math.exp(log_gain))[0]
        return math.log(squared_error) - math.log((num_classes - 1) * product)

    low, high = -1.0, 1.0
    while imbalance(low) < 0 and low > -LOG_GAIN_END:
        low = max(2 * low, -LOG_GAIN_END)
    while imbalance(high) > 0 and high < LOG_GAIN_END:
        high = min(2 * high, LOG_GAIN_END)
    if imbalance(low) <= 0:  # the product is the threshold, up to rounding
        return collapsed
    log_gain, details = brentq(imbalance, low, high, xtol=1e-14, rtol=1e-15, full_output=True)
    gain, steps = math.exp(log_gain), details.iterations
    squared_error, cross_entropy = mean_blend(num_classes, law, gain=gain)
    square = gain * feature_penalty * (num_classes - 1) / num_classes
    classifier_energy = classifier_penalty * num_classes * square
    # |h|^2 = |z|^2 (K - 1) / (m^2 K) and |z| = a |y - p|.
    feature_energy = feature_penalty * gain * gain * squared_error * (num_classes - 1) / (square * num_classes)
    rise = same_class_rise(num_classes, gain=gain)
    value = JointScale(
        scale=math.sqrt(square),
        gain=gain,
        is_collapsed=False,
        same_class=rise,
        same_class_probability=1 / (1 + (num_classes - 1) * math.exp(-rise)),
        objective=cross_entropy + (classifier_energy + feature_energy) / 2,
    )
    residual = abs(classifier_energy - feature_energy) / max(classifier_energy, feature_energy)
    return solved(value, residual=residual, iterations=steps, tolerance=TOLERANCE, solver="classifier_scale")


def mean_blend(num_classes: int, law: WeightLaw, *, gain: float) -> tuple[float, float]:
    """Return E|y - p|^2 and the mean cross-entropy of optimal blends over all ordered pairs, same-class ones too."""
    weights, masses = law.nodes(gain=gain, num_classes=num_classes)
    # The last entry is the unblended example, which every same-class pair equals.
    weights = torch.cat([weights, weights.new_ones(1)])
    masses = torch.cat([masses * (1 - 1 / num_classes), masses.new_full((1,), 1 / num_classes)])
    _, _, rises, log_scale = pair_rises(weights, gain, num_classes=num_classes)
    total = rises.sum(dim=-1)
    # Logits sum to zero: |z|^2 = sum of x^2 - (sum of x)^2 / K; divided by a before squaring, nothing overflows.
    squared_error = ((rises / gain).square().sum(dim=-1) - (total / gain).square() / num_classes) @ masses
    log_probabilities = rises + log_scale[:, None] - math.log(gain)
    cross_entropy = -(torch.stack([weights, 1 - weights], dim=-1) * log_probabilities).sum(dim=-1)
    return float(squared_error), float(cross_entropy @ masses)
