"""Measurement of one network on one set of images: every number of a metrics line and what figures are drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.base.simplex import spans_plane
from mixscope.bench.kept_predictions import Predictions, PredictionSpool, predictions_of
from mixscope.bench.probe import Probe
from mixscope.bench.theory_overlay import MIXUP, Expectation, draw_expectation
from mixscope.capturing.capture import capture
from mixscope.measuring import (
    PAIR_MIXING,
    BlendedFeatures,
    BlendLaw,
    Examination,
    examine,
    linear_head,
    weight_and_bias,
)
from mixscope.measuring.pictures import plane_picture, reliability_picture, rounded
from mixscope.metrics.blends.channels import classifier_coordinates
from mixscope.metrics.calibration.temperature_scaling import scaling_report
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.mixing.mixup import Mixup

PICTURED_PAIRS = 400  # points of a scatter plot: enough to see the shape, few enough for a phone


@dataclass(frozen=True)
class Subject:
    """A network and what it is measured on."""

    model: nn.Module  # on the probe's device; left as it was
    head: str | None  # module name of its linear classifier, whose input is the last-layer feature; None: no such
    sites: tuple[str, ...]  # modules whose linearity is measured, early to late
    probe: Probe
    expectation: Expectation = MIXUP

    @property
    def weight(self) -> Tensor:
        """(K, D) float64, the classifier's rows; a `UserError` if they do not fit the images' classes."""
        assert self.head is not None
        classifier, num_classes = linear_head(self.model, self.head), self.probe.num_classes
        if classifier.out_features != num_classes:
            raise UserError(f"head {self.head!r} must be a linear layer with {num_classes} outputs, got {classifier}")
        return weight_and_bias(classifier)[0].double()

    @property
    def _alphas(self) -> tuple[float, ...]:
        return (self.probe.linearity_alpha,) if self.sites else ()

    def examine(
        self,
        *,
        test: bool = True,
        blends: bool = True,
        alphas: Sequence[float] | None = None,
        keep_logits: bool | Callable[[Tensor, Tensor], object] = True,
    ) -> Examination:
        """Examine the network, each set of images in one pass.

        Args:
            test: Whether the test images are predicted.
            blends: Whether training images go through, and blends of pairs of them; without a head, or without
                training images, they do not.
            alphas: Of the laws by which test images are blended for the linearity of layers; None: the probe's own
                where there are sites.
            keep_logits: Of the predictions on the test images, as `examine` takes it.
        """
        probe, blends = self.probe, blends and self.head is not None and self.probe.has_train
        # Draws of their own, so that the blends of the one do not depend on the number of the other.
        laws = [
            BlendLaw(Mixup(alpha=alpha, per_example=True), named_generator(probe.split_seed, "linearity-weights"))
            for alpha in (self._alphas if alphas is None else alphas)
        ]
        return examine(
            self.model,
            head=self.head if blends else None,
            train=probe.train if blends else None,
            test=probe.test if test else None,
            pairs=probe.pairs if blends else None,
            pair_law=BlendLaw(PAIR_MIXING, named_generator(probe.split_seed, "channel-weights")) if blends else None,
            pair_rows=probe.pair_rows if blends else None,
            layer_pairs=probe.layer_pairs if laws else None,
            layer_laws=laws,
            sites=self.sites if laws else (),
            keep_logits=keep_logits,
        )


@dataclass(frozen=True)
class Measurement:
    """Flat numbers by their catalogue keys, and what the figures are drawn from (see the schema in records)."""

    values: dict[str, float]
    pictures: dict[str, Any]


def measure(subject: Subject, spool: PredictionSpool) -> Measurement:
    """Measure everything the bench knows about a network, pictures included; its predictions go into the spool."""
    seen = subject.examine(keep_logits=spool.add)
    return draw(subject, seen, spool.predictions())


def draw(subject: Subject, seen: Examination, predictions: Predictions | None = None) -> Measurement:
    """Draw the pictures of an examination, and add the numbers that take longer.

    These are "channels/theory_residual", of theory's curve fitted for the pictures, and those of temperature scaling.
    `predictions` are those on the test images; None: the examination has kept them.
    """
    pictures: dict[str, Any] = {}
    residual: dict[str, float] = {}
    scaling: dict[str, float] = {}
    if seen.predictions is not None:
        pictures["reliability"] = reliability_picture(seen.predictions, seen.values)
        scaling = scale(predictions or predictions_of(seen.predictions), seed=subject.probe.split_seed)
    if seen.linearity:
        pictures["linearity"] = [{"site": site, **asdict(report)} for site, report in seen.linearity[0].items()]
    if seen.blends is not None and seen.train is not None:
        center = seen.train.statistics.means.mean(dim=0)
        pictures["pairs"], residual = _draw_pairs(subject, seen.blends, center=center)
    classes = subject.probe.plane_classes if seen.blends is not None else ()
    if classes and spans_plane(subject.weight[list(classes)]):
        pictures["plane"] = _draw_plane(subject)
    return Measurement(seen.values | scaling | residual, pictures)


def scale(predictions: Predictions, *, seed: int) -> dict[str, float]:
    """Return the numbers of temperature scaling; none where the images have no best temperature."""
    generator = named_generator(seed, "scaling-halves")
    return scaling_report(predictions.logits, predictions.labels, generator=generator).values("scaling")


def _draw_pairs(
    subject: Subject, blends: BlendedFeatures, *, center: Tensor
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return where blends of two training images lie on the classifiers of their classes, and theory's curve."""
    weight, labels, shares = subject.weight, blends.labels, blends.weights[:, 0]
    first, second = classifier_coordinates(blends.mixed.double() - center, weight, labels)
    same = labels[:, 0] == labels[:, 1]
    some = slice(0, PICTURED_PAIRS)
    pairs: dict[str, Any] = {
        "weight": rounded(shares[some]),
        "x1": rounded(first[some]),
        "x2": rounded(second[some]),
        "same": same[some].tolist(),
    }
    points = (part[~same].double().cpu() for part in (first, second, shares))
    curve = draw_expectation(subject.expectation, *points, num_classes=len(weight))
    return (
        (pairs, {}) if curve is None else (pairs | {"theory": curve}, {"channels/theory_residual": curve["residual"]})
    )


def _draw_plane(subject: Subject) -> dict[str, Any]:
    """Blend images of three classes among themselves and project their features on the plane of their classifiers."""
    probe, weight, site = subject.probe, subject.weight.cpu(), f"{subject.head}{INPUT_SUFFIX}"
    blended = capture(
        subject.model,
        probe.plane,
        sites=(site,),
        mixing=PAIR_MIXING,
        generator=named_generator(probe.split_seed, "plane-weights"),
    )
    assert blended.mixture is not None
    labels, weights = blended.labels[blended.mixture.members], blended.mixture.weights[:, 0]
    return plane_picture(
        blended.features[site],
        labels,
        weights,
        head_weight=weight,
        classes=probe.plane_classes,
        class_names=[probe.class_names[index] for index in probe.plane_classes],
    )
