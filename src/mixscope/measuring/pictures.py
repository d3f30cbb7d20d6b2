"""Pictures of an examination, plain numbers that figures are drawn from: reliability bins, and blends on the plane."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.simplex import project_to_classifier_plane, spans_plane
from mixscope.capturing.sites import measurable
from mixscope.measuring.examination import Examination
from mixscope.measuring.last_layer import linear_head
from mixscope.metrics.calibration.prediction_meter import PredictionMeter
from mixscope.metrics.calibration.top_label import Reliability

FEWEST_BLENDS = 30  # of three classes: fewer show no shape


def examination_pictures(
    seen: Examination, model: nn.Module, *, head: str, class_names: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the pictures that an examination holds already: "reliability", and "plane" where it has the blends.

    The plane is of the three classes with the most blends among themselves, the same ones for the same draws.
    """
    pictures: dict[str, Any] = {}
    if seen.predictions is not None:
        pictures["reliability"] = reliability_picture(seen.predictions, seen.values)
    if seen.blends is not None:
        labels = seen.blends.labels.cpu()
        classes = tuple(sorted(torch.bincount(labels.flatten()).argsort(descending=True, stable=True)[:3].tolist()))
        inside = torch.isin(labels, torch.tensor(classes)).all(dim=1)
        weight = measurable(linear_head(model, head).weight.detach()).double().cpu()
        if len(classes) == 3 and int(inside.sum()) >= FEWEST_BLENDS and spans_plane(weight[list(classes)]):
            pictures["plane"] = plane_picture(
                seen.blends.mixed.cpu()[inside],
                labels[inside],
                seen.blends.weights.cpu()[inside, 0],
                head_weight=weight,
                classes=classes,
                class_names=[class_names[index] if class_names else str(index) for index in classes],
            )
    return pictures


def reliability_picture(meter: PredictionMeter, values: Mapping[str, float]) -> dict[str, Any]:
    """Return what the reliability diagram of predictions is drawn from; `values` have "test/ece", "test/signed_gap"."""
    return reliability_columns(meter.reliability) | {"ece": values["test/ece"], "signed_gap": values["test/signed_gap"]}


def reliability_columns(reliability: Reliability) -> dict[str, Any]:
    """Return the bins of a reliability diagram as a picture holds them."""
    return {
        "edges": reliability.edges.tolist(),
        "count": reliability.counts.tolist(),
        "confidence": reliability.confidence.tolist(),
        "accuracy": reliability.accuracy.tolist(),
    }


def plane_picture(
    features: Tensor,
    labels: Tensor,
    shares: Tensor,
    *,
    head_weight: Tensor,
    classes: tuple[int, ...],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Return blends of three classes on the plane of their classifiers.

    Args:
        features: (N, D) of the blends.
        labels: (N, 2) classes of their members, of the three.
        shares: (N,) of the first member.
        head_weight: (K, D) float64, the classifiers.
        classes: The three.
        class_names: Of these.
    """
    first, second, third = classes
    points = project_to_classifier_plane(features.double(), head_weight, classes=(first, second, third))
    same = labels[:, 0] == labels[:, 1]

    def cloud(chosen: Tensor) -> dict[str, Any]:
        return {
            **as_points(points[chosen]),
            "weight": rounded(shares[chosen]),
            "first": labels[chosen, 0].tolist(),
            "second": labels[chosen, 1].tolist(),
        }

    corners = project_to_classifier_plane(head_weight[list(classes)], head_weight, classes=(first, second, third))
    return {
        "classes": list(classes),
        "class_names": list(class_names),
        "classifiers": as_points(corners),
        "same": cloud(same),
        "different": cloud(~same),
    }


def as_points(points: Tensor) -> dict[str, list[float]]:
    """Return (N, 2) points as a picture holds them."""
    return {"x": rounded(points[:, 0]), "y": rounded(points[:, 1])}


def rounded(values: Tensor) -> list[float]:
    """Four significant digits: what a picture shows, at a third of the bytes."""
    return [float(f"{value:.4g}") for value in values.tolist()]
