"""Run a model over batches and keep what chosen modules saw: hooks live only inside a context manager."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mixscope._checks import check_labels, nearest
from mixscope.mixing.catalogue import MixingScheme
from mixscope.mixture import INPUT_SITE, INPUT_SUFFIX, Mixture, blend


@dataclass(frozen=True)
class Captured:
    """What a model made of N examples, in the order they came. All tensors are on the CPU.

    Attributes:
        features: Site to (N, D) in the model's dtype, every example flattened (channels first for images).
        logits: (N, K) in the model's dtype, the model's output.
        labels: (N,) int64. Under mixing, the label of each blend's first member.
        mixture: None without mixing. Else which of the N examples were blended and how: members (N, P) index all N
            examples, weights (N, P) float64. A capture of the same batches without mixing holds the members' features.
    """

    features: dict[str, Tensor]
    logits: Tensor
    labels: Tensor
    mixture: Mixture | None = None


def capture(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    sites: Sequence[str] = (),
    mixing: MixingScheme | None = None,
    generator: torch.Generator | None = None,
) -> Captured:
    """Run a model over batches in evaluation mode, without gradients, and keep its logits and the named features.

    The training flag of every submodule is put back afterwards and every hook removed, also when something raises.

    Args:
        model: Takes a batch of inputs, returns (B, K) logits.
        batches: Pairs of inputs (B, ...) float and labels (B,) integers in [0, K), on the model's device.
        sites: "NAME" for the output of the submodule of that name, "NAME:input" for its first input.
        mixing: A scheme that blends inputs; each batch is blended within itself.
        generator: A CPU generator for the scheme; needed with `mixing`.

    Returns:
        Features, logits and labels of all examples, and the draws.

    Raises:
        ValueError: If a site is not a submodule, is not run exactly once per batch or is no tensor with one row per
            example; if the model's output is not (B, K); if there are no batches or labels do not fit; if mixing comes
            without a generator or blends anything but inputs.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
        >>> batches = [(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))]
        >>> captured = capture(model, batches, sites=("0", "2:input"))
        >>> {site: tuple(rows.shape) for site, rows in captured.features.items()}, tuple(captured.logits.shape)
        ({'0': (5, 3), '2:input': (5, 3)}, (5, 4))
    """
    if mixing is not None and generator is None:
        raise ValueError("generator must be given with mixing, got None")
    rows: dict[str, list[Tensor]] = {site: [] for site in sites}
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    mixtures: list[Mixture] = []
    with evaluation_mode(model), torch.no_grad(), record_sites(model, sites) as recorded:
        for batch_inputs, batch_labels in batches:
            inputs = batch_inputs
            if mixing is not None and generator is not None:
                mixture = _draw_for_inputs(mixing, inputs, batch_labels, generator)
                inputs = blend(inputs, mixture)
                mixtures.append(mixture)
            recorded.clear()
            output = model(inputs)
            _check_output(output, batch_labels, num_rows=len(inputs))
            for site in rows:
                rows[site].append(_flat_rows(recorded, site, num_rows=len(inputs)).cpu())
            logits.append(output.cpu())
            labels.append(batch_labels.long().cpu())
    if not labels:
        raise ValueError("batches must hold at least one batch, got none")
    features = {site: _join(parts, name=f"the features of site {site!r}") for site, parts in rows.items()}
    return Captured(features, _join(logits, name="the logits"), torch.cat(labels), _join_mixtures(mixtures))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside the block; afterwards every submodule has its own flag back."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


@contextmanager
def record_sites(model: nn.Module, sites: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep a copy of what the named modules give or get, for one forward pass at a time.

    Copies, because a later in-place operation (an in-place ReLU) would change the recorded tensor.

    Args:
        model: Any module.
        sites: "NAME" for a submodule's output, "NAME:input" for its first input.

    Yields:
        Site to tensor, filled by a forward pass; clear it before the next one.

    Raises:
        ValueError: If a site is not a submodule; in the forward pass, if a module runs twice or gives no tensor.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with record_sites(model, ("0", "0:input")) as recorded:
        ...     output = model(torch.zeros(4, 2))
        >>> tuple(recorded["0"].shape), tuple(recorded["0:input"].shape)
        ((4, 3), (4, 2))
    """
    if isinstance(sites, str):
        raise ValueError(f"sites must be a sequence of names, got the string {sites!r}")
    found = {site: _find_module(model, site) for site in sites}
    recorded: dict[str, Tensor] = {}
    handles: list[RemovableHandle] = []
    try:
        for site, (module, is_input) in found.items():
            if is_input:
                handles.append(module.register_forward_pre_hook(_input_hook(recorded, site)))
            else:
                handles.append(module.register_forward_hook(_output_hook(recorded, site)))
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _find_module(model: nn.Module, site: str) -> tuple[nn.Module, bool]:
    """Return the module of a site, and whether its input is meant."""
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    if site in modules:
        return modules[site], False
    name = site.removesuffix(INPUT_SUFFIX)
    if name in modules:
        return modules[name], True
    raise ValueError(f"sites must name modules of the model, got {site!r}{nearest(name, modules)}")


