"""Batch norm under several processes: its statistics are those of the whole batch, whoever holds the rows."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

_torch_batch_norm, _torch_instance_norm = torch.batch_norm, torch.instance_norm
_is_counted = True


@contextmanager
def whole_batch_norm(*, is_counted: bool) -> Iterator[None]:
    """Let batch norm in training see the batch of all processes, in the forward and backward passes inside the block.

    Whatever calls torch's `batch_norm` takes part: its layers, those derived from them, and networks that call the
    function. Means and variances are those of all values of a channel, however many a process has; the gradient is
    that of the whole batch too, and running statistics are the same everywhere. Instance norm normalises every image by
    itself; only the running statistics it may keep are averaged over all images.

    torch's functions are replaced inside the block, for every thread: a mode that overrides them would end where the
    backward pass begins, in which activation checkpointing computes layers again. Every process must be inside at the
    same time; one without rows of its own, which runs one only to keep step and is not counted, sees the statistics of
    the others and changes nothing.

    Raises:
        ValueError: In the forward pass, if a channel has one value in all processes together.
    """
    global _is_counted
    with ExitStack() as replaced:
        _is_counted = is_counted
        for owner, name, function in (
            (torch, "batch_norm", _batch_norm),
            (F, "batch_norm", _functional_batch_norm),
            (torch, "instance_norm", _instance_norm),
        ):
            replaced.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, function)
        yield


def _batch_norm(
    inputs: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Stand in for `torch.batch_norm`."""
    if not training:
        return _torch_batch_norm(inputs, weight, bias, running_mean, running_var, False, momentum, eps, cudnn_enabled)
    mean, variance, count = _batch_statistics(inputs.detach())
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((variance * (count / (count - 1))).to(running_var.dtype), momentum)
    normalised: Tensor = _Normalised.apply(inputs, weight, bias, mean, variance, count, eps, _is_counted)
    return normalised


def _functional_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Stand in for `F.batch_norm`, which would ask each process for two values where all together must have them."""
    return _batch_norm(
        input, weight, bias, running_mean, running_var, training, momentum, eps, torch.backends.cudnn.enabled
    )


def _instance_norm(
    inputs: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    *others: Any,
) -> Tensor:
    """Stand in for `torch.instance_norm`."""
    outputs = _torch_instance_norm(inputs, weight, bias, running_mean, running_var, use_input_stats, *others)
    if use_input_stats and running_mean is not None and running_var is not None:
        with torch.no_grad():
            rows = torch.ones_like(running_mean)
            sums = torch.stack([running_mean, running_var, rows]) * (len(inputs) if _is_counted else 0)
            distributed.all_reduce(sums)
            running_mean.copy_(sums[0] / sums[2])
            running_var.copy_(sums[1] / sums[2])
    return outputs


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the mean and variance of all processes' x.

    With n values of a channel in all processes, g the loss's gradient at the outputs, z the normalised inputs and sums
    over all processes: dx = weight / sqrt(variance + eps) * (g - sum(g) / n - z sum(g z) / n); Ioffe and Szegedy 2015,
    Sec. 3. Values that are not counted in the statistics feel the first term only.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        is_counted: bool,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, mean, torch.rsqrt(variance + eps), count)
        ctx.is_counted = is_counted
        factor = None if weight is None else weight.to(mean.dtype)
        shift = None if bias is None else bias.to(mean.dtype)
        return _torch_batch_norm(inputs, factor, shift, mean, variance, False, 0.0, eps, torch.backends.cudnn.enabled)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, inverse_std, count = ctx.saved_tensors
        view, dims = [-1 if dim == 1 else 1 for dim in range(inputs.ndim)], _all_but_channels(inputs)
        slopes = gradient.to(mean.dtype)
        centred = inputs.to(mean.dtype) - mean.view(view)
        sums = torch.stack([slopes.sum(dims), (slopes * centred).sum(dims)])
        weight_gradient = None if weight is None else (sums[1] * inverse_std).to(weight.dtype)
        bias_gradient = sums[0].clone() if ctx.needs_input_grad[2] else None
        input_gradient = None
        if ctx.needs_input_grad[0]:
            distributed.all_reduce(sums)
            if ctx.is_counted:
                level, slant = sums[0] / count, sums[1] * inverse_std.square() / count
                slopes = slopes - level.view(view) - centred * slant.view(view)
            scale = inverse_std if weight is None else inverse_std * weight.to(mean.dtype)
            input_gradient = (slopes * scale.view(view)).to(inputs.dtype)
        return input_gradient, weight_gradient, bias_gradient, None, None, None, None, None


def _batch_statistics(inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean and variance (divided by the count) of every channel over all processes, and the count.

    The parts are put together as Chan et al. 1979 do, so that a mean far from 0 costs no digits.
    """
    values = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
    num_channels = values.shape[1]
    count = values.numel() // max(1, num_channels) if _is_counted else 0
    own = values.new_zeros(2 * num_channels + 1)
    if count:
        variance, mean = torch.var_mean(values, _all_but_channels(values), correction=0)
        own = torch.cat([mean, variance, own.new_full((1,), count)])
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    table = torch.stack(parts).double()
    means, variances, counts = table.split([num_channels, num_channels, 1], dim=1)
    total = counts.sum()
    if count < 2 and total < 2:  # asked in this order: looking at a number of a GPU's waits for it
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {tuple(inputs.shape)} and no values "
            "in the other processes"
        )
    mean = (counts * means).sum(dim=0) / total
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
    return mean.to(values.dtype), variance.to(values.dtype), total.to(values.dtype)


def _all_but_channels(inputs: Tensor) -> list[int]:
    return [dim for dim in range(inputs.ndim) if dim != 1]
