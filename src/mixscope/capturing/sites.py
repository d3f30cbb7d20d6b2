"""What named modules of a network see: hooks that live only inside a context manager, and features as rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mixscope.base.checks import nearest
from mixscope.mixing.mixture import INPUT_SUFFIX


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
    check_sites(model, sites)
    recorded: dict[str, Tensor] = {}

    def keep(site: str) -> Callable[[Tensor], None]:
        def watcher(value: Tensor) -> None:
            if site in recorded:
                raise ValueError(f"site {site!r} must run once per forward pass, got a second run")
            recorded[site] = value.clone()

        return watcher

    with _hooks(model, {site: keep(site) for site in sites}):
        yield recorded


def measurable(value: Tensor) -> Tensor:
    """Return the tensor where float64 can be computed: on its own device, or on the CPU for one that has no float64.

    Apple's GPUs have none.
    """
    return value.cpu() if value.device.type == "mps" else value


def forward_watched(model: nn.Module, inputs: Tensor, watchers: Mapping[str, Callable[[Tensor], None]]) -> Any:
    """Run a model once in evaluation mode, without gradients, and show what named modules see while they see it.

    A watcher is called in the middle of the forward pass, before any later in-place operation, so nothing is copied and
    a wide layer's features need not outlive the layer. Afterwards flags, hooks and gradient mode are as they were, also
    when something raises.

    Args:
        model: Any module.
        inputs: What the model takes.
        watchers: Site ("NAME" or "NAME:input") to a function of the tensor there, which is `measurable`. It must not
            change the tensor.

    Returns:
        The model's output.

    Raises:
        ValueError: If a site is not a submodule, is not run exactly once, or is no tensor.
    """
    seen: set[str] = set()

    def once(site: str, watcher: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
        def checked(value: Tensor) -> None:
            if site in seen:
                raise ValueError(f"site {site!r} must run once per forward pass, got a second run")
            seen.add(site)
            watcher(measurable(value))

        return checked

    checked = {site: once(site, watcher) for site, watcher in watchers.items()}
    with evaluation_mode(model), torch.no_grad(), _hooks(model, checked):
        output = model(inputs)
    for site in watchers:
        if site not in seen:
            raise ValueError(f"site {site!r} must run in the forward pass, got no run")
    return output


def flat_rows(value: Tensor, *, site: str, num_rows: int) -> Tensor:
    """Return (B, D): every example flattened, channels first for images; a view where the layout allows one.

    Raises:
        ValueError: If the tensor has not one row per example.
    """
    _check_rows(value, site=site, num_rows=num_rows)
    return value.reshape(num_rows, math.prod(value.shape[1:]))


def pooled_rows(value: Tensor, *, site: str, num_rows: int) -> Tensor:
    """Return (B, C) averages: of (B, C, H, W) maps over their pixels, of (B, T, D) tokens over the T tokens.

    Raises:
        ValueError: If the tensor has not one row per example, or is neither maps nor tokens.
    """
    _check_rows(value, site=site, num_rows=num_rows)
    if value.ndim == 4:
        return value.mean(dim=(2, 3))
    if value.ndim == 3:
        return value.mean(dim=1)
    shape = tuple(value.shape)
    raise ValueError(f"average_pooled site {site!r} must have (B, C, H, W) maps or (B, T, D) tokens, got shape {shape}")


def check_sites(model: nn.Module, sites: Sequence[str]) -> None:
    """Raise unless sites is a sequence of names, each "NAME" or "NAME:input" of a submodule; near names are listed."""
    if isinstance(sites, str):
        raise ValueError(f"sites must be a sequence of names, got the string {sites!r}")
    modules = _named_modules(model)
    for site in sites:
        _find_module(modules, site)


def check_pooled(sites: Sequence[str], average_pooled: Sequence[str]) -> None:
    """Raise unless what is average-pooled is a sequence of some of the sites."""
    if isinstance(average_pooled, str):
        raise ValueError(f"average_pooled must be a sequence of names, got the string {average_pooled!r}")
    for site in average_pooled:
        if site not in sites:
            raise ValueError(f"average_pooled must name some of the sites, got {site!r}{nearest(site, sites)}")


def _check_rows(value: Tensor, *, site: str, num_rows: int) -> None:
    if value.ndim < 1 or len(value) != num_rows:
        raise ValueError(f"site {site!r} must have one row per example ({num_rows}), got shape {tuple(value.shape)}")


def _named_modules(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules(remove_duplicate=False) if name}


def _find_module(modules: Mapping[str, nn.Module], site: str) -> tuple[nn.Module, bool]:
    """Return the module of a site, and whether its input is meant."""
    if site in modules:
        return modules[site], False
    name = site.removesuffix(INPUT_SUFFIX)
    if name in modules:
        return modules[name], True
    close = nearest(name, modules)
    stem = name.partition(":")[0]
    if not close and stem in modules:
        close = f" (did you mean {stem} or {stem}{INPUT_SUFFIX}?)"
    raise ValueError(f"sites must name modules of the model, got {site!r}{close}")


@contextmanager
def _hooks(model: nn.Module, watchers: Mapping[str, Callable[[Tensor], None]]) -> Iterator[None]:
    """Call the watchers in every forward pass run inside the block."""
    modules = _named_modules(model) if watchers else {}
    handles: list[RemovableHandle] = []
    try:
        for site, watcher in watchers.items():
            module, is_input = _find_module(modules, site)
            if is_input:
                handles.append(module.register_forward_pre_hook(_input_hook(site, watcher)))
            else:
                handles.append(module.register_forward_hook(_output_hook(site, watcher)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _input_hook(site: str, watcher: Callable[[Tensor], None]) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        watcher(_tensor(arguments[0] if arguments else None, site=site))

    return hook


def _output_hook(site: str, watcher: Callable[[Tensor], None]) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        watcher(_tensor(output, site=site))

    return hook


def _tensor(value: Any, *, site: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(f"site {site!r} must be a tensor, got {type(value).__name__}")
    return value.detach()
