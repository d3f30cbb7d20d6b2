"""What a model makes of blends: linearity of its layers, and where the last layer's features of blends lie."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixscope.base.checks import check_finite, check_shape, naming, pair_of
from mixscope.base.kinds import checked
from mixscope.capturing.capture import check_not_empty, draw_for_inputs, on_device_of
from mixscope.capturing.sites import check_pooled, check_sites, flat_rows, forward_watched, measurable, pooled_rows
from mixscope.measuring.last_layer import linear_head
from mixscope.metrics.blends.blend_reports import ChannelReport, NonlinearityReport
from mixscope.metrics.blends.blend_sums import column_sums
from mixscope.metrics.blends.channels import mixed_feature_geometry
from mixscope.metrics.blends.linearity import NonlinearityMeter
from mixscope.mixing.mixture import INPUT_SUFFIX, Mixture, blend
from mixscope.mixing.mixup import Mixup
from mixscope.mixing.schemes import MixingScheme

CHANNEL_MIXING = Mixup(alpha=1.0, per_example=True)  # every weight equally often, as Fisher et al. 2024 draw blends


@dataclass(frozen=True)
class BlendedFeatures:
    """Features of N blends of P examples each, and of the examples themselves, on the model's device.

    Attributes:
        mixed: (N, D) in the model's dtype, features of the blends.
        members: (N, P, D), features of each blend's own examples.
        weights: (N, P) float64, the share of each.
        labels: (N, P) int64, the class of each.
    """

    mixed: Tensor
    members: Tensor
    weights: Tensor
    labels: Tensor


@checked
def measure_linearity(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    sites: Sequence[str],
    mixing: MixingScheme,
    generator: torch.Generator,
    average_pooled: Sequence[str] = (),
    feature_means: Mapping[str, Tensor] | None = None,
) -> dict[str, NonlinearityReport]:
    """Measure how far the features of blends are from blends of features, at any sites of any model.

    Each batch is blended within itself, and goes through the model once with its blends behind it. Features are read
    while they pass by: nothing is copied, and memory is constant however wide a layer and however many the batches.

    The relative defect needs each site's mean feature first. Without `feature_means` the unblended batches go through
    the model once more beforehand, which adds half to the forward passes.

    Args:
        model: Takes a batch of inputs; left as it was. What it returns is not looked at.
        batches: Pairs of inputs and (B,) integer labels; gone through twice without `feature_means`.
        sites: "NAME" for the output of the submodule of that name, "NAME:input" for its first input.
        mixing: The law of partners and weights, for example `Mixup(alpha=0.5, per_example=True)` (a symmetric Beta or,
            with num_points, Dirichlet law) or `FixedWeights(...)`. It must blend whole inputs.
        generator: A CPU generator for the scheme.
        average_pooled: Those of the sites at which averages are compared, over pixels or tokens; see `capture`.
        feature_means: Site to the (D,) mean feature of unblended examples, usually of an earlier epoch.

    Returns:
        Site to its report, in the order of `sites`.

    Raises:
        ValueError: If there are no sites, or one is not a submodule, is not run exactly once, or is no tensor with one
            row per example; if feature_means lacks a site; if there are no batches or they can be gone through only
            once; if a feature is not finite, or the scheme blends anything but whole inputs.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
        >>> batches = [(torch.eye(3), torch.arange(3))]
        >>> reports = measure_linearity(
        ...     model, batches, sites=("0",), mixing=Mixup(), generator=torch.Generator().manual_seed(0)
        ... )
        >>> reports["0"].relative_defect < 1e-6
        True
    """
    check_sites(model, sites)
    check_pooled(sites, average_pooled)
    source = "batches" if feature_means is None else "batches and feature_means"
    if not sites:
        raise ValueError("sites must name at least one place in the model, got none")
    readers = {site: pooled_rows if site in average_pooled else flat_rows for site in sites}
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
        meters = {site: NonlinearityMeter(feature_means[site]) for site in sites}

    for inputs, _, mixture in _with_blends(model, batches, mixing, generator):
        if mixture.mask is not None:
            raise ValueError("mixing must blend whole inputs, got a scheme that pastes regions")

        def feed(value: Tensor, site: str, mixture: Mixture = mixture, num_rows: int = len(inputs)) -> None:
            clean, mixed = readers[site](value, site=site, num_rows=num_rows).chunk(2)
            with naming(f"{source} at site {site!r}"):
                meters[site].update(mixed, clean, mixture.members, mixture.weights)

        forward_watched(model, inputs, {site: _at(site, feed) for site in sites})
    return {site: meter.report() for site, meter in meters.items()}


@checked
def capture_blends(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    site: str,
    mixing: MixingScheme,
    generator: torch.Generator,
) -> BlendedFeatures:
    """Blend batches within themselves and keep one site's features of the blends and of the examples they are made of.

    Args:
        model: Takes a batch of inputs; left as it was.
        batches: Pairs of inputs and (B,) integer labels.
        site: "NAME" for the output of the submodule of that name, "NAME:input" for its first input; flattened.
        mixing: The law of partners and weights; it must blend inputs.
        generator: A CPU generator for the scheme.

    Returns:
        The features, N (P + 1) rows in all.

    Raises:
        ValueError: If the site is not a submodule, is not run exactly once, or is no tensor with one row per example;
            if there are no batches, or the scheme blends anything but inputs.
    """
    parts: list[BlendedFeatures] = []
    for inputs, labels, mixture in _with_blends(model, batches, mixing, generator):

        def keep(
            value: Tensor, labels: Tensor = labels, mixture: Mixture = mixture, num_rows: int = len(inputs)
        ) -> None:
            clean, mixed = flat_rows(value, site=site, num_rows=num_rows).chunk(2)
            draw = mixture.to(value.device)
            own = labels.to(value.device, torch.int64)[draw.members]
            parts.append(BlendedFeatures(mixed.clone(), clean[draw.members], draw.weights.to(torch.float64), own))

        forward_watched(model, inputs, {site: keep})
    return BlendedFeatures(
        mixed=torch.cat([part.mixed for part in parts]),
        members=torch.cat([part.members for part in parts]),
        weights=torch.cat([part.weights for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
    )


@checked
def measure_channels(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    head: str,
    class_means: Tensor,
    generator: torch.Generator,
    mixing: MixingScheme = CHANNEL_MIXING,
) -> ChannelReport:
    """Measure where the last layer's features of blends lie: on the straight line, or along a channel.

    Args:
        model: Takes a batch of inputs, returns logits; left as it was.
        batches: Pairs of inputs and (B,) integer labels in [0, K), usually some thousand training examples; each batch
            is blended within itself, so it should hold examples of all classes.
        head: Module name of the linear classifier.
        class_means: (K, D) float, the class means of the features that enter it (`ClassStatistics.means`).
        generator: A CPU generator for the scheme.
        mixing: The law of partners and weights; P = 2.

    Returns:
        The report; a number is NaN where no blend falls into its group.

    Raises:
        ValueError: If the head is not linear, shapes do not fit, a feature is not finite, labels are outside [0, K), or
            the scheme does not blend two inputs.
    """
    linear = linear_head(model, head)
    blends = capture_blends(model, batches, site=f"{head}{INPUT_SUFFIX}", mixing=mixing, generator=generator)
    check_shape((linear.out_features, linear.in_features), of=f"head {head!r}", class_means=class_means)
    check_finite(class_means=class_means)
    with naming("batches"):
        return channels_of(blends, linear, class_means)


def channels_of(blends: BlendedFeatures, linear: nn.Linear, class_means: Tensor) -> ChannelReport:
    """Return the channel report of blends of two examples, given the classifier and the class means."""
    if blends.members.shape[1] != 2:
        raise ValueError(f"mixing must blend two examples for the channels, got {blends.members.shape[1]}")
    return mixed_feature_geometry(
        blends.mixed, blends.members, blends.weights[:, 0], blends.labels, class_means, measurable(linear.weight)
    )


def _with_blends(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], mixing: MixingScheme, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Mixture]]:
    """Yield (2B, ...) inputs, a batch and behind it its blends, the batch's labels, and the draw."""
    num_examples = 0
    for batch in batches:
        batch_inputs, labels = pair_of(batch)
        num_examples += len(batch_inputs)
        inputs = on_device_of(model, batch_inputs)
        mixture = draw_for_inputs(mixing, inputs, labels, generator=generator)
        yield torch.cat([inputs, blend(inputs, mixture)]), labels, mixture
    check_not_empty(num_examples)


def _mean_features(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], readers: Mapping[str, Callable[..., Tensor]]
) -> dict[str, Tensor]:
    """Return each site's (D,) float64 mean feature."""
    sums: dict[str, Tensor] = {}
    num_examples = 0
    for batch in batches:
        inputs = on_device_of(model, pair_of(batch)[0])
        num_examples += len(inputs)

        def add(value: Tensor, site: str, num_rows: int = len(inputs)) -> None:
            total = column_sums(readers[site](value, site=site, num_rows=num_rows))
            if site in sums and len(sums[site]) != len(total):
                widths = f"{len(sums[site])} and {len(total)}"
                raise ValueError(f"the features of site {site!r} must have the same width in every batch, got {widths}")
            sums[site] = sums[site] + total if site in sums else total

        forward_watched(model, inputs, {site: _at(site, add) for site in readers})
    check_not_empty(num_examples)
    return {site: total / num_examples for site, total in sums.items()}


def _at(site: str, function: Callable[[Tensor, str], None]) -> Callable[[Tensor], None]:
    return lambda value: function(value, site)
