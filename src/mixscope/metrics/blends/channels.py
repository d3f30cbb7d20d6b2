"""Geometry of the features of blended examples: how far from the straight line, and along which channel."""

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_labels, check_ndim, check_same_length, check_shape, check_within
from mixscope.base.kinds import checked
from mixscope.base.simplex import center_rows
from mixscope.metrics.blends.blend_reports import ChannelReport

# By the smaller of the two weights: below 0.1, from 0.1 to 0.3, above 0.3 (the last is |weight - 1/2| < 0.2).
LOW_SHARE, MIDDLE_SHARE = 0.1, 0.3
# A weight this close to an edge lies on it: 1 - 0.7 is not 0.3 in floating point, least of all in float32.
EDGE_TOLERANCE = 1e-6


@checked
def mixed_feature_geometry(
    mixed: Tensor, members: Tensor, *, weights: Tensor, member_labels: Tensor, class_means: Tensor, head_weight: Tensor
) -> ChannelReport:
    """Measure where the features of blends lie.

    Convention: every feature is centred by the mean of the class means and projected on the span of the centred
    classifier, the only part of it the differences of logits can see; class means likewise. Nothing depends on the
    classifier's bias, on which of the two examples is called the first, or on a shift or rotation of feature space.

    The line runs between each blend's own two examples, in `amplification_means` alone between class means.

    Source: Fisher et al. 2024 (the picture); the numbers are defined here. In float64. Ratios are of means, so that one
    feature near the centre does not decide them. Slope and correlation count each blend in both orders of its two
    examples; blends of weight 0 or 1 have no logit and are left out of these two.

    Args:
        mixed: (N, D) float, features of the blends.
        members: (N, 2, D) float, features of each blend's own two real examples.
        weights: (N,) float in [0, 1], the share of the first.
        member_labels: (N, 2) integers in [0, K), the classes of the two.
        class_means: (K, D) float, K at least 2.
        head_weight: (K, D) float, the classifier that reads these features.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a weight is outside [0, 1], or a label outside [0, K).

    Example:
        >>> frame = torch.eye(3)
        >>> member_labels = torch.tensor([[0, 1], [1, 2]])
        >>> members = frame[member_labels]
        >>> linear = members.mean(dim=1)
        >>> classes = {"member_labels": member_labels, "class_means": frame, "head_weight": frame}
        >>> report = mixed_feature_geometry(linear, members, weights=torch.full((2,), 0.5), **classes)
        >>> round(report.amplification, 6), round(report.deviation_different, 6), round(report.alignment_channel, 6)
        (1.0, 0.0, 1.0)
    """
    check_ndim(2, mixed=mixed, member_labels=member_labels, class_means=class_means, head_weight=head_weight)
    check_same_length(mixed=mixed, members=members, weights=weights, member_labels=member_labels)
    num_pairs, dim = mixed.shape
    check_shape((num_pairs, 2, dim), of="mixed", members=members)
    check_shape((num_pairs,), of="mixed", weights=weights)
    check_shape((num_pairs, 2), of="mixed", member_labels=member_labels)
    check_shape((len(head_weight), dim), of="mixed and head_weight", class_means=class_means, head_weight=head_weight)
    if len(head_weight) < 2:
        raise ValueError(f"head_weight must have a row for each of at least two classes, got {len(head_weight)}")
    _check_classes(member_labels, head_weight, name="member_labels")
    check_finite(mixed=mixed, members=members, weights=weights, class_means=class_means, head_weight=head_weight)
    check_within(0, 1, weights=weights)

    device = mixed.device
    classifier = center_rows(head_weight.detach().to(device, torch.float64))
    sizes, directions = torch.linalg.svd(classifier, full_matrices=False)[1:]
    basis = directions[sizes > max(classifier.shape) * torch.finfo(torch.float64).eps * sizes.max()]  # of its rows
    middle = class_means.detach().to(device, torch.float64).mean(dim=0)

    def centered(features: Tensor) -> Tensor:
        return (features.detach().to(device, torch.float64) - middle) @ basis.T

    blends, ends, means, rows = centered(mixed), centered(members), centered(class_means), classifier @ basis.T
    share = weights.detach().to(device, torch.float64)
    labels = member_labels.to(device).long()
    linear = _interpolate(ends, share)
    lengths = torch.linalg.vector_norm(blends, dim=1)
    deviations = torch.linalg.vector_norm(blends - linear, dim=1) / _mean_norm(means)
    same = labels[:, 0] == labels[:, 1]
    smaller = torch.minimum(share, 1 - share)
    in_low, in_high = smaller < LOW_SHARE - EDGE_TOLERANCE, smaller > MIDDLE_SHARE + EDGE_TOLERANCE
    channel = ~same & in_high
    of_means = _interpolate(means[labels], share)[channel]
    slope, correlation, height = _channel_coordinates(blends, rows, labels, share, different=~same)
    return ChannelReport(
        amplification=float(lengths[channel].mean() / _mean_norm(linear[channel])),
        amplification_means=float((blends[channel] * of_means).sum() / of_means.square().sum()),
        deviation_same=float(deviations[same].mean()),
        deviation_different=float(deviations[~same].mean()),
        deviation_same_middle=float(deviations[same & in_high].mean()),
        deviation_different_middle=float(deviations[channel].mean()),
        alignment_same=_mean_cosine(blends[same], rows[labels[same, 0]]),
        alignment_channel=_mean_cosine(blends[channel], rows[labels[channel]].sum(dim=1)),
        logit_slope=slope,
        logit_correlation=correlation,
        order_low=float(height[~same & in_low].mean()),
        order_middle=float(height[~same & ~in_low & ~in_high].mean()),
        order_high=float(height[channel].mean()),
        ratio_middle_to_same=float(lengths[channel].mean() / lengths[same].mean()),
    )


