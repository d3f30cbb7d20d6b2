"""NC4 and the nearest-class-mean classifier, fed batch by batch against fixed class means."""

import math

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_labels, check_ndim, check_not_empty, check_same_length
from mixscope.base.kinds import checked
from mixscope.metrics.collapse.neural_collapse import check_head
from mixscope.metrics.precision import full_precision

SCORES_AT_ONCE = 2**20  # numbers of a (rows, K) table of scores


class NearestMeanCounts:
    """How often the classifier, the nearest class mean and the label agree.

    Class means come first (of the last epoch, say, or of the training features for a test set); the counting is then
    part of any pass over the data. Decisions are those of float64: scores of float32 features are computed in float32,
    and rows whose two best scores lie within its rounding are computed again. Equal scores go to the lower class.

    Example:
        >>> means, weight, bias = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])
        >>> counts = NearestMeanCounts(means, weight, bias)
        >>> counts.update(torch.tensor([[0.4], [2.0], [0.3]]), torch.tensor([0, 1, 1]))
        >>> counts.mismatch, round(counts.accuracy, 4), counts.num_examples
        (0.0, 0.6667, 3)
    """

    @checked
    def __init__(self, class_means: Tensor, head_weight: Tensor, head_bias: Tensor | None = None) -> None:
        """Fix finite (K, D) class means and a (K, D) classifier; its (K,) bias is None only where it has none."""
        check_ndim(2, class_means=class_means)
        check_finite(class_means=class_means)
        check_head(head_weight, head_bias, shape=tuple(class_means.shape), of="class_means")
        check_not_empty(class_means=class_means)
        means = class_means.detach().to(torch.float64)
        # A common shift changes no decision, and a large mean of the features then takes no digits: with r = h - shift,
        # argmin |h - mu|^2 = argmax m.r - |m|^2 / 2 and argmax W h + b = argmax W r + W shift + b, W and all without
        # their mean over classes. The shift is a float32 number, so that float32 features lose nothing to it.
        self._shift = means.mean(dim=0).to(torch.float32).to(torch.float64)
        means = means - self._shift
        weight = head_weight.detach().to(means)
        weight = weight - weight.mean(dim=0)
        offset = weight @ self._shift
        if head_bias is not None:
            offset = offset + head_bias.detach().to(means)
        self._nearest = _Rule(means, -means.square().sum(dim=1) / 2)
        self._classifier = _Rule(weight, offset - offset.mean())
        self.num_examples = 0
        self.num_mismatches = 0
        self.num_nearest_correct = 0
        self.num_classifier_correct = 0

    @property
    def mismatch(self) -> float:
        """NC4: share of examples where the classifier and the nearest mean disagree, in [0, 1]; 0 is full collapse."""
        return self.num_mismatches / self.num_examples if self.num_examples else math.nan

    @property
    def accuracy(self) -> float:
        """Share of examples whose nearest class mean is that of their label, in [0, 1]; high is good."""
        return self.num_nearest_correct / self.num_examples if self.num_examples else math.nan

    @property
    def classifier_accuracy(self) -> float:
        """Share of examples on which the classifier gives the label, in [0, 1]; high is good."""
        return self.num_classifier_correct / self.num_examples if self.num_examples else math.nan

    @checked
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch. When it raises, nothing has changed.

        Args:
            features: (B, D) float, B at least 0, on any device: the work is done there.
            labels: (B,) integers in [0, K).

        Raises:
            ValueError: If shapes do not fit, a value is not finite, or labels are not integers in [0, K).
        """
        check_same_length(features=features, labels=labels)
        check_labels(labels, num_classes=len(self._nearest.weight), because="the rows of class_means")
        nearest, chosen = self.decide(features)
        labels = labels.to(nearest.device)
        self.num_examples += len(labels)
        self.num_mismatches += int((nearest != chosen).sum())
        self.num_nearest_correct += int((nearest == labels).sum())
        self.num_classifier_correct += int((chosen == labels).sum())

    @checked
    def decide(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest class mean and the classifier's class of every row, (B,) int64, and count nothing."""
        check_ndim(2, features=features)
        num_classes, dim = self._nearest.weight.shape
        if features.shape[1] != dim or not features.is_floating_point():
            got = f"{features.dtype} of shape {tuple(features.shape)}"
            raise ValueError(f"features must be float with the {dim} columns of class_means, got {got}")
        check_finite(features=features)
        with full_precision(features.device):
            self._shift = self._shift.to(features.device)
            self._nearest, self._classifier = (rule.to(features.device) for rule in (self._nearest, self._classifier))
            found = []
            for rows in features.detach().split(max(64, SCORES_AT_ONCE // num_classes)):
                values = rows.to(torch.promote_types(rows.dtype, torch.float32))
                residuals = values - self._shift.to(values.dtype)
                found.append([rule.best(residuals, values, self._shift) for rule in (self._nearest, self._classifier)])
            nearest, chosen = (torch.cat(parts) for parts in zip(*found, strict=True))
        return nearest, chosen


class _Rule:
    """The class of the largest of weight r + offset, decided as in float64."""

    def __init__(self, weight: Tensor, offset: Tensor) -> None:
        self.weight, self.offset = weight, offset
        self._weight32, self._offset32 = weight.float(), offset.float()
        # A float32 score is off by at most (D + 3) u |w| |r| + 2 u |offset|, u = 2^-24: roundings of w, r, the sum and
        # the offset. Two scores that differ by twice that are in the right order. Doubled once more for safety.
        unit = 2 * torch.finfo(torch.float32).eps
        self._slope = unit * (weight.shape[1] + 3) * float(torch.linalg.vector_norm(weight, dim=1).max())
        self._base = unit * 2 * float(offset.abs().max())

    def to(self, device: torch.device) -> "_Rule":
        return self if self.weight.device == device else _Rule(self.weight.to(device), self.offset.to(device))

    def best(self, residuals: Tensor, values: Tensor, shift: Tensor) -> Tensor:
        """Return the (B,) class of every row; residuals are values - shift in the type of the values."""
        if residuals.dtype is torch.float64:
            return torch.addmm(self.offset, residuals, self.weight.T).argmax(dim=1)
        scores = torch.addmm(self._offset32, residuals, self._weight32.T)
        top, best = scores.max(dim=1)
        second = scores.scatter_(1, best[:, None], -math.inf).amax(dim=1)
        doubt = self._slope * torch.linalg.vector_norm(residuals, dim=1) + self._base
        # "not larger", so that a row whose float32 scores overflow is computed again too
        again = torch.nonzero(~(top - second > doubt)).flatten()
        if len(again):
            exact = values[again].to(torch.float64) - shift
            best[again] = torch.addmm(self.offset, exact, self.weight.T).argmax(dim=1)
        return best