def _input_hook(recorded: dict[str, Tensor], site: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        _keep(recorded, site, arguments[0] if arguments else None)

    return hook


def _output_hook(recorded: dict[str, Tensor], site: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        _keep(recorded, site, output)

    return hook


def _keep(recorded: dict[str, Tensor], site: str, value: Any) -> None:
    if site in recorded:
        raise ValueError(f"site {site!r} must run once per forward pass, got a second run")
    if not isinstance(value, Tensor):
        raise ValueError(f"site {site!r} must be a tensor, got {type(value).__name__}")
    recorded[site] = value.detach().clone()


def _flat_rows(recorded: dict[str, Tensor], site: str, *, num_rows: int) -> Tensor:
    if site not in recorded:
        raise ValueError(f"site {site!r} must run in the forward pass, got no run")
    value = recorded[site]
    if value.ndim < 1 or len(value) != num_rows:
        raise ValueError(f"site {site!r} must have one row per example ({num_rows}), got shape {tuple(value.shape)}")
    return value.reshape(num_rows, math.prod(value.shape[1:]))


def _check_output(output: Any, labels: Tensor, *, num_rows: int) -> None:
    if not isinstance(output, Tensor):
        raise ValueError(f"the model's output must be a (B, K) tensor of logits, got {type(output).__name__}")
    if output.ndim != 2 or len(output) != num_rows:
        raise ValueError(f"the model's output must be ({num_rows}, K) logits, got shape {tuple(output.shape)}")
    check_labels(labels, num_classes=output.shape[1])
    if len(labels) != num_rows:
        raise ValueError(f"labels must have one entry per input ({num_rows}), got {len(labels)}")


def _draw_for_inputs(mixing: MixingScheme, inputs: Tensor, labels: Tensor, generator: torch.Generator) -> Mixture:
    mixture = mixing.draw(inputs, labels, generator=generator)
    if mixture.site != INPUT_SITE:
        raise ValueError(f"mixing must blend inputs (site {INPUT_SITE!r}), got site {mixture.site!r}")
    if len(mixture.members) != len(inputs):
        raise ValueError(f"mixing must draw one blend per input ({len(inputs)}), got {len(mixture.members)}")
    return mixture


def _join(parts: list[Tensor], *, name: str) -> Tensor:
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) > 1:
        raise ValueError(f"{name} must have the same width in every batch, got {' and '.join(map(str, widths))}")
    return torch.cat(parts)


def _join_mixtures(mixtures: list[Mixture]) -> Mixture | None:
    """Join the draws of all batches into one over all examples."""
    if not mixtures:
        return None
    members, masks, offset = [], [], 0
    for mixture in mixtures:
        members.append(mixture.members.cpu() + offset)
        if mixture.mask is not None:
            masks.append(mixture.mask.expand(len(mixture.members), -1, -1, -1).cpu())
        offset += len(mixture.members)
    if len(masks) not in (0, len(mixtures)):
        raise ValueError(f"mixing must draw a mask for every batch or for none, got {len(masks)} of {len(mixtures)}")
    target_weights = None
    if any(mixture.target_weights is not None for mixture in mixtures):
        target_weights = torch.cat([mixture.label_weights.cpu().to(torch.float64) for mixture in mixtures])
    return Mixture(
        members=_join(members, name="the members drawn by mixing"),
        weights=torch.cat([mixture.weights.cpu().to(torch.float64) for mixture in mixtures]),
        target_weights=target_weights,
        mask=torch.cat(masks) if masks else None,
    )
