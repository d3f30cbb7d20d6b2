"""Features of blends: those of the last layer, and how linear any layer is on them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from mixscope.base.batch_pairs import pair_of
from mixscope.base.checks import naming
from mixscope.base.kinds import checked
from mixscope.capturing.capture import check_not_empty, draw_for_inputs
from mixscope.capturing.pieces import forward_rows, on_device_of
from mixscope.capturing.sites import check_pooled, check_sites, flat_rows, forward_watched, pooled_rows
from mixscope.metrics.blends.blend_reports import NonlinearityReport
from mixscope.metrics.blends.blend_sums import column_sums
from mixscope.metrics.blends.linearity import NonlinearityMeter
from mixscope.mixing.mixture import Mixture, blend
from mixscope.mixing.schemes import MixingScheme

Batches = Iterable[tuple[Tensor, Tensor]]


@checked
@dataclass(frozen=True)
class BlendLaw:
    """How examples are blended within their batch.

    Attributes:
        mixing: The law of partners and weights; it must blend inputs.
        generator: A CPU generator of the draws. The same seed at every epoch compares epochs on the same blends.
    """

    mixing: MixingScheme
    generator: torch.Generator


@dataclass(frozen=True)
class BlendedFeatures:
    """Features of N blends of P examples each, and of the examples themselves, on the model's device.

    Attributes:
        mixed: (N, D) in the model's dtype, features of the blends.
        examples: (N, P, D), features of each blend's own examples.
        weights: (N, P) float64, the share of each.
        labels: (N, P) int64, the class of each.
    """

    mixed: Tensor
    examples: Tensor
    weights: Tensor
    labels: Tensor


@checked
def capture_blends(
    model: nn.Module, batches: Batches, *, site: str, law: BlendLaw, features: Tensor | None = None
) -> BlendedFeatures:
    """Blend batches within themselves and keep one site's features of the blends and of the examples they are made of.

    Args:
        model: Takes a batch of inputs; left as it was.
        batches: Pairs of inputs and (B,) integer labels.
        site: "NAME" for the output of the submodule of that name, "NAME:input" for its first input; flattened.
        law: Of the blends.
        features: (N, D), the site's features of all examples in their order, where they are known: the blends alone
            then go through the model.

    Raises:
        ValueError: If the site is not a submodule, is not run exactly once, or is no tensor with one row per example;
            if there are no batches, the law blends anything but inputs, or features are not one row per example.
    """
    parts: list[BlendedFeatures] = []
    num_examples, reader = 0, {site: flat_rows}
    for inputs, labels in _on_device(model, batches):
        rows = slice(num_examples, num_examples + len(inputs))
        num_examples = rows.stop
        mixture = draw_for_inputs(law.mixing, inputs, labels, generator=law.generator)
        mixed = forward_rows(model, blend(inputs, mixture), reader)[1][site]
        clean = forward_rows(model, inputs, reader)[1][site] if features is None else features[rows]
        if len(clean) != len(inputs):
            raise ValueError(f"features must have one row per example, got {rows.start + len(clean)} of {num_examples}")
        draw = mixture.to(mixed.device)
        own = labels.to(mixed.device, torch.int64)[draw.members]
        parts.append(BlendedFeatures(mixed, clean[draw.members], draw.weights.to(torch.float64), own))
    return BlendedFeatures(
        mixed=torch.cat([part.mixed for part in parts]),
        examples=torch.cat([part.examples for part in parts]),
        weights=torch.cat([part.weights for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
    )


@checked
def measure_linearity(
    model: nn.Module,
    batches: Batches,
    *,
    sites: Sequence[str],
    laws: Sequence[BlendLaw],
    average_pooled: Sequence[str] = (),
    feature_means: Mapping[str, Tensor] | None = None,
) -> list[dict[str, NonlinearityReport]]:
    """Measure how far the features of blends are from blends of features, at any sites of any model.

    Each batch is blended within itself, and goes through the model once with its blends by every law behind it.
    Features are read while they pass by: nothing is copied, and memory is constant however wide a layer and however
    many the batches. The relative defect needs each site's mean feature first: without `feature_means` the unblended
    batches go through the model once more beforehand.

    Args:
        model: Takes a batch of inputs; left as it was. What it returns is not looked at.
        batches: Pairs of inputs and (B,) integer labels; gone through twice without `feature_means`.
        sites: "NAME" for the output of the submodule of that name, "NAME:input" for its first input.
        laws: Of the blends, for example by `Mixup(alpha=0.5, per_example=True)`; they must blend whole inputs.
        average_pooled: Those of the sites at which averages are compared, over pixels or tokens; see `capture`.
        feature_means: Site to the (D,) mean feature of unblended examples, usually of an earlier epoch.

    Returns:
        For each law, site to its report, in the order of `sites`.

    Raises:
        ValueError: If there are no sites, or one is not a submodule, is not run exactly once, or is no tensor with one
            row per example; if feature_means lacks a site; if there are no batches or they can be gone through only
            once; if a feature is not finite, or a law blends anything but whole inputs.

    Example:
        >>> from mixscope.mixing.mixup import Mixup
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
        >>> batches = [(torch.eye(3), torch.arange(3))]
        >>> law = BlendLaw(Mixup(), torch.Generator().manual_seed(0))
        >>> (reports,) = measure_linearity(model, batches, sites=("0",), laws=[law])
        >>> reports["0"].relative_defect < 1e-6
        True
    """
    check_sites(model, sites)
    check_pooled(sites, average_pooled)
    if not sites:
        raise ValueError("sites must name at least one place in the model, got none")
    readers = {site: pooled_rows if site in average_pooled else flat_rows for site in sites}
    source = "batches" if feature_means is None else "batches and feature_means"
    if feature_means is None:
        if iter(batches) is batches:
            raise ValueError(
                "batches must be iterable twice (a list or a DataLoader) or come with feature_means, "
                f"got a {type(batches).__name__} that is used up after once"
            )
        feature_means = _mean_features(model, batches, readers)
    for site in sites:
        if site not in feature_means:
            raise ValueError(f"feature_means must have every site, got none of {site!r}")
    with naming("feature_means"):
        meters = [{site: NonlinearityMeter(feature_means[site]) for site in sites} for _ in laws]
    for inputs, labels in _on_device(model, batches):
        mixtures = [draw_for_inputs(law.mixing, inputs, labels, generator=law.generator) for law in laws]
        if any(mixture.mask is not None for mixture in mixtures):
            raise ValueError("mixing must blend whole inputs, got a scheme that pastes regions")
        rows = torch.cat([inputs, *(blend(inputs, mixture) for mixture in mixtures)])

        def feed(site: str, value: Tensor, mixtures: Sequence[Mixture] = mixtures, num_rows: int = len(rows)) -> None:
            clean, *mixed = readers[site](value, site=site, num_rows=num_rows).chunk(1 + len(mixtures))
            with naming(f"{source} at site {site!r}"):
                for own, blends, mixture in zip(meters, mixed, mixtures, strict=True):
                    own[site].update(blends, clean, mixture.members, mixture.weights)

        forward_watched(model, rows, {site: partial(feed, site) for site in sites})
    return [{site: meter.report() for site, meter in own.items()} for own in meters]


def _on_device(model: nn.Module, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    num_examples = 0
    for batch in batches:
        inputs, labels = pair_of(batch)
        num_examples += len(inputs)
        yield on_device_of(model, inputs), labels
    check_not_empty(num_examples)


def _mean_features(
    model: nn.Module, batches: Batches, readers: Mapping[str, Callable[..., Tensor]]
) -> dict[str, Tensor]:
    """Return each site's (D,) float64 mean feature."""
    sums: dict[str, Tensor] = {}
    num_examples = 0
    for inputs, _ in _on_device(model, batches):
        num_examples += len(inputs)

        def add(site: str, value: Tensor, num_rows: int = len(inputs)) -> None:
            total = column_sums(readers[site](value, site=site, num_rows=num_rows))
            if site in sums and len(sums[site]) != len(total):
                widths = f"{len(sums[site])} and {len(total)}"
                raise ValueError(f"the features of site {site!r} must have the same width in every batch, got {widths}")
            sums[site] = sums[site] + total if site in sums else total

        forward_watched(model, inputs, {site: partial(add, site) for site in readers})
    return {site: total / num_examples for site, total in sums.items()}
