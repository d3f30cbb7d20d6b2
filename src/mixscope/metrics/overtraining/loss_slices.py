"""Loss slices around trained weights, along filter-normalised directions (Li et al. 2018)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mixscope.base.kinds import checked, describe
from mixscope.capturing.sites import evaluation_mode

LARGEST_STEP = 1e30  # times a weight it must stay a number of single precision
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
Direction = dict[str, Tensor]  # parameter name to a tensor of its shape; what is not named does not move
Evaluate = Callable[[nn.Module], float]  # the loss of a network as it stands


@checked
def filter_normalised_direction(
    model: nn.Module, *, generator: torch.Generator, include_vectors: bool = False
) -> Direction:
    """Draw a random direction whose every filter is as long as the network's own.

    A filter is what makes one output: parameter[i], i over the first dimension, of a transposed convolution the column
    of an output channel; of an embedding one token's vector. Each is drawn from N(0, I) and scaled to the length of
    the network's: d_i |theta_i| / |d_i|. So a network and its copy whose layers are rescaled against one another (ReLU
    lets them, without changing what it computes) show the same landscape. A filter of zeros does not move. Of a
    parametrised weight what it is computed from is moved. Source: Li et al. 2018, Sec. 4.

    Args:
        model: Its parameters that require a gradient are moved; a tied one once.
        generator: A CPU generator.
        include_vectors: Also move what is no filter, of whatever shape: biases, scales and shifts of norm layers, the
            lengths of weight normalisation. Each number is then a filter of its own: it moves by its own size, with a
            random sign. By default they stay, as is usual (a bias has no length to measure a step by, and a norm's
            scale is not one filter).

    Returns:
        Parameter name to a tensor of its shape, dtype and device; never NaN.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> with torch.no_grad():
        ...     weight = model.weight.copy_(torch.tensor([[3.0, 4.0]]))
        >>> direction = filter_normalised_direction(model, generator=torch.Generator().manual_seed(0))
        >>> list(direction), round(direction["weight"].norm().item(), 5)
        (['weight'], 5.0)
    """
    direction = {}
    for name, parameter in model.named_parameters():
        is_vector = _is_vector(model, name, parameter)
        if not parameter.requires_grad or not parameter.numel() or (is_vector and not include_vectors):
            continue
        # Drawn for every parameter alike, in float64 on the CPU: the same on every device and precision.
        noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        shape, within = ((parameter.numel(), 1), (1,)) if is_vector else _filter_layout(_layer(model, name), parameter)
        filters, wanted = (part.reshape(shape) for part in (noise, parameter.detach().cpu().double()))
        lengths = torch.linalg.vector_norm(filters, dim=within, keepdim=True)
        lengths.clamp_(min=torch.finfo(torch.float64).tiny)
        scaled = filters * (torch.linalg.vector_norm(wanted, dim=within, keepdim=True) / lengths)
        direction[name] = scaled.reshape(parameter.shape).to(parameter.device, parameter.dtype)
    return direction


@checked
def loss_slice(
    model: nn.Module,
    evaluate: Evaluate,
    *,
    direction: Direction,
    steps: Sequence[float],
    statistics_batches: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return the loss along a line through the weights.

    The network runs in evaluation mode, so batch norm keeps its trained statistics. These fit the trained weights
    only: further away part of the rise is theirs. `statistics_batches` estimates them anew at every point.

    Args:
        model: Left as it was, bit for bit, also after an exception.
        evaluate: The loss of the network as it stands; it must not change it.
        direction: What a step of 1 adds to the parameters.
        steps: T distances; 0 is the network itself.
        statistics_batches: Batches of inputs (B, ...) from which batch norm's means and variances are taken at every
            point, averaged over the batches (equally, so cut them equally). None: the trained ones.

    Returns:
        (T,) float64 on the CPU. A loss that overflows stays infinite.

    Raises:
        ValueError: If the direction does not fit the parameters, a loss is NaN, or there are no statistics batches.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> nn.init.constant_(model.weight, 2.0).item()
        2.0
        >>> line = {"weight": torch.tensor([[1.0]])}
        >>> loss_slice(model, lambda net: net.weight.item() ** 2, direction=line, steps=(-1, 0, 1)).tolist()
        [1.0, 4.0, 9.0]
    """
    if not all(abs(step) <= LARGEST_STEP for step in steps):
        raise ValueError(f"steps must lie within {LARGEST_STEP:g} of 0, got {describe(list(steps))}")
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name, tensor in direction.items():
        if shapes.get(name) != tensor.shape:
            wanted = f"shape {tuple(shapes[name])}" if name in shapes else "the name of a parameter"
            raise ValueError(f"direction[{name!r}] must have {wanted}, got shape {tuple(tensor.shape)}")
    if statistics_batches is not None and not len(statistics_batches):
        raise ValueError("statistics_batches must hold at least one batch, got none")
    losses = []
    with _restored_tensors(model) as start, evaluation_mode(model):
        for step in map(float, steps):
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    # From the copy every time: nothing adds up, and a step of 0 is exact.
                    parameter.copy_(start[parameter])
                    if step != 0 and name in direction:
                        parameter.add_(direction[name], alpha=step)
                if statistics_batches is not None:
                    _estimate_batch_norm(model, statistics_batches)
                value = evaluate(model)
            is_number = isinstance(value, (float, int, np.number)) or (isinstance(value, Tensor) and value.numel() == 1)
            if not is_number or math.isnan(value):
                raise ValueError(f"evaluate must return a number, got {describe(value)} at step {step}")
            losses.append(float(value))
    return torch.tensor(losses, dtype=torch.float64)


@contextmanager
def _restored_tensors(model: nn.Module) -> Iterator[dict[Tensor, Tensor]]:
    """Yield copies of the parameters and buffers; write them back, bit for bit, when the block ends."""
    copies = {tensor: tensor.detach().clone() for tensor in (*model.parameters(), *model.buffers())}
    try:
        yield copies
    finally:
        with torch.no_grad():
            for tensor, copy in copies.items():
                tensor.copy_(copy)


def _is_vector(model: nn.Module, name: str, parameter: Tensor) -> bool:
    """Say whether the numbers of a parameter are each for itself, whatever its shape: no filters."""
    path, _, own_name = name.rpartition(".")
    # Weight normalisation keeps lengths beside a twin of the weight's shape.
    twin_name = "original1" if own_name == "original0" else f"{own_name.removesuffix('_g')}_v"
    twin = model.get_submodule(path)._parameters.get(twin_name)
    is_length = twin is not None and twin.numel() > parameter.numel()
    return parameter.ndim < 2 or isinstance(_layer(model, name), NORMS) or own_name.startswith("bias") or is_length


def _layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer that a parameter belongs to, through the containers of its parametrisation."""
    path = name.split(".")[:-1]
    if "parametrizations" in path:
        path = path[: path.index("parametrizations")]
    return model.get_submodule(".".join(path))


def _filter_layout(layer: nn.Module, parameter: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a shape in which a parameter shows its filters, and the dimensions that lie within one."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):  # (inputs, outputs / groups, ...), group by group
        return (layer.groups, len(parameter) // layer.groups, parameter.shape[1], -1), (1, 3)
    return (len(parameter), -1), (1,)


def _estimate_batch_norm(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Take the means and variances of batch norm anew: the plain average of those of the batches."""
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    momenta = [module.momentum for module in norms]
    try:
        for module in norms:
            module.reset_running_stats()
            module.momentum = None  # torch's name for the plain average over batches
            module.train()
        for inputs in batches:
            model(inputs)
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
            module.eval()
