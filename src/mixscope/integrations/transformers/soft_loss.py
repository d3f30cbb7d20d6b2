"""Loss of a Trainer on blended labels: cross-entropy with shares of classes, as with classes."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope.base.checks import check_floating, check_ndim, check_same_length


def soft_label_loss(outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Return the cross-entropy of classes or of shares of classes: `Trainer(compute_loss_func=soft_label_loss)`.

    transformers' own models take float labels for several classes at once (`problem_type`
    "multi_label_classification") and train K yes-or-no questions; a blend is one distribution over classes.

    Args:
        outputs: What the model returns: a mapping with "logits", a tuple that begins with them, or the (B, K) logits.
        labels: (B,) integers, or (B, K) float shares whose rows sum to 1.
        num_items_in_batch: How many labels that are not -100 all batches of one optimizer step have, as the Trainer
            counts them (of shares B x K): the loss is the sum over the batch divided by the number of examples in the
            step, so gradient accumulation and several processes give the gradient of the whole step. None: the mean.

    Returns:
        Scalar, in nats; lower is better.

    Raises:
        ValueError: If there are no labels, shapes differ, or labels are shares while gradients are off: an evaluation
            then runs on blends.
    """
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0] if isinstance(outputs, tuple) else outputs
    if labels is None:
        raise ValueError("labels must come with every batch, under the name 'labels', got none")
    check_ndim(2, logits=logits)
    check_same_length(labels=labels, logits=logits)
    logits, labels = logits.float(), labels.to(logits.device)
    if labels.ndim == 1:
        num_labels = 1
    else:
        check_floating(labels=labels)
        if labels.shape != logits.shape:
            raise ValueError(f"labels must have shape {tuple(logits.shape)}, as logits, got {tuple(labels.shape)}")
        if not torch.is_grad_enabled():
            raise ValueError(
                "labels must be classes in an evaluation, got shares: is MixupCollator the Trainer's data_collator? "
                "The Trainer collates evaluations with it too; give it callbacks=[MixupTrainerCallback(...)] instead"
            )
        labels, num_labels = labels.to(logits.dtype), logits.shape[1]
    if num_items_in_batch is None:
        return F.cross_entropy(logits, labels)
    if isinstance(num_items_in_batch, Tensor):
        num_items_in_batch = num_items_in_batch.to(logits.device)
    return F.cross_entropy(logits, labels, reduction="sum") / (num_items_in_batch / num_labels)