@checked
def classifier_coordinates(features: Tensor, head_weight: Tensor, labels_pair: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far each feature lies along the classifiers of its two classes.

    With the logits z = W h (no bias), x1 = z_i - mean of the others and x2 = z_j - mean of the others, the others being
    all classes but i and j. For a simplex classifier this is the least-squares solution of h ~ c0 + s1 w_i + s2 w_j
    read through the logits. With two classes there are no others and the mean of both logits stands in: x1 = -x2.

    Args:
        features: (N, D) float, centred by the caller.
        head_weight: (K, D) float, K at least 2. A common shift of its rows changes nothing.
        labels_pair: (N, 2) integers in [0, K), the classes i and j; where i = j, x1 = x2.

    Returns:
        x1 and x2, each (N,) float64, in nats.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or a label is outside [0, K).

    Example:
        >>> x1, x2 = classifier_coordinates(torch.tensor([[3.0, 1.0, 0.0]]), torch.eye(3), torch.tensor([[0, 1]]))
        >>> x1.tolist(), x2.tolist()
        ([3.0], [1.0])
    """
    check_ndim(2, features=features, head_weight=head_weight, labels_pair=labels_pair)
    check_same_length(features=features, labels_pair=labels_pair)
    check_shape((len(head_weight), features.shape[1]), of="features", head_weight=head_weight)
    check_shape((len(features), 2), of="features", labels_pair=labels_pair)
    _check_classes(labels_pair, head_weight, name="labels_pair")
    check_finite(features=features, head_weight=head_weight)
    classifier = center_rows(head_weight.detach().to(features.device, torch.float64))
    logits = features.detach().to(torch.float64) @ classifier.T
    pair = labels_pair.to(logits.device).long()
    is_other = torch.ones_like(logits).scatter_(1, pair, 0.0)
    # The centred logits sum to zero, so an empty mean is 0, the mean of both logits of a two-class problem.
    others = (logits * is_other).sum(dim=1) / is_other.sum(dim=1).clamp(min=1)
    x1, x2 = (logits.gather(1, pair) - others[:, None]).unbind(dim=1)
    return x1, x2


def _check_classes(labels: Tensor, head_weight: Tensor, *, name: str) -> None:
    because = f"head_weight has {len(head_weight)} rows"
    check_labels(labels.flatten(), num_classes=len(head_weight), name=name, because=because)


def _interpolate(ends: Tensor, share: Tensor) -> Tensor:
    """Return (N, D), the points at `share` of the way on the lines between the (N, 2, D) ends."""
    return share[:, None] * ends[:, 0] + (1 - share[:, None]) * ends[:, 1]


def _mean_norm(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).mean()


def _mean_cosine(features: Tensor, directions: Tensor) -> float:
    lengths = torch.linalg.vector_norm(features, dim=1) * torch.linalg.vector_norm(directions, dim=1)
    return float((torch.linalg.vecdot(features, directions) / lengths).mean())


def _channel_coordinates(
    blends: Tensor, rows: Tensor, labels: Tensor, share: Tensor, *, different: Tensor
) -> tuple[float, float, Tensor]:
    """Return the slope and correlation across the channel, and (N,) the position (x1 + x2) / 2 along it."""
    x1, x2 = classifier_coordinates(blends, rows, labels)
    is_inside = different & (share > 0) & (share < 1)
    across, logit = (x1 - x2)[is_inside], torch.logit(share[is_inside])
    # Counting (w, i, j) and (1 - w, j, i) makes both means 0: the regression line goes through the origin.
    product, logit_power, across_power = (across * logit).sum(), logit.square().sum(), across.square().sum()
    return float(product / logit_power), float(product / (logit_power * across_power).sqrt()), (x1 + x2) / 2
