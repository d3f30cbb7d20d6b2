"""Everything about one network in one call, keyed as in the metrics' catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixscope.base.checks import naming
from mixscope.base.kinds import checked
from mixscope.measuring.blends import CHANNEL_MIXING, BlendedFeatures, capture_blends, channels_of, measure_linearity
from mixscope.measuring.last_layer import collapse_of, linear_head, look_at
from mixscope.metrics.blends.blend_reports import NonlinearityReport
from mixscope.metrics.calibration.calibration_report import CalibrationReport
from mixscope.metrics.calibration.top_label import Reliability
from mixscope.metrics.collapse.held_out import collapse_on_test
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.mixing.mixup import Mixup
from mixscope.mixing.schemes import MixingScheme

Batches = Iterable[tuple[Tensor, Tensor]]

LINEARITY_MIXING = Mixup(alpha=0.5, per_example=True)  # Chaudhry et al. 2022 train with this law on CIFAR


@dataclass(frozen=True)
class NetworkMeasurement:
    """What `examine_network` measured.

    Attributes:
        values: Every number by its key in the metrics' catalogue: "nc/...", "train/...", "nc_test/...", "test/...",
            "channels/...", "linearity/SITE/...".
        class_means: (K, D) float64, the class means of the training features; `class_means` of the next epoch's call.
        reliability: Reliability diagram of the test examples; None without them.
        blends: The blends behind the channel numbers; None without `pair_batches`.
        linearity: Site to its report; empty without sites.
    """

    values: dict[str, float]
    class_means: Tensor
    reliability: Reliability | None
    blends: BlendedFeatures | None
    linearity: dict[str, NonlinearityReport]


@checked
def examine_network(
    model: nn.Module,
    *,
    head: str,
    train_batches: Batches,
    test_batches: Batches | None = None,
    pair_batches: Batches | None = None,
    linearity_batches: Batches | None = None,
    sites: Sequence[str] = (),
    average_pooled: Sequence[str] = (),
    generator: torch.Generator | None = None,
    pair_mixing: MixingScheme = CHANNEL_MIXING,
    linearity_mixing: MixingScheme = LINEARITY_MIXING,
    class_means: Tensor | None = None,
) -> NetworkMeasurement:
    """Measure neural collapse, accuracy, loss, calibration, channels and linearity of a network.

    One forward pass over the training examples and one over the test examples; blends go through with the examples they
    are made of, and linearity looks at its examples once more beforehand. What is not given is not measured. On N
    training examples with D features N x D numbers are kept for a while, unless `class_means` is given.

    Args:
        model: Takes a batch of inputs, returns (B, K) logits; left as it was.
        head: Module name of the linear classifier that gives the logits.
        train_batches: Training examples, unblended and unaugmented, every class among them, for "nc/..." and
            "train/...". Batches are pairs of inputs and (B,) integer labels in [0, K).
        test_batches: Test examples, for "test/..." and "nc_test/...", measured against the training class means.
        pair_batches: Training examples that are blended within their batch, for "channels/...".
        linearity_batches: Test examples that are blended within their batch, for "linearity/SITE/..."; gone through
            twice.
        sites: The places whose linearity is measured, "NAME" or "NAME:input"; given with `linearity_batches`.
        average_pooled: Those of the sites at which averages over pixels or tokens are compared.
        generator: A CPU generator for the blends; needed with `pair_batches` or `linearity_batches`. The same seed at
            every epoch compares epochs on the same blends.
        pair_mixing: The law of the blends of `pair_batches`; P = 2.
        linearity_mixing: The law of the blends of `linearity_batches`.
        class_means: (K, D) float for "nc/nc4_mismatch" and "nc/nearest_mean_accuracy": those of an earlier epoch, so
            that no features are kept. None: those of this pass. The test numbers always use this pass's.

    Returns:
        The numbers, and what pictures are drawn from.

    Raises:
        ValueError: If arguments that belong together are not, the head is not linear, a site does not exist, batches
            are empty, a training class has no example, features or logits are not finite, or labels do not fit.
    """
    if (pair_batches is not None or linearity_batches is not None) and generator is None:
        raise ValueError("generator must be given with pair_batches or linearity_batches, got None")
    if (linearity_batches is None) != (not sites):
        given = "sites alone" if sites else "linearity_batches alone"
        raise ValueError(f"sites and linearity_batches must be given together, got {given}")
    linear = linear_head(model, head)
    with naming("train_batches"):
        train = look_at(model, train_batches, head=head, class_means=class_means)
        collapse = collapse_of(train, linear)
    means = train.statistics.means
    values = collapse.values("nc")
    values |= {"train/accuracy_clean": train.predictions.accuracy, "train/loss_clean": train.predictions.loss}
    reliability, blends, linearity = None, None, {}
    if test_batches is not None:
        with naming("test_batches"):
            test = look_at(model, test_batches, head=head, class_means=means)
        reliability = test.reliability
        values |= calibration_values(test.predictions)
        values |= collapse_on_test(train.statistics, test.statistics).values("nc_test")
        values["nc_test/nc4_mismatch"] = test.nearest_mean.mismatch
        values["nc_test/nearest_mean_accuracy"] = test.nearest_mean.accuracy
    if pair_batches is not None and generator is not None:
        site = f"{head}{INPUT_SUFFIX}"
        with naming("pair_batches"):
            blends = capture_blends(model, pair_batches, site=site, mixing=pair_mixing, generator=generator)
            values |= channels_of(blends, linear, means).values("channels")
    if linearity_batches is not None and generator is not None:
        with naming("linearity_batches"):
            linearity = measure_linearity(
                model,
                linearity_batches,
                sites=sites,
                mixing=linearity_mixing,
                generator=generator,
                average_pooled=average_pooled,
            )
        values |= linearity_values(linearity)
    return NetworkMeasurement(values, means, reliability, blends, linearity)


@checked
def measure_network(
    model: nn.Module,
    *,
    head: str,
    train_batches: Batches,
    test_batches: Batches | None = None,
    pair_batches: Batches | None = None,
    linearity_batches: Batches | None = None,
    sites: Sequence[str] = (),
    average_pooled: Sequence[str] = (),
    generator: torch.Generator | None = None,
    pair_mixing: MixingScheme = CHANNEL_MIXING,
    linearity_mixing: MixingScheme = LINEARITY_MIXING,
    class_means: Tensor | None = None,
) -> dict[str, float]:
    """Return the numbers of `examine_network` alone: a flat dict for a logger, keyed as in the metrics' catalogue.

    Arguments and errors are those of `examine_network`.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> batches = [(torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4))]
        >>> values = measure_network(model, head="2", train_batches=batches, test_batches=batches)
        >>> values["nc/nc1_trace"] < 1e-12, values["test/error"] == 1 - values["test/accuracy"]
        (True, True)
    """
    return examine_network(
        model,
        head=head,
        train_batches=train_batches,
        test_batches=test_batches,
        pair_batches=pair_batches,
        linearity_batches=linearity_batches,
        sites=sites,
        average_pooled=average_pooled,
        generator=generator,
        pair_mixing=pair_mixing,
        linearity_mixing=linearity_mixing,
        class_means=class_means,
    ).values


@checked
def calibration_values(report: CalibrationReport) -> dict[str, float]:
    """Return the numbers of a report by their catalogue keys, "test/..."."""
    return report.values("test")


@checked
def linearity_values(reports: Mapping[str, NonlinearityReport]) -> dict[str, float]:
    """Return the numbers of reports by their catalogue keys, "linearity/SITE/..."."""
    return {key: value for site, report in reports.items() for key, value in report.values(f"linearity/{site}").items()}
