"""Sums over the processes of `torch.distributed`."""

import torch
from torch import Tensor, distributed


def is_distributed() -> bool:
    """Return whether a process group is up."""
    return distributed.is_available() and distributed.is_initialized()


def total_over_processes(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, on the tensor's device."""
    # NCCL knows only GPUs, gloo both; statistics kept on the CPU travel over the GPU of the process.
    device = torch.device("cuda") if distributed.get_backend() == "nccl" else tensor.device
    total = tensor.to(device, copy=True)
    distributed.all_reduce(total)
    return total.to(tensor.device)
