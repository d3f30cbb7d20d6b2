"""Capture of what a model makes of batches: logits, features of named modules, and the draws."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixscope.base.batch_pairs import pair_of
from mixscope.base.checks import check_floating, check_labels, naming
from mixscope.base.kinds import checked
from mixscope.capturing.outputs import check_no_probabilities
from mixscope.capturing.pieces import forward_rows, on_device_of
from mixscope.capturing.sites import (
    check_pooled,
    check_sites,
    evaluation_mode,
    flat_rows,
    measurable,
    pooled_rows,
    record_sites,
)
from mixscope.mixing.mixture import INPUT_SITE, Mixture, blend
from mixscope.mixing.schemes import MixingScheme

__all__ = ["Captured", "capture", "capture_batches", "evaluation_mode", "record_sites"]


@dataclass(frozen=True)
class Captured:
    """What a model made of N examples, in the order they came.

    Attributes:
        features: Site to (N, D) in the model's dtype, every example flattened (channels first for images) or averaged.
        logits: (N, K) in the model's dtype, the model's output.
        labels: (N,) int64. Under mixing, the label of each blend's first member.
        mixture: None without mixing. Else which of the N examples were blended and how: members (N, P) index all N
            examples, weights (N, P). A capture of the same batches without mixing holds the members' features.
    """

    features: dict[str, Tensor]
    logits: Tensor
    labels: Tensor
    mixture: Mixture | None = None


@checked
def capture(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    sites: Sequence[str] = (),
    average_pooled: Sequence[str] = (),
    mixing: MixingScheme | None = None,
    generator: torch.Generator | None = None,
) -> Captured:
    """Run a model over batches in evaluation mode, without gradients, and keep its logits and the named features.

    The training flag of every submodule is put back afterwards and every hook removed, also when something raises.
    Everything is kept on the CPU: `capture_batches` hands over one batch at a time instead.

    Args:
        model: Takes a batch of inputs, returns (B, K) logits, or an object or mapping that holds them as "logits".
        batches: Pairs of inputs (B, ...) float and labels (B,) integers in [0, K); moved to the model's device.
        sites: "NAME" for the output of the submodule of that name, "NAME:input" for its first input.
        average_pooled: Those of the sites of which averages are kept: over the pixels of (B, C, H, W) maps, over the
            tokens of (B, T, D) tokens. The others are flattened.
        mixing: A scheme that blends inputs; each batch is blended within itself.
        generator: A CPU generator for the scheme; needed with `mixing`.

    Returns:
        Features, logits and labels of all examples on the CPU, and the draws, with weights in float64.

    Raises:
        ValueError: If a site is not a submodule, is not run exactly once per batch or is no tensor with one row per
            example; if what is to be averaged is neither maps nor tokens; if the model's output is not (B, K), or rows
            of probabilities; if there are no batches or labels do not fit; if mixing comes without a generator or
            blends anything but inputs.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
        >>> batches = [(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))]
        >>> captured = capture(model, batches, sites=("0", "2:input"))
        >>> {site: tuple(rows.shape) for site, rows in captured.features.items()}, tuple(captured.logits.shape)
        ({'0': (5, 3), '2:input': (5, 3)}, (5, 4))
    """
    rows: dict[str, list[Tensor]] = {site: [] for site in sites}
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    mixtures: list[Mixture] = []
    for batch in capture_batches(
        model, batches, sites=sites, average_pooled=average_pooled, mixing=mixing, generator=generator
    ):
        for site in rows:
            rows[site].append(batch.features[site].cpu())
        logits.append(batch.logits.cpu())
        labels.append(batch.labels.cpu())
        if batch.mixture is not None:
            mixtures.append(batch.mixture.to("cpu"))
    features = {site: _join(parts, name=f"the features of site {site!r}") for site, parts in rows.items()}
    return Captured(features, _join(logits, name="the logits"), torch.cat(labels), _join_mixtures(mixtures))


@checked
def capture_batches(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    sites: Sequence[str] = (),
    average_pooled: Sequence[str] = (),
    mixing: MixingScheme | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Captured]:
    """Run a model over batches and hand over what `capture` would keep, one batch at a time, in constant memory.

    Between two batches the model is as it was: no hooks, every training flag in its place, gradients as the caller has
    them.

    Args:
        model: As for `capture`, and so is all else.
        batches: See there.
        sites: See there.
        average_pooled: See there.
        mixing: See there.
        generator: See there.

    Yields:
        One batch's features, logits and labels, on the model's device, and its draw, whose members index its own rows.

    Raises:
        ValueError: As `capture`. Names and the generator are checked by the call itself, the rest as batches come.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
        >>> batches = [(torch.zeros(size, 2), torch.zeros(size, dtype=torch.int64)) for size in (5, 2)]
        >>> [tuple(batch.features["0"].shape) for batch in capture_batches(model, batches, sites=("0",))]
        [(5, 3), (2, 3)]
    """
    if mixing is not None and generator is None:
        raise ValueError("generator must be given with mixing, got None")
    check_sites(model, sites)
    check_pooled(sites, average_pooled)
    readers = {site: pooled_rows if site in average_pooled else flat_rows for site in sites}
    return _each_batch(model, batches, readers, mixing, generator)


def _each_batch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    readers: dict[str, Callable[..., Tensor]],
    mixing: MixingScheme | None,
    generator: torch.Generator | None,
) -> Iterator[Captured]:
    num_examples = 0
    for batch in batches:
        batch_inputs, labels = pair_of(batch)
        num_examples += len(batch_inputs)
        inputs, mixture = on_device_of(model, batch_inputs), None
        if mixing is not None and generator is not None:
            mixture = draw_for_inputs(mixing, inputs, labels, generator=generator)
            inputs = blend(inputs, mixture)
        output, features = forward_rows(model, inputs, readers)
        with naming("batches"):
            check_output(output, labels, num_rows=len(inputs))
        logits = measurable(output.detach())
        yield Captured(features, logits, labels.to(logits.device, torch.int64), mixture)
    check_not_empty(num_examples)


def check_not_empty(num_examples: int) -> None:
    """Raise if batches that are used up held no example."""
    if not num_examples:
        raise ValueError("batches must hold at least one example, got none")


def check_output(output: Tensor, labels: Tensor, *, num_rows: int) -> None:
    """Raise unless a model's output is (B, K) logits and the labels are B integers in [0, K)."""
    if output.ndim != 2 or len(output) != num_rows:
        raise ValueError(f"the model's output must be ({num_rows}, K) logits, got shape {tuple(output.shape)}")
    check_no_probabilities(output)
    check_labels(labels, num_classes=output.shape[1])
    if len(labels) != num_rows:
        raise ValueError(f"labels must have one entry per input ({num_rows}), got {len(labels)}")


@checked
def draw_for_inputs(mixing: MixingScheme, inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Mixture:
    """Draw a mixture for a batch, and raise unless it blends inputs, one blend per input."""
    with naming("batches"):
        check_floating(inputs=inputs)
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
        members.append(mixture.members + offset)
        if mixture.mask is not None:
            masks.append(mixture.mask.expand(len(mixture.members), -1, -1, -1))
        offset += len(mixture.members)
    if len(masks) not in (0, len(mixtures)):
        raise ValueError(f"mixing must draw a mask for every batch or for none, got {len(masks)} of {len(mixtures)}")
    target_weights = None
    if any(mixture.target_weights is not None for mixture in mixtures):
        target_weights = torch.cat([mixture.label_weights.to(torch.float64) for mixture in mixtures])
    return Mixture(
        members=_join(members, name="the members drawn by mixing"),
        weights=torch.cat([mixture.weights.to(torch.float64) for mixture in mixtures]),
        target_weights=target_weights,
        mask=torch.cat(masks) if masks else None,
    )
