"""Instruments of the studies: what they read off a network beside the bench's own measurement, each by name."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.generators import named_generator
from mixscope.base.simplex import project_to_classifier_plane, spans_plane
from mixscope.bench.build import Bench
from mixscope.bench.recorder import Instrument, Reading
from mixscope.capturing.sites import record_sites
from mixscope.measuring import PAIR_MIXING, Examination
from mixscope.measuring.pictures import as_points, rounded
from mixscope.metrics.blends.channels import classifier_coordinates
from mixscope.metrics.overtraining.sharpness import gradient_norm, sharpness
from mixscope.mixing.mixture import INPUT_SUFFIX, blend, blend_targets
from mixscope.mixing.mixup import Mixup, NoMixing
from mixscope.mixing.schemes import MixingScheme
from mixscope.training.objective import LOSSES

PLANE_POINTS = 150  # blends of a picture
GRADIENT_DRAWS = 5
WEIGHT_BINS = 5  # of the weight of same-class blends
QUANTILE = 0.9  # of the distance across the channel: what lies further out is left to the tails
LINEARITY_ALPHAS = (0.1, 0.5, 1.0)  # Chaudhry et al. 2022 train with 0.1 on SVHN and 0.5 on CIFAR; 1 is even weights
LINEARITY_NUMBERS = ("nonlinearity", "floor", "angle_degrees", "relative_defect")

Reader = Callable[[Examination], Reading]


def confidence(bench: Bench) -> Reader:
    """Mean confidence on test images that are classified right, and on those that are not (NaN without any)."""

    def read(seen: Examination) -> Reading:
        assert seen.predictions is not None
        logits, labels = torch.cat(seen.predictions.logits), torch.cat(seen.predictions.labels)
        top = logits.double().softmax(dim=1).max(dim=1)
        is_right = top.indices == labels
        return Reading(
            {
                "test/confidence_right": float(top.values[is_right].mean()),
                "test/confidence_wrong": float(top.values[~is_right].mean()),
            }
        )

    return read


def channel(bench: Bench) -> Reader:
    """How same-class blends lie along their classifier by weight, and how densely others fill the channel's middle.

    "channels/spread_same": over `WEIGHT_BINS` bins of the weight, the standard deviation of the mean coordinate of
    same-class blends on their class over its mean; 0 where it does not depend on the weight.
    "channels/spread_different" is the same for the height (x1 + x2) / 2 of other blends. "channels/middle_density": the
    share of different-class blends in the middle third of the way across (|x1 - x2| below a third of its 90% quantile)
    over a third of 0.9: 1 where blends are spread evenly, above where they gather on the boundary, below where they
    stay with the classes.
    """

    def read(seen: Examination) -> Reading:
        blends = seen.blends
        assert blends is not None
        middle = _middle(blends.examples[:, 0], blends.labels[:, 0])
        first, second = classifier_coordinates(blends.mixed.double() - middle, bench.subject.weight, blends.labels)
        same = blends.labels[:, 0] == blends.labels[:, 1]
        smaller = torch.minimum(blends.weights[:, 0], blends.weights[:, 1])
        across = (first - second)[~same].abs()
        near = float((across < torch.quantile(across, QUANTILE) / 3).double().mean())
        return Reading(
            {
                "channels/spread_same": _spread(first[same], smaller[same]),
                "channels/spread_different": _spread((first + second)[~same] / 2, smaller[~same]),
                "channels/middle_density": near / (QUANTILE / 3),
            }
        )

    return read


def objective_gradient(bench: Bench) -> Reader:
    """Length of the gradient of the objective trained on, over all training images.

    Under mixup each image is in `GRADIENT_DRAWS` blends with weights of their own, the same at every epoch.
    """
    recipe, probe, mixing = bench.options.training, bench.probe, bench.options.mixing
    scheme: MixingScheme = NoMixing()
    if mixing.mixing != "none":
        scheme = Mixup(alpha=1.0 if mixing.alpha is None else mixing.alpha, per_example=True)
    generator = named_generator(probe.split_seed, "gradient-blends")
    batches: list[tuple[Tensor, Tensor]] = []
    for _ in range(1 if mixing.mixing == "none" else GRADIENT_DRAWS):
        for inputs, labels in probe.train:
            mixture = scheme.draw(inputs, labels, generator=generator).to(inputs.device)
            targets = blend_targets(labels.to(inputs.device), mixture, num_classes=probe.num_classes)
            batches.append((blend(inputs, mixture), targets))

    def read(seen: Examination) -> Reading:
        norm = gradient_norm(bench.model, batches, loss=LOSSES[recipe.loss])
        return Reading({"train/objective_gradient_norm": norm})

    return read


def flatness(bench: Bench) -> Reader:
    """Filter-normalised sharpness of the loss on the clean training images."""
    batches = [(inputs, labels) for inputs, labels in bench.probe.train]

    def loss(model: nn.Module) -> float:
        total, num = 0.0, 0
        with torch.no_grad():
            for inputs, labels in batches:
                value = nn.functional.cross_entropy(model(inputs), labels.to(inputs.device), reduction="sum")
                total, num = total + float(value), num + len(inputs)
        return total / num

    def read(seen: Examination) -> Reading:
        generator = named_generator(bench.probe.split_seed, "sharpness")
        return Reading({"train/sharpness": sharpness(bench.model, loss, generator=generator).increase.value})

    return read


def classifier_mean(bench: Bench) -> Reader:
    """How far the mean of the classifier's rows has moved since the start, over its length at the start."""
    start = bench.subject.weight.mean(dim=0)

    def read(seen: Examination) -> Reading:
        moved = bench.subject.weight.mean(dim=0) - start
        return Reading({"nc/classifier_mean_drift": float(moved.norm() / start.norm())})

    return read


