"""Precision of sums: products that keep their digits whatever training runs at, and totals over processes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch off what would round a float32 product on a device (autocast, TF32, bfloat16), gradients, inference mode.

    The settings that were there before come back at the end, also after an exception.
    """
    with _float32_products(), torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def _float32_products() -> Iterator[None]:
    backends = [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    # From PyTorch 2.9 on every backend has its own setting, and reading the common one raises where they differ.
    if all(hasattr(backend, "fp32_precision") for backend in backends):
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            yield
        finally:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision
    else:
        common = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(common)


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
