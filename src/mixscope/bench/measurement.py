"""Measure one network on one set of images: every number of a metrics line and every picture of a report."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.base.simplex import project_to_classifier_plane, spans_plane
from mixscope.bench.probe import Probe
from mixscope.bench.theory_overlay import MIXUP, Expectation, draw_expectation
from mixscope.capturing.capture import capture
from mixscope.capturing.sites import measurable
from mixscope.measuring import BlendedFeatures, NetworkMeasurement, examine_network, linearity_values, measure_linearity
from mixscope.metrics.blends.channels import classifier_coordinates
from mixscope.metrics.calibration.top_label import Reliability
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.mixing.mixup import Mixup

PICTURED_PAIRS = 400  # points of a scatter plot: enough to see the shape, few enough for a phone


@dataclass(frozen=True)
class Measurement:
    """Flat numbers by their catalogue keys, and what the figures are drawn from (see the schema in records)."""

    values: dict[str, float]
    pictures: dict[str, Any]


def measure(
    model: nn.Module,
    probe: Probe,
    *,
    head: str,
    sites: tuple[str, ...],
    expectation: Expectation = MIXUP,
    draw_pictures: bool = True,
) -> Measurement:
    """Measure everything the bench knows about a network.

    Args:
        model: On the probe's device; left as it was.
        probe: The images.
        head: Module name of its linear classifier, whose input is the last-layer feature.
        sites: Modules whose linearity is measured, early to late.
        expectation: What theory expects of it.
        draw_pictures: Whether to add what takes longer: the picture of three classes' blends, and theory's curve fitted
            to the blends of all classes, with "channels/theory_residual".

    Raises:
        UserError: If the network's outputs do not fit the images' classes.
        ValueError: If a site does not exist.
    """
    classifier = model.get_submodule(head)
    if not isinstance(classifier, nn.Linear) or classifier.out_features != probe.num_classes:
        raise UserError(f"head {head!r} must be a linear layer with {probe.num_classes} outputs, got {classifier}")
    weight = measurable(classifier.weight.detach()).double()
    seen = examine_network(
        model,
        head=head,
        train_batches=probe.train,
        test_batches=probe.test,
        pair_batches=probe.pairs,
        generator=named_generator(probe.split_seed, "channel-weights"),
    )
    # Draws of its own, so that the blends of the one do not depend on the number of the other.
    layers = measure_linearity(
        model,
        probe.held_out,
        sites=sites,
        mixing=Mixup(alpha=probe.linearity_alpha, per_example=True),
        generator=named_generator(probe.split_seed, "linearity-weights"),
    )
    assert seen.reliability is not None
    assert seen.blends is not None
    values = seen.values | linearity_values(layers)
    pairs, curve = _draw_pairs(seen, seen.blends, weight, expectation if draw_pictures else None)
    if curve is not None:
        values["channels/theory_residual"] = curve["residual"]
    pictures: dict[str, Any] = {
        "reliability": _draw_reliability(seen.reliability, seen.values),
        "linearity": [{"site": site, **asdict(report)} for site, report in layers.items()],
        "pairs": pairs,
    }
    if draw_pictures and probe.plane_classes and spans_plane(weight[list(probe.plane_classes)]):
        pictures["plane"] = _draw_plane(model, probe, f"{head}{INPUT_SUFFIX}", weight=weight.cpu())
    return Measurement(values=values, pictures=pictures)


def _draw_pairs(
    seen: NetworkMeasurement, blends: BlendedFeatures, weight: Tensor, expectation: Expectation | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return where blends of two training images lie on the classifiers of their classes, and theory's curve."""
    labels, shares = blends.labels, blends.weights[:, 0]
    first, second = classifier_coordinates(blends.mixed.double() - seen.class_means.mean(dim=0), weight, labels)
    same = labels[:, 0] == labels[:, 1]
    some = slice(0, PICTURED_PAIRS)
    pairs: dict[str, Any] = {
        "weight": rounded(shares[some]),
        "x1": rounded(first[some]),
        "x2": rounded(second[some]),
        "same": same[some].tolist(),
    }
    if expectation is None:
        return pairs, None
    points = (part[~same].double().cpu() for part in (first, second, shares))
    curve = draw_expectation(expectation, *points, num_classes=len(weight))
    return pairs | ({} if curve is None else {"theory": curve}), curve


def _draw_plane(model: nn.Module, probe: Probe, site: str, *, weight: Tensor) -> dict[str, Any]:
    """Blend images of three classes among themselves and project their features on the plane of their classifiers."""
    first, second, third = probe.plane_classes
    blended = capture(
        model,
        probe.plane,
        sites=(site,),
        mixing=Mixup(alpha=1.0, per_example=True),
        generator=named_generator(probe.split_seed, "plane-weights"),
    )
    assert blended.mixture is not None
    points = project_to_classifier_plane(blended.features[site].double(), weight, classes=(first, second, third))
    corners = project_to_classifier_plane(weight[[first, second, third]], weight, classes=(first, second, third))
    labels, weights = blended.labels[blended.mixture.members], blended.mixture.weights[:, 0]
    same = labels[:, 0] == labels[:, 1]

    def cloud(chosen: Tensor) -> dict[str, Any]:
        return {
            "x": rounded(points[chosen, 0]),
            "y": rounded(points[chosen, 1]),
            "weight": rounded(weights[chosen]),
            "first": labels[chosen, 0].tolist(),
            "second": labels[chosen, 1].tolist(),
        }

    return {
        "classes": list(probe.plane_classes),
        "class_names": [probe.class_names[index] for index in probe.plane_classes],
        "classifiers": {"x": rounded(corners[:, 0]), "y": rounded(corners[:, 1])},
        "same": cloud(same),
        "different": cloud(~same),
    }


def _draw_reliability(reliability: Reliability, values: dict[str, float]) -> dict[str, Any]:
    return {
        "edges": reliability.edges.tolist(),
        "count": reliability.counts.tolist(),
        "confidence": reliability.confidence.tolist(),
        "accuracy": reliability.accuracy.tolist(),
        "ece": values["test/ece"],
        "signed_gap": values["test/signed_gap"],
    }


def rounded(values: Tensor) -> list[float]:
    """Four significant digits: what a picture shows, at a third of the bytes."""
    return [float(f"{value:.4g}") for value in values.tolist()]
