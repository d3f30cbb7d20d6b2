"""Features of blends under a simplex classifier: where they should lie, and where squared error puts them.

The model: a free feature h for every blend w e_i + (1 - w) e_j, under a fixed classifier W that is a simplex
equiangular tight frame of K rows of length m, minimising loss(W h, label) + (feature penalty / 2) |h|^2.
Source: Fisher et al. 2024, section 3 (the unconstrained model); the solutions are derived and tested here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_finite
from mixscope.base.kinds import checked
from mixscope.theory.channel.soft_labels import logit_gain, soft_label_logits
from mixscope.theory.solution import Solution
from mixscope.theory.weight_law import checked_weights


@dataclass(frozen=True)
class MixedFeatures:
    """The optimal features of blends of two classes i and j with weights w and 1 - w.

    h = per_nat (x1 w_i + x2 w_j), with w_i and w_j the classifier's rows; per_nat = (K - 1) / (m^2 K).

    Attributes:
        num_classes: K.
        gain: a of `logit_gain`, in nats.
        weights: (...) float64, w.
        x1: (...) float64, logit of class i above the classes outside the blend, in nats. With two classes there are
            none and the mean of both logits stands in: x1 = -x2.
        x2: (...) float64, the same for class j.
        same_class: Delta, logit of an unblended example's class (w = 1) above every other, or of a blend within one
            class at any weight, in nats: `same_class_rise`. It is x1 at w = 1; with two classes x1 - x2 there, 2 x1.
        per_nat: Units of feature space per nat and row of W.
        lengths: (...) float64, |h|.
        same_class_length: |h| of an unblended example.
    """

    num_classes: int
    gain: float
    weights: Tensor
    x1: Tensor
    x2: Tensor
    same_class: float
    per_nat: float
    lengths: Tensor
    same_class_length: float

    @checked
    def features(self, first_rows: Tensor, second_rows: Tensor) -> Tensor:
        """Return h, (..., D) float64, for classifier rows w_i and w_j: (..., D) float, or one row for all weights.

        A blend within one class is the unblended feature, whatever its weight: solve at w = 1 for it.

        Raises:
            ValueError: If the rows do not broadcast to one for every weight, or are not finite.
        """
        try:
            torch.broadcast_shapes((*self.x1.shape, 1), first_rows.shape, second_rows.shape)
        except RuntimeError as error:
            shapes = f"{tuple(first_rows.shape)} and {tuple(second_rows.shape)} for weights {tuple(self.x1.shape)}"
            raise ValueError(f"first_rows and second_rows must have a row for every weight, got {shapes}") from error
        check_finite(first_rows=first_rows, second_rows=second_rows)
        rows = first_rows.to(torch.float64), second_rows.to(torch.float64)
        return self.per_nat * (self.x1[..., None] * rows[0] + self.x2[..., None] * rows[1])


@checked
def mixup_features(
    num_classes: int, mixing_weight: Tensor | float, *, feature_penalty: float, scale: float
) -> Solution[MixedFeatures]:
    """Solve for the features of blends that minimise cross-entropy under a simplex classifier.

    With D = K - 2 + exp(x1) + exp(x2), x1 = a (w - (exp(x1) - 1) / D) and x2 = a (1 - w - (exp(x2) - 1) / D).
    Blends of two classes do not lie on the line between the unblended features but further out and towards the
    direction w_i + w_j: the channel along the decision boundary. A blend within one class has Delta = same_class,
    Delta exp(Delta) + (K - 1) Delta = a K, whatever its weight.
    The weights w of the first class are a number or (...) float in [0, 1]; the other arguments, which give the gain a,
    are as of `logit_gain`. Source: Fisher et al. 2024, unconstrained model; derived.

    Returns:
        The features. The residual is the largest over weights and classes of |z - a y + a p| / (|z| + a y + a p),
        the stationarity condition's error relative to its own terms; tolerance 1e-12.

    Raises:
        ValueError: If num_classes is below 2, a weight outside [0, 1], or a penalty or scale not positive and finite.

    Example:
        >>> solution = mixup_features(10, 0.5, feature_penalty=1e-3, scale=1.0)
        >>> round(float(solution.value.x1), 6), round(float(solution.value.lengths), 5)
        (6.110551, 7.33266)
        >>> round(solution.value.same_class, 6), solution.is_converged
        (7.319247, True)
    """
    gain = logit_gain(num_classes, feature_penalty=feature_penalty, scale=scale)
    weights = checked_weights(mixing_weight)
    # One more row, at w = 1: the unblended example.
    shares = torch.cat([weights.flatten(), weights.new_ones(1)])
    solution = soft_label_logits(torch.stack([shares, 1 - shares], dim=-1), num_classes=num_classes, gain=gain)
    rises = solution.value.rises
    first, second = (rises[:-1].T if num_classes > 2 else _antisymmetric(rises[:-1])).unbind()
    value = _mixed_features(num_classes, weights, first, second, same_class=float(rises[-1, 0]), gain=gain, scale=scale)
    # The warning, if any, has been given.
    return Solution(value, solution.residual, solution.iterations, solution.is_converged, solution.reason)


@checked
def squared_loss_features(
    num_classes: int, mixing_weight: Tensor | float, *, feature_penalty: float, scale: float
) -> Solution[MixedFeatures]:
    """Return the features of blends that minimise |W h - y|^2 / 2 under a simplex classifier: a straight line.

    Ridge regression is linear in the label, so h of a blend is the blend of the unblended features; with
    x1 = w a / (1 + a) and x2 = (1 - w) a / (1 + a), differences of outputs, not nats; so is same_class.
    Arguments and errors as of `mixup_features`. Source: Fisher et al. 2024 (squared error gives the line); derived.

    Example:
        >>> features = squared_loss_features(3, torch.tensor([0.0, 0.5]), feature_penalty=0.5, scale=1.0).value
        >>> features.x1.tolist(), features.x2.tolist(), features.same_class
        ([0.0, 0.375], [0.75, 0.375], 0.75)
    """
    gain = logit_gain(num_classes, feature_penalty=feature_penalty, scale=scale)
    weights = checked_weights(mixing_weight)
    ratio = gain / (1 + gain)
    first, second = ratio * weights.flatten(), ratio * (1 - weights.flatten())
    if num_classes == 2:
        first, second = _antisymmetric(torch.stack([first, second], dim=-1))
    value = _mixed_features(num_classes, weights, first, second, same_class=ratio, gain=gain, scale=scale)
    return Solution(value, residual=0.0, iterations=0, is_converged=True)


@checked
def same_class_rise(num_classes: int, *, gain: float) -> float:
    """Return Delta, the logit of an example's class above the others at the optimum without blending.

    Delta exp(Delta) + (K - 1) Delta = a K, the r-Lambert function with r = K - 1 at a K. In nats, positive.
    Source: Fisher et al. 2024, unconstrained model; derived.

    Raises:
        ValueError: If num_classes is below 2, or the gain not positive and finite.
    """
    one = torch.ones(1, dtype=torch.float64)
    return float(soft_label_logits(one, num_classes=num_classes, gain=gain).value.rises)


def _antisymmetric(rises: Tensor) -> Tensor:
    """Return (2, N): with two classes the mean of both logits is what they are measured from."""
    half = (rises[:, 0] - rises[:, 1]) / 2
    return torch.stack([half, -half])


def _mixed_features(
    num_classes: int, weights: Tensor, first: Tensor, second: Tensor, *, same_class: float, gain: float, scale: float
) -> MixedFeatures:
    per_nat = (num_classes - 1) / num_classes / scale / scale
    # |x1 w_i + x2 w_j|^2 / m^2, without the difference that a product of the two would need.
    squares = (first - second).square() + 2 * first * second * ((num_classes - 2) / (num_classes - 1))
    return MixedFeatures(
        num_classes=num_classes,
        gain=gain,
        weights=weights,
        x1=first.view(weights.shape),
        x2=second.view(weights.shape),
        same_class=same_class,
        per_nat=per_nat,
        lengths=(per_nat * scale * squares.sqrt()).view(weights.shape),
        same_class_length=per_nat * scale * same_class,
    )
