"""Measure one network on one set of images: every number of a metrics line and every picture of a report."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from mixscope._errors import UserError
from mixscope._random import named_generator
from mixscope.capturing import Captured, capture
from mixscope.experiment.probe import Batch, Probe
from mixscope.metrics.calibration import CalibrationBins, brier_score, negative_log_likelihood_from_logits
from mixscope.metrics.channels import classifier_coordinates, mixed_feature_geometry
from mixscope.metrics.collapse import nearest_class_mean_mismatch, neural_collapse
from mixscope.metrics.linearity import NonlinearityReport, nonlinearity
from mixscope.metrics.statistics import ClassStatistics
from mixscope.mixing.pixel import Mixup
from mixscope.simplex import project_to_classifier_plane, spans_plane

PICTURED_PAIRS = 400  # points of a scatter plot: enough to see the shape, few enough for a phone

UNDEFINED = NonlinearityReport(*[math.nan] * len(fields(NonlinearityReport)))


@dataclass(frozen=True)
class Measurement:
    """Flat numbers by their catalogue keys, and what the figures are drawn from (see the schema in records)."""

    values: dict[str, float]
    pictures: dict[str, Any]


def measure(
    model: nn.Module, probe: Probe, *, head: str, sites: tuple[str, ...], draw_plane: bool = True
) -> Measurement:
    """Measure everything the bench knows about a network.

    Args:
        model: On the probe's device; left as it was.
        probe: The images.
        head: Module name of its linear classifier, whose input is the last-layer feature.
        sites: Modules whose linearity is measured, early to late.
        draw_plane: Whether to add the picture of three classes' blends, which has no numbers.

    Raises:
        UserError: If the network's outputs do not fit the images' classes.
        ValueError: If a site does not exist.
    """
    classifier = model.get_submodule(head)
    if not isinstance(classifier, nn.Linear) or classifier.out_features != probe.num_classes:
        raise UserError(f"head {head!r} must be a linear layer with {probe.num_classes} outputs, got {classifier}")
    # What is captured comes to the CPU, so the classifier does too.
    weight = classifier.weight.detach().cpu().double()
    bias = None if classifier.bias is None else classifier.bias.detach().cpu().double()
    feature_site = f"{head}:input"

    train = capture(model, probe.train, sites=(feature_site,))
    features = train.features[feature_site]
    statistics = ClassStatistics(probe.num_classes, features.shape[1])
    statistics.update(features, train.labels)
    collapse = neural_collapse(statistics, weight, bias)
    mismatch = nearest_class_mean_mismatch(features, statistics.means, weight, bias)
    values = {f"nc/{name}": value for name, value in collapse.as_dict().items() if value is not None}
    values["nc/nc4_mismatch"] = mismatch
    values["train/accuracy_clean"] = _accuracy(train.logits, train.labels)
    values["train/loss_clean"] = negative_log_likelihood_from_logits(train.logits, train.labels)

    bins = CalibrationBins()
    values |= _measure_test(model, probe, bins)
    channels, pairs = _measure_channels(model, probe, feature_site, class_means=statistics.means, weight=weight)
    values |= channels
    layers = _measure_linearity(model, probe, sites)
    for layer in layers:
        site = layer["site"]
        values |= {f"linearity/{site}/{name}": number for name, number in layer.items() if name != "site"}
    pictures: dict[str, Any] = {"reliability": _reliability(bins), "linearity": layers, "pairs": pairs}
    if draw_plane and probe.plane_classes and spans_plane(weight[list(probe.plane_classes)]):
        pictures["plane"] = _draw_plane(model, probe, feature_site, weight=weight)
    return Measurement(values=values, pictures=pictures)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())


def _measure_test(model: nn.Module, probe: Probe, bins: CalibrationBins) -> dict[str, float]:
    test = capture(model, probe.test, sites=())
    probabilities = torch.softmax(test.logits.double(), dim=1)
    bins.update(probabilities, test.labels)
    accuracy = _accuracy(test.logits, test.labels)
    return {
        "test/accuracy": accuracy,
        "test/error": 1 - accuracy,
        "test/loss": negative_log_likelihood_from_logits(test.logits, test.labels),
        "test/brier": brier_score(probabilities, test.labels),
        "test/ece": bins.expected_calibration_error,
        "test/signed_gap": bins.signed_gap,
        "test/mean_confidence": bins.mean_confidence,
    }


@dataclass(frozen=True)
class _Blended:
    """Blends captured at some sites, and the real examples they are made of.

    `weights` (N,) is the first member's share, `labels` (N, 2) are the members' classes.
    """

    mixed: Captured
    clean: Captured
    members: Tensor
    weights: Tensor
    labels: Tensor

    def at(self, site: str) -> tuple[Tensor, Tensor]:
        """Return the (N, D) features of the blends and the (N, 2, D) features of their members."""
        return self.mixed.features[site], self.clean.features[site][self.members]


def _blend_and_capture(
    model: nn.Module, probe: Probe, batches: Sequence[Batch], sites: tuple[str, ...], *, alpha: float, purpose: str
) -> _Blended:
    generator = named_generator(probe.split_seed, purpose)
    scheme = Mixup(alpha=alpha, per_example=True)
    mixed = capture(model, batches, sites=sites, mixing=scheme, generator=generator)
    clean = capture(model, batches, sites=sites)
    assert mixed.mixture is not None
    members = mixed.mixture.members
    return _Blended(mixed, clean, members, mixed.mixture.weights[:, 0], clean.labels[members])


def _measure_channels(
    model: nn.Module, probe: Probe, site: str, *, class_means: Tensor, weight: Tensor
) -> tuple[dict[str, float], dict[str, Any]]:
    """Blend pairs of training images of all classes and look at their last-layer features."""
    blended = _blend_and_capture(model, probe, probe.pairs, (site,), alpha=1.0, purpose="channel-weights")
    mixed, members = blended.at(site)
    report = mixed_feature_geometry(mixed, members, blended.weights, blended.labels, class_means, weight)
    some = slice(0, PICTURED_PAIRS)
    labels = blended.labels[some]
    first, second = classifier_coordinates(mixed[some].double() - class_means.mean(dim=0), weight, labels)
    pairs = {
        "weight": _rounded(blended.weights[some]),
        "x1": _rounded(first),
        "x2": _rounded(second),
        "same": (labels[:, 0] == labels[:, 1]).tolist(),
    }
    return {f"channels/{item.name}": getattr(report, item.name) for item in fields(report)}, pairs


def _draw_plane(model: nn.Module, probe: Probe, site: str, *, weight: Tensor) -> dict[str, Any]:
    """Blend images of three classes among themselves and project their features on the plane of their classifiers."""
    first, second, third = probe.plane_classes
    blended = _blend_and_capture(model, probe, probe.plane, (site,), alpha=1.0, purpose="plane-weights")
    points = project_to_classifier_plane(blended.at(site)[0].double(), weight, classes=(first, second, third))
    corners = project_to_classifier_plane(weight[[first, second, third]], weight, classes=(first, second, third))
    labels = blended.labels
    same = labels[:, 0] == labels[:, 1]

    def cloud(chosen: Tensor) -> dict[str, Any]:
        return {
            "x": _rounded(points[chosen, 0]),
            "y": _rounded(points[chosen, 1]),
            "weight": _rounded(blended.weights[chosen]),
            "first": labels[chosen, 0].tolist(),
            "second": labels[chosen, 1].tolist(),
        }

    return {
        "classes": list(probe.plane_classes),
        "class_names": [probe.class_names[index] for index in probe.plane_classes],
        "classifiers": {"x": _rounded(corners[:, 0]), "y": _rounded(corners[:, 1])},
        "same": cloud(same),
        "different": cloud(~same),
    }


def _measure_linearity(model: nn.Module, probe: Probe, sites: tuple[str, ...]) -> list[dict[str, Any]]:
    """Blend pairs of test images and ask at every site how far the features are from blends of features."""
    alpha = probe.linearity_alpha
    blended = _blend_and_capture(model, probe, probe.held_out, sites, alpha=alpha, purpose="linearity-weights")
    weights = torch.stack([blended.weights, 1 - blended.weights], dim=1)
    layers: list[dict[str, Any]] = []
    for site in sites:
        mixed, members = blended.at(site)
        # A dead layer gives zeros, which have no direction: its numbers are undefined, and the run goes on.
        is_dead = not (mixed.any(dim=1).all() and members.any(dim=2).all())
        report = UNDEFINED if is_dead else nonlinearity(mixed, members, weights)
        layers.append({"site": site, **asdict(report)})
    return layers


def _reliability(bins: CalibrationBins) -> dict[str, Any]:
    return {
        "edges": bins.edges.tolist(),
        "count": bins.counts.tolist(),
        "confidence": bins.bin_confidence.tolist(),
        "accuracy": bins.bin_accuracy.tolist(),
        "ece": bins.expected_calibration_error,
        "signed_gap": bins.signed_gap,
    }


def _rounded(values: Tensor) -> list[float]:
    """Four significant digits: what a picture shows, at a third of the bytes."""
    return [float(f"{value:.4g}") for value in values.tolist()]
