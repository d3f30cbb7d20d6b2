"""Logits of whatever a network returns: a tensor, an object or a mapping that holds them, or a tuple they lead."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixscope.base.kinds import describe

RETURN = "return the logits, their .logits, or a mapping with 'logits'"


def logits_of(output: Any) -> Tensor:
    """Return the logits in what a network returned.

    A tensor is taken as it is. Of anything else: its `.logits` (transformers, torchvision's Inception and GoogLeNet),
    its entry "logits", or the first entry of a tuple or list where that is a matrix, as in (logits, auxiliary logits).

    Raises:
        ValueError: If there are none.

    Example:
        >>> logits_of({"logits": torch.zeros(4, 3)}).shape
        torch.Size([4, 3])
    """
    found = output
    if not isinstance(output, Tensor):
        found = getattr(output, "logits", None)
    if found is None and isinstance(output, Mapping):
        found = output.get("logits")
    if found is None and isinstance(output, tuple | list) and output:
        found = output[0] if isinstance(output[0], Tensor) and output[0].ndim == 2 else None
    if not isinstance(found, Tensor):
        raise ValueError(
            f"the model's output must be a (B, K) tensor of logits, got {describe_output(output)}: {RETURN}"
        )
    return found


def describe_output(output: Any) -> str:
    """Say in a few words what a network returned."""
    if isinstance(output, Mapping):
        return f"{type(output).__name__} with {', '.join(map(repr, list(output)[:5])) or 'nothing'}"
    return type(output).__name__ if output is None or isinstance(output, tuple | list) else describe(output)


def check_no_probabilities(logits: Tensor) -> None:
    """Raise for rows that a softmax has been over. Those of log_softmax pass: their softmax gives the same again.

    Rows of zeros and a one may be logits as well, of a network that fits its targets by squared error.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or not len(logits):
        return
    values = logits.detach()
    tolerance = 1e-4 if values.dtype in (torch.float32, torch.float64) else 2e-2
    are_shares = bool(((values >= 0) & (values <= 1)).all())
    if (
        are_shares
        and bool((values.float().sum(dim=1) - 1).abs().max() < tolerance)
        and not bool(((values == 0) | (values == 1)).all())
    ):
        raise ValueError(
            "the model's output must be logits, got rows of probabilities: return what goes into the softmax"
        )
