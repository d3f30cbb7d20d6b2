"""Examination of one network: every number of the metrics' catalogue that its batches can give, in one call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from mixscope.base.checks import naming
from mixscope.base.kinds import checked
from mixscope.capturing.capture import capture_batches
from mixscope.measuring.blended_features import Batches, BlendedFeatures, BlendLaw, capture_blends, measure_linearity
from mixscope.measuring.last_layer import LastLayer, measure_last_layer
from mixscope.metrics.blends.blend_reports import ChannelReport, NonlinearityReport
from mixscope.metrics.blends.channels import mixed_feature_geometry
from mixscope.metrics.calibration.prediction_meter import PredictionMeter
from mixscope.metrics.collapse.held_out import collapse_on_test
from mixscope.metrics.collapse.neural_collapse import neural_collapse
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.mixing.mixup import Mixup

PAIR_MIXING = Mixup(alpha=1.0, per_example=True)  # every weight equally often, as Fisher et al. 2024 draw blends
LAYER_MIXING = Mixup(alpha=0.5, per_example=True)  # Chaudhry et al. 2022 train with this law on CIFAR


@dataclass(frozen=True)
class Examination:
    """What was found out about a network; what was not asked for is None or empty.

    Attributes:
        values: Every number by its key in the metrics' catalogue: "nc/...", "train/...", "nc_test/...", "test/...",
            "channels/...", "linearity/SITE/...".
        train: The pass over the training examples: class means and statistics, features, predictions.
        predictions: Those on the test examples, with their logits.
        blends: The blends behind the channel numbers.
        linearity: For each of the laws, site to its report.
    """

    values: dict[str, float]
    train: LastLayer | None = None
    predictions: PredictionMeter | None = None
    blends: BlendedFeatures | None = None
    linearity: Sequence[Mapping[str, NonlinearityReport]] = ()


@checked
def examine(
    model: nn.Module,
    *,
    head: str | None = None,
    train: Batches | None = None,
    test: Batches | None = None,
    pairs: Batches | None = None,
    pair_law: BlendLaw | None = None,
    pair_rows: Tensor | None = None,
    layer_pairs: Batches | None = None,
    layer_laws: Sequence[BlendLaw] = (),
    sites: Sequence[str] = (),
    average_pooled: Sequence[str] = (),
    class_means: Tensor | None = None,
    keep_logits: bool | Callable[[Tensor, Tensor], object] = True,
) -> Examination:
    """Examine a network: neural collapse, accuracy, loss, calibration, channels and linearity.

    One forward pass over the training examples and one over the test examples; blends go through with the examples they
    are made of, unless these are known as training examples (`pair_rows`), and linearity looks at its examples once
    more beforehand. What is not given is not measured. On N training examples with D features N x D numbers are kept
    for a while, on disk beyond 64 MiB, unless `class_means` is given.

    Batches are pairs of inputs and (B,) integer labels in [0, K).

    Args:
        model: Takes a batch of inputs, returns (B, K) logits, or an object or mapping that holds them as "logits"; left
            as it was.
        head: Module name of the linear classifier that gives the logits; needed with `train`.
        train: Training examples, unblended and unaugmented, every class among them, for "nc/..." and "train/...".
        test: Test examples, for "test/..." and, beside `train`, "nc_test/...", measured against its class means.
        pairs: Training examples that are blended within their batch, for "channels/..."; beside `train`.
        pair_law: Of the blends of `pairs`; P = 2. For example `BlendLaw(PAIR_MIXING, generator)`.
        pair_rows: (N,) int64, the place in `train` of each example of `pairs`, where they are among them: their
            features are those of that pass. Not together with `class_means`.
        layer_pairs: Test examples that are blended within their batch, for "linearity/SITE/..."; gone through twice.
        layer_laws: Of their blends, for example `BlendLaw(LAYER_MIXING, generator)`; the values are of the first.
        sites: The places whose linearity is measured, "NAME" or "NAME:input".
        average_pooled: Those of the sites at which averages over pixels or tokens are compared.
        class_means: (K, D) float for "nc/nc4_mismatch" and "nc/nearest_mean_accuracy": those of an earlier epoch, so
            that no features are kept. None: those of this pass. The test numbers always use this pass's.
        keep_logits: Whether the predictions on the test examples keep all (N, K) logits, or what is given the logits
            and labels of each batch instead.

    Raises:
        ValueError: If arguments that belong together are not, the head is not linear or something other than a constant
            per example follows it, a site does not exist, batches are empty, a training class has no example, features
            or logits are not finite, or labels do not fit.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> batches = [(torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4))]
        >>> values = examine(model, head="2", train=batches, test=batches).values
        >>> values["nc/nc1_trace"] < 1e-12, values["test/error"] == 1 - values["test/accuracy"]
        (True, True)
    """
    _check_together(train=train, head=head)
    _check_together(pairs=pairs, pair_law=pair_law)
    _check_together(layer_pairs=layer_pairs, layer_laws=layer_laws or None, sites=sites or None)
    if pairs is not None and train is None:
        raise ValueError("pairs must be given together with train, got pairs alone")
    if pair_rows is not None and (pairs is None or class_means is not None):
        raise ValueError("pair_rows must be given with pairs and without class_means")
    values: dict[str, float] = {}
    trained, predictions, blends = None, None, None
    if train is not None and head is not None:
        with naming("train"):
            trained = measure_last_layer(model, train, head=head, class_means=class_means)
            values |= _values_on_train(trained)
    if test is not None:
        with naming("test"):
            if trained is None or head is None:
                predictions = measure_predictions(model, test, keep_logits=keep_logits)
                values |= predictions.report().values("test")
            else:
                means = trained.statistics.means
                tested = measure_last_layer(model, test, head=head, class_means=means, keep_logits=keep_logits)
                predictions = tested.predictions
                values |= predictions.report().values("test") | _collapse_on_test(trained, tested)
    if pairs is not None and pair_law is not None and trained is not None and head is not None:
        known = None
        if pair_rows is not None and trained.features is not None:
            known = trained.features[pair_rows.to(trained.features.device)].to(trained.weight.device)
        with naming("pairs"):
            blends = capture_blends(model, pairs, site=f"{head}{INPUT_SUFFIX}", law=pair_law, features=known)
            channels = _channels_of(blends, trained.weight, trained.statistics.means)
        values |= channels.values("channels")
    linearity: list[dict[str, NonlinearityReport]] = []
    if layer_pairs is not None:
        with naming("layer_pairs"):
            linearity = measure_linearity(
                model, layer_pairs, sites=sites, laws=layer_laws, average_pooled=average_pooled
            )
        for site, report in linearity[0].items():
            values |= report.values(f"linearity/{site}")
    return Examination(values, trained, predictions, blends, linearity)


def measure_predictions(
    model: nn.Module, batches: Batches, *, keep_logits: bool | Callable[[Tensor, Tensor], object] = True
) -> PredictionMeter:
    """Return what the logits of a model say, of any model that gives (B, K) logits, in one pass that may keep them."""
    meter = PredictionMeter(keep_logits=keep_logits)
    for batch in capture_batches(model, batches):
        with naming("batches"):
            meter.update(batch.logits, batch.labels)
    return meter


def _values_on_train(seen: LastLayer) -> dict[str, float]:
    report, collapse = seen.predictions.report(), neural_collapse(seen.statistics, seen.weight, seen.bias)
    counts = seen.nearest_mean
    collapse = replace(collapse, nc4_mismatch=counts.mismatch, nearest_mean_accuracy=counts.accuracy)
    return collapse.values("nc") | {"train/accuracy_clean": report.accuracy, "train/loss_clean": report.loss}


def _collapse_on_test(train: LastLayer, test: LastLayer) -> dict[str, float]:
    collapse, counts = collapse_on_test(train.statistics, test.statistics), test.nearest_mean
    return replace(collapse, nc4_mismatch=counts.mismatch, nearest_mean_accuracy=counts.accuracy).values("nc_test")


def _channels_of(blends: BlendedFeatures, head_weight: Tensor, class_means: Tensor) -> ChannelReport:
    if blends.examples.shape[1] != 2:
        raise ValueError(f"mixing must blend two examples for the channels, got {blends.examples.shape[1]}")
    return mixed_feature_geometry(
        blends.mixed,
        blends.examples,
        weights=blends.weights[:, 0],
        member_labels=blends.labels,
        class_means=class_means,
        head_weight=head_weight,
    )


def _check_together(**arguments: object) -> None:
    """Raise unless all of the arguments are given or none is."""
    given = [name for name, value in arguments.items() if value is not None]
    if given and len(given) < len(arguments):
        raise ValueError(f"{' and '.join(arguments)} must be given together, got {' and '.join(given)} alone")
