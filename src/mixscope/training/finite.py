"""Finiteness of a training: its losses, looked at now and then, and its weights at the end of an epoch."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor


class NonFiniteLossError(ArithmeticError):
    """The training loss or a weight became NaN or infinite."""


def check_losses(losses: Sequence[Tensor], rates: Sequence[float], *, when: str, accelerator: Accelerator) -> None:
    """Raise, in every process alike, if a loss of this epoch is not finite in any.

    Args:
        losses: Of the steps so far, scalars on the device.
        rates: Their learning rates.
        when: In words, with "{step}" for the step.
        accelerator: Of the run.
    """
    finite = torch.isfinite(torch.stack(list(losses)))
    steps = torch.arange(len(losses), device=finite.device)
    first = torch.where(finite, len(losses), steps).min()
    first_of_all = int(accelerator.gather(first[None]).min())
    if first_of_all < len(losses):
        raise NonFiniteLossError(
            f"the training loss stopped being finite {when.format(step=first_of_all + 1)}, "
            f"at learning rate {rates[first_of_all]:.3g}; a lower learning rate usually helps"
        )


def check_weights(tensors: Sequence[Tensor], rates: Sequence[float], *, when: str) -> None:
    """Raise if the epoch's last step, which no loss has seen yet, left a weight that is not finite."""
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors])
    if not bool(torch.stack([norm.float() for norm in norms]).isfinite().all()):
        raise NonFiniteLossError(
            f"a weight stopped being finite {when.format(step=len(rates))}, "
            f"at learning rate {rates[-1]:.3g}; a lower learning rate usually helps"
        )
