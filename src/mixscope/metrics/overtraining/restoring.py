"""Measuring a network without leaving a trace: weights and buffers are put back, also after an exception."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def restored_tensors(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep a copy of every parameter and buffer, and write it back, bit for bit, when the block ends.

    Yields:
        The copies of the parameters by name.
    """
    parameters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield parameters
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(parameters[name])
            for buffer, copy in buffers:
                buffer.copy_(copy)
