"""Sites of a network: hooks on named modules that live only inside a context manager, and what they see as rows."""

import copy
import math
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from mixscope.base.checks import nearest
from mixscope.mixing.mixture import INPUT_SUFFIX

COMPILED = "_orig_mod"  # the name under which torch.compile keeps the module it wraps


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


def eagerly() -> AbstractContextManager[Any]:
    """Run compiled modules as they were written inside the block: what was compiled does not see new hooks."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled, and loading it takes a second
        return nullcontext()
    return cast(AbstractContextManager[Any], torch.compiler.set_stance("force_eager"))


@contextmanager
def hooked(model: nn.Module, functions: Mapping[str, Callable[[Any], Tensor | None]]) -> Iterator[None]:
    """Call a function on what each site gives or gets in every forward pass inside the block.

    Where the function returns a tensor, the forward pass goes on with that instead. Of a tuple, list or mapping, as
    transformer blocks return them, the function gets the first entry, and that alone is replaced.

    Args:
        model: Any module. Names may leave out what `torch.compile` and `DataParallel` put before them.
        functions: By site: "NAME" for a submodule's output, "NAME:input" for its first input, by position or keyword.

    Raises:
        ValueError: If a site is not a submodule; near names are listed.
    """
    modules = named_modules(model) if functions else {}
    with ExitStack() as handles:
        for site, function in functions.items():
            handles.callback(_hook(*_find_module(modules, site), function).remove)
        yield


@contextmanager
def record_sites(model: nn.Module, sites: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep a copy of what the named modules give or get, for one forward pass at a time.

    Copies, because a later in-place operation (an in-place ReLU) would change the recorded tensor. Yields a dictionary
    of site to tensor, filled by a forward pass; clear it before the next one.

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

    def keep(site: str, value: Tensor) -> None:
        recorded[site] = value.clone()

    with hooked(model, {site: _once(site, keep, recorded) for site in sites}):
        yield recorded


def measurable(value: Tensor) -> Tensor:
    """Return the tensor where float64 can be computed: on its own device, or on the CPU for Apple's GPUs."""
    return value.cpu() if value.device.type == "mps" else value


def forward_watched(model: nn.Module, inputs: Tensor, watchers: Mapping[str, Callable[[Tensor], None]]) -> Any:
    """Run a model once in evaluation mode, without gradients, and show what named modules see while they see it.

    A watcher is called in the middle of the forward pass, before any later in-place operation, so nothing is copied and
    a wide layer's features need not outlive the layer. Afterwards flags, hooks and gradient mode are as they were, also
    when something raises.

    Args:
        model: Any module, whose output is returned.
        inputs: What the model takes.
        watchers: Site to a function of the tensor there, which is `measurable`. It must not change the tensor.

    Raises:
        ValueError: If a site is not a submodule, is not run exactly once, or is no tensor.
    """
    seen: set[str] = set()

    def show(site: str, value: Tensor) -> None:
        seen.add(site)
        watchers[site](measurable(value))

    hooks = {site: _once(site, show, seen) for site in watchers}
    with evaluation_mode(model), torch.no_grad(), eagerly(), hooked(model, hooks):
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
    if value.ndim not in (3, 4):
        shape = tuple(value.shape)
        raise ValueError(
            f"average_pooled site {site!r} must have (B, C, H, W) maps or (B, T, D) tokens, got shape {shape}"
        )
    return value.mean(dim=(2, 3) if value.ndim == 4 else 1)


def check_sites(model: nn.Module, sites: Sequence[str]) -> None:
    """Raise unless sites is a sequence of names, each "NAME" or "NAME:input" of a submodule; near names are listed."""
    if isinstance(sites, str):
        raise ValueError(f"sites must be a sequence of names, got the string {sites!r}")
    modules = named_modules(model)
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


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the submodules by their names, and by the names they have without torch.compile and DataParallel."""
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    is_parallel = isinstance(model, DataParallel | DistributedDataParallel)
    if not is_parallel and not any(COMPILED in name for name in modules):
        return modules
    plain: dict[str, nn.Module] = {}
    for name, module in modules.items():
        short = _plain_name(name.removeprefix("module.") if is_parallel else name)
        if short:
            plain.setdefault(short, module)
    return modules | {name: module for name, module in plain.items() if name not in modules}


def _plain_name(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != COMPILED)


def _find_module(modules: Mapping[str, nn.Module], site: str) -> tuple[nn.Module, bool]:
    """Return the module of a site, and whether its input is meant."""
    for asked in (site, _plain_name(site)):
        if asked in modules:
            return modules[asked], False
    name = site.removesuffix(INPUT_SUFFIX)
    name = name if name in modules else _plain_name(name)
    if name in modules:
        return modules[name], True
    close = nearest(name, modules)
    stem = name.partition(":")[0]
    if not close and stem in modules:
        close = f" (did you mean {stem} or {stem}{INPUT_SUFFIX}?)"
    raise ValueError(f"sites must name modules of the model, got {site!r}{close}")


def _hook(module: nn.Module, is_input: bool, function: Callable[[Any], Tensor | None]) -> RemovableHandle:
    def before(
        _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if arguments:
            changed = _change(arguments[0], function)
            return None if changed is None else ((changed, *arguments[1:]), named)
        name = next(iter(named), "")
        changed = _change(named.get(name), function)
        return None if changed is None else (arguments, named | {name: changed})

    if is_input:
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(lambda _, arguments, output: _change(output, function))


def _change(value: Any, function: Callable[[Any], Tensor | None]) -> Any:
    """Return a value with what the function makes of its tensor, the first entry's where it has entries, or None."""
    if not isinstance(value, tuple | list | Mapping) or not value:
        return function(value)
    place: Any = next(iter(value)) if isinstance(value, Mapping) else 0
    changed = _change(value[place], function)
    if changed is None:
        return None
    if isinstance(value, tuple):
        entries = (changed, *value[1:])
        return value._make(entries) if hasattr(value, "_make") else entries
    replaced: Any = copy.copy(value)
    replaced[place] = changed
    return replaced


def _once(site: str, watcher: Callable[[str, Tensor], None], seen: Container[str]) -> Callable[[Any], None]:
    """Return a function for `hooked` that shows a watcher the tensor of a site which is not among those `seen`."""

    def watch(value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(f"site {site!r} must be a tensor, got {type(value).__name__}")
        if site in seen:
            raise ValueError(f"site {site!r} must run once per forward pass, got a second run")
        watcher(site, value.detach())

    return watch
