"""Last layer of a model: its features and logits in one pass, and the check that its head gives the logits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixscope.base.checks import check_shape, naming, nearest
from mixscope.base.kinds import checked
from mixscope.capturing.capture import capture_batches
from mixscope.capturing.sites import evaluation_mode, measurable, named_modules
from mixscope.measuring.kept_rows import KeptRows
from mixscope.metrics.calibration.prediction_meter import PredictionMeter
from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.nearest_mean import NearestMeanCounts
from mixscope.mixing.mixture import INPUT_SUFFIX

MOST_NAMED = 5  # linear layers in a message, the last ones
LOGIT_TOLERANCE = 0.05  # of the largest logit: what bfloat16 may round away, and no softmax or temperature may hide in


@dataclass(frozen=True)
class LastLayer:
    """What one pass over N labelled examples gives, on the model's device.

    Attributes:
        statistics: Of the features that enter the linear classifier.
        nearest_mean: Of the same features, against the class means that were given or, without these, their own.
        predictions: Of the model's logits.
        features: (N, D) in their own dtype; None where class means were given.
        weight: (K, D), the linear classifier's, as its forward pass had it.
        bias: (K,), likewise, or None.
    """

    statistics: ClassStatistics
    nearest_mean: NearestMeanCounts
    predictions: PredictionMeter
    features: Tensor | None
    weight: Tensor
    bias: Tensor | None


@checked
@torch.inference_mode(False)  # so that what is summed up can be added to, also where the caller is in inference mode
def measure_last_layer(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    head: str,
    class_means: Tensor | None = None,
    keep_logits: bool | Callable[[Tensor, Tensor], object] = False,
) -> LastLayer:
    """Run a model over batches once, and take what collapse, nearest class means and calibration need from that pass.

    What follows the head may add a constant to an example's logits, as log_softmax does: no probability notices.

    Args:
        model: Takes a batch of inputs, returns (B, K) logits; left as it was.
        batches: Pairs of inputs and (B,) integer labels in [0, K).
        head: Module name of the linear classifier that gives the logits.
        class_means: (K, D) float, what features are compared with: those of an earlier epoch, or of the training
            images. None: the means of this very pass. They are known at its end only, so all (N, D) features are kept
            until then, in their own dtype: the first 64 MiB on the model's device, more than these in a file
            without a name. With `class_means` none are.
        keep_logits: Whether the predictions keep all (N, K) logits, or what is given those of each batch instead.

    Raises:
        ValueError: If the head is not linear or something other than a constant per example follows it, or what it
            reads is not one row of features per example; if there are no batches, features or logits are not finite,
            or labels do not fit.
    """
    linear = linear_head(model, head)
    site = f"{head}{INPUT_SUFFIX}"
    statistics: ClassStatistics | None = None
    known: NearestMeanCounts | None = None
    predictions = PredictionMeter(keep_logits=keep_logits)
    labels: list[Tensor] = []
    with KeptRows() as kept:
        for batch in capture_batches(model, batches, sites=(site,)):
            features = batch.features[site]
            if features.shape[1] != linear.in_features or batch.logits.shape[1] != linear.out_features:
                raise ValueError(
                    f"head {head!r} must turn one row of {linear.in_features} features per example into the model's "
                    f"{batch.logits.shape[1]} logits, got rows of {features.shape[1]} and {linear.out_features} outputs"
                )
            if statistics is None:  # the forward pass has given lazy and re-parametrized layers their weights
                weight, bias = weight_and_bias(linear)
                shape, device = (linear.out_features, linear.in_features), weight.device
                statistics = ClassStatistics(*shape, device=device)
                if class_means is not None:
                    check_shape(shape, of=f"head {head!r}", class_means=class_means)
                    known = NearestMeanCounts(class_means.to(device), weight, bias)
            if len(features) and not statistics.num_examples:
                check_head_gives_logits(features, batch.logits, weight, bias, head=head)
            with naming("batches"):
                statistics.update(features, batch.labels)
                predictions.update(batch.logits, batch.labels)
            if known is None:
                kept.add(features)
                labels.append(batch.labels)
            else:
                known.update(features, batch.labels)
        assert statistics is not None  # `capture_batches` refuses to end without an example
        if known is None:
            known = NearestMeanCounts(statistics.means, weight, bias)
            for features, own in zip(kept.blocks(), labels, strict=True):
                known.update(features, own)
        return LastLayer(statistics, known, predictions, kept.whole() if class_means is None else None, weight, bias)


@checked
def weight_and_bias(linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Return what a linear layer multiplies by and adds in evaluation mode, once a forward pass has been made.

    Weight norm, spectral norm and pruning make the weight anew in every pass; before the first it may be another's.
    """
    with evaluation_mode(linear), torch.no_grad():
        weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    return measurable(weight), None if bias is None else measurable(bias)


def check_head_gives_logits(
    features: Tensor, logits: Tensor, weight: Tensor, bias: Tensor | None, *, head: str
) -> None:
    """Raise unless the head's outputs are the model's, up to a constant per row, which no probability notices."""
    outputs = F.linear(features.double(), weight.double(), None if bias is None else bias.double())
    expected = outputs - outputs.mean(dim=1, keepdim=True)
    found = logits.double() - logits.double().mean(dim=1, keepdim=True)
    size, off = float(expected.abs().max()), float((expected - found).abs().max())
    if off > LOGIT_TOLERANCE * size:
        raise ValueError(
            f"head {head!r} must give the model's logits (the model may add a constant per example), got outputs that "
            f"are off by up to {off:.3g} where logits go up to {size:.3g}: does something follow the head, a softmax, "
            "or do adapters add to it?"
        )


@checked
def linear_head(model: nn.Module, head: str) -> nn.Linear:
    """Return the linear classifier of that name.

    Raises:
        ValueError: If there is no module of that name (near names are listed), or it is not `torch.nn.Linear`.
    """
    modules = named_modules(model)
    if head not in modules:
        linear = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear)]
        close = nearest(head, modules) or f"; its linear layers are {', '.join(linear[-MOST_NAMED:]) or 'none'}"
        raise ValueError(f"head must name a module of the model, got {head!r}{close}")
    module = modules[head]
    if not isinstance(module, nn.Linear):
        raise ValueError(f"head must be a linear classifier (torch.nn.Linear), got {head!r}, which is {_kind(module)}")
    return module


def _kind(module: nn.Module) -> str:
    kind = type(module)
    inside = [name for name, part in module.named_children() if isinstance(part, nn.Linear)]
    holds = f" and holds {', '.join(inside[:MOST_NAMED])}: merge adapters into it first" if inside else ""
    return f"{'' if kind.__name__ != 'Linear' else f'{kind.__module__}.'}{kind.__name__}{holds}"
