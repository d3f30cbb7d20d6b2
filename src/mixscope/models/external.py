"""External networks: of a factory in the user's own Python file, or of the timm library."""

import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from mixscope.base.checks import nearest
from mixscope.base.errors import UserError, describe_error, users_code
from mixscope.base.reading import open_regular

FACTORY_ARGUMENTS = ("num_classes", "image_shape", "in_chans", "img_size", "image_size")
ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")  # what timm loads from elsewhere, with its weights
TIMM_INSTALL = "pip install 'mixscope[timm]'"


def build_from_file(name: str, *, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Load "FILE.py:FACTORY", a Python file, and call the function or class in it that makes the model.

    FACTORY is called by keyword with those of `num_classes`, `image_shape` (C, H, W), `in_chans` (C), `img_size` and
    `image_size` (the side, or (H, W) where they differ) that its signature names, and with nothing else. While the file
    is loaded and FACTORY runs, the file's folder is first on `sys.path`, so the file can import its neighbours. The
    file is executed anew at each call. A `UserError` if the file or FACTORY is missing, either raises, FACTORY needs
    other arguments, or it returns anything but an `nn.Module` that hooks can see into.
    """
    file_name, _, factory_name = name.rpartition(":")  # the last: that of a Windows drive may stand before it
    if name.endswith(".py") or not factory_name:
        file_name = name.removesuffix(":")
        raise UserError(f"{file_name}: name the function that makes the model as well: {file_name}:FACTORY")
    path = Path(file_name)
    if not path.exists():
        raise UserError(f"{path}: no such Python file")
    open_regular(path).close()  # Python reads it by its name
    with _first_on_path(path.resolve().parent):
        module = _execute(path)
        factory = _find_factory(module, factory_name, path=path)
        height, width = image_shape[1:]
        size = height if height == width else (height, width)
        sizes = {"image_shape": image_shape, "in_chans": image_shape[0], "img_size": size, "image_size": size}
        available = {"num_classes": num_classes, **sizes}
        accepted = _accepted_arguments(factory, label=f"{path}: {factory_name}")
        with users_code(f"{path}: {factory_name} raised"):
            model = factory(**{argument: available[argument] for argument in accepted})
    if isinstance(model, torch.jit.ScriptModule):
        raise UserError(f"{path}: {factory_name} must return the network itself, got a scripted one: no hook sees it")
    if not isinstance(model, nn.Module):
        raise UserError(f"{path}: {factory_name} must return a torch.nn.Module, got {_kind(model)}")
    with users_code(f"{path}: {factory_name} must return a torch.nn.Module that called super().__init__(), got"):
        list(model.named_modules())
    return model


def build_from_timm(name: str, *, num_classes: int, image_shape: tuple[int, int, int], own_weights: bool) -> nn.Module:
    """Make the timm library's model of this name, with fresh weights or those that timm has for it.

    K and the number of channels are passed on, and the size of images where it is not the model's usual one and the
    model takes it (`img_size`). A `UserError` if timm is not installed or cannot be imported, knows no such model, or
    cannot make it, or if its own weights are for another number of classes.
    """
    timm = import_timm(name)
    is_elsewhere = name.startswith(ELSEWHERE)
    if not is_elsewhere and not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    with users_code(f"timm:{name} could not be made:"):  # each of timm's thousand models has its own conditions
        known = None if is_elsewhere else timm.get_pretrained_cfg(name)
        if own_weights and known is not None and known.num_classes != num_classes:
            got = f"{known.num_classes}: give weights with --weights"
            raise UserError(f"timm:{name} must have as many classes as the images, {num_classes}, got {got}")
        usual = None if known is None else tuple(known.input_size[1:])
        given: dict[str, Any] = {"num_classes": num_classes, "in_chans": image_shape[0]}
        given |= {"pretrained": True} if own_weights or is_elsewhere else {}
        if usual not in (None, image_shape[1:]):
            try:
                sized: nn.Module = timm.create_model(name, **given, img_size=image_shape[1:])
                return sized
            except TypeError as error:  # one that takes any size has no such argument
                if "img_size" not in str(error):
                    raise
        model: nn.Module = timm.create_model(name, **given)
    return model


def import_timm(name: str) -> Any:
    """Return the timm library, needed for the model `name`; a `UserError` if it is not installed or does not import."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError(f"timm:{name} needs the timm library ({error}): {TIMM_INSTALL}") from error
    except Exception as error:  # A torchvision built for another torch fails with RuntimeError or OSError.
        raise UserError(
            f"timm:{name}: timm is installed but cannot be imported ({describe_error(error)});"
            f" timm and torchvision must fit this torch: {TIMM_INSTALL} --upgrade"
        ) from error
    return timm


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _execute(path: Path) -> ModuleType:
    # Registered under a name of its own: dataclasses and pickle look a class's module up in sys.modules.
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
    module_name = f"mixscope_user_file_{digest}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: must be a Python file ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with users_code(f"{path}: could not be loaded:"):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    return module


def _find_factory(module: ModuleType, name: str, *, path: Path) -> Callable[..., Any]:
    if name not in vars(module):
        own = [
            own_name
            for own_name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        listed = nearest(name, own) or (f" (it has {', '.join(own)})" if own else "")
        raise UserError(f"{path}: has no function or class {name!r}{listed}")
    factory: Callable[..., Any] = vars(module)[name]
    if isinstance(factory, nn.Module) or not callable(factory):
        got = "a finished model" if isinstance(factory, nn.Module) else _kind(factory)
        raise UserError(f"{path}: {name} must be a function or class that makes the model, got {got}")
    return factory


def _accepted_arguments(factory: Callable[..., Any], *, label: str) -> list[str]:
    with users_code(f"{label} must have a signature:"):
        parameters = inspect.signature(factory).parameters.values()
    kinds = inspect.Parameter
    optional = (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    by_keyword = (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    accepted = [each.name for each in parameters if each.kind in by_keyword and each.name in FACTORY_ARGUMENTS]
    required = [
        f"{each.name} by position" if each.kind is kinds.POSITIONAL_ONLY else each.name
        for each in parameters
        if each.default is kinds.empty and each.kind not in optional and each.name not in accepted
    ]
    if required:
        raise UserError(f"{label} may require only {', '.join(FACTORY_ARGUMENTS)}, got {', '.join(required)}")
    return accepted


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