def planes(bench: Bench) -> Reader:
    """Blends of three classes on the plane of their classifiers, in training mode and in evaluation mode.

    Training mode is what Fisher et al. 2024 plot: batch norm then uses the statistics of the blends themselves.
    """
    probe, site = bench.probe, f"{bench.head}{INPUT_SUFFIX}"

    def read(seen: Examination) -> Reading:
        weight, rows = bench.subject.weight.cpu(), list(probe.plane_classes)
        if not rows or not spans_plane(weight[rows]):
            return Reading({})
        first, second, third = rows
        inputs = torch.cat([inputs for inputs, _ in probe.plane])[:PLANE_POINTS]
        labels = torch.cat([labels for _, labels in probe.plane])[:PLANE_POINTS].cpu()
        mixture = PAIR_MIXING.draw(inputs, labels, generator=named_generator(probe.split_seed, "plane-weights"))
        blended = blend(inputs, mixture.to(inputs.device))
        pair = labels[mixture.members]
        picture: dict[str, Any] = {"classes": [probe.class_names[row] for row in rows]}
        for mode, features in (*_in_both_modes(bench.model, blended, site), ("classifiers", weight[rows])):
            points = project_to_classifier_plane(features.double().cpu(), weight, classes=(first, second, third))
            picture[mode] = as_points(points)
        picture |= {"weight": rounded(mixture.weights[:, 0]), "same": (pair[:, 0] == pair[:, 1]).tolist()}
        return Reading({}, picture)

    return read


def linearity(bench: Bench) -> Reader:
    """How linear each site is on blends of two test images, whose weights are drawn by several laws.

    "linearity/alpha=A/SITE/NAME" on the same pairs: every NAME of `LINEARITY_NUMBERS` with the run's own A, and the
    nonlinearity alone with those of `LINEARITY_ALPHAS`.
    """
    own = bench.probe.linearity_alpha
    alphas = tuple(dict.fromkeys((own, *LINEARITY_ALPHAS)))

    def read(seen: Examination) -> Reading:
        by_alpha = dict(zip(alphas, seen.linearity, strict=True))
        values = {}
        for alpha in sorted(alphas):
            for site, report in by_alpha[alpha].items():
                for name in LINEARITY_NUMBERS if alpha == own else LINEARITY_NUMBERS[:1]:
                    values[f"linearity/alpha={alpha:g}/{site}/{name}"] = float(getattr(report, name))
        return Reading(values)

    return read


INSTRUMENTS: dict[str, Instrument] = {
    "confidence": Instrument(confidence, reads="test"),
    "channel": Instrument(channel, reads="blends"),
    "objective-gradient": Instrument(objective_gradient),
    "flatness": Instrument(flatness),
    "classifier-mean": Instrument(classifier_mean),
    "planes": Instrument(planes),
    "linearity": Instrument(linearity, reads="layers", alphas=LINEARITY_ALPHAS),
}


def _in_both_modes(model: nn.Module, inputs: Tensor, site: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the site's features in evaluation mode and in training mode; the network is left as it was."""
    modes = {module: module.training for module in model.modules()}
    buffers = [buffer.clone() for buffer in model.buffers()]
    try:
        for name, is_training in (("eval", False), ("train", True)):
            model.train(is_training)
            with torch.no_grad(), record_sites(model, (site,)) as recorded:
                model(inputs)
            yield name, recorded[site]
    finally:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(value)
        for module, mode in modes.items():
            module.training = mode


def _middle(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the class means."""
    classes = labels.unique()
    return torch.stack([features[labels == label].double().mean(dim=0) for label in classes]).mean(dim=0)


def _spread(values: Tensor, smaller: Tensor) -> float:
    """Return the standard deviation over its mean of the values' means in bins of the smaller weight."""
    place = (smaller / 0.5 * WEIGHT_BINS).long().clamp(max=WEIGHT_BINS - 1)
    means = torch.stack([values[place == index].mean() for index in range(WEIGHT_BINS)])
    return float(means.std(correction=0) / means.mean())
