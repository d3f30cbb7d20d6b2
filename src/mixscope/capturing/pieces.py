"""Pieces of a batch on the device of a model: as large as forward passes are fast with."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mixscope.capturing.outputs import logits_of
from mixscope.capturing.sites import forward_watched

CPU_PIECE = 2**17  # numbers of inputs at once on a CPU
CORE_ROWS = 8  # for each core, however large they are


def on_device_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the inputs on the device of the model's first parameter; where they are if it has none."""
    parameter = next(model.parameters(), None)
    return inputs if parameter is None else inputs.to(parameter.device)


def pieces(inputs: Tensor) -> tuple[Tensor, ...]:
    """Cut a batch on the CPU so that what layers make of a piece stays in memory that is used again; others stay whole.

    Larger blocks are taken from the system and given back layer by layer: batches of 500 images of 3 x 32 x 32 take
    half as long again in a small convnet.
    """
    if inputs.device.type != "cpu" or not inputs.numel():
        return (inputs,)
    return inputs.split(max(CORE_ROWS * torch.get_num_threads(), CPU_PIECE * len(inputs) // inputs.numel()))


def forward_rows(
    model: nn.Module, inputs: Tensor, readers: Mapping[str, Callable[..., Tensor]]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a model over a batch, in pieces on the CPU.

    Args:
        model: Left as it was; see `forward_watched`.
        inputs: On its device.
        readers: Site to `flat_rows` or `pooled_rows`.

    Returns:
        The model's logits, whatever their shape, and each site's (B, D) features.
    """
    parts: dict[str, list[Tensor]] = {site: [] for site in readers}
    outputs: list[Tensor] = []
    for piece in pieces(inputs):

        def keep(site: str, value: Tensor, num_rows: int = len(piece)) -> None:
            rows = readers[site](value, site=site, num_rows=num_rows)
            # A view would change with a later in-place operation.
            parts[site].append(rows.clone() if rows.data_ptr() == value.data_ptr() else rows)

        outputs.append(logits_of(forward_watched(model, piece, {site: partial(keep, site) for site in readers})))
    are_rows = all(output.ndim for output in outputs)
    output = torch.cat(outputs) if len(outputs) > 1 and are_rows else outputs[0]
    return output, {site: torch.cat(rows) if len(rows) > 1 else rows[0] for site, rows in parts.items()}
