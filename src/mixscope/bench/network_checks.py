"""Checks of a network before anything is written: that it can be measured and trained, tried on a copy of it."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mixscope.base.errors import UserError, users_code
from mixscope.base.generators import seeded_globals
from mixscope.capturing.outputs import check_no_probabilities, logits_of
from mixscope.capturing.sites import check_sites, eagerly, evaluation_mode, record_sites
from mixscope.data.batches import TrainingBatches
from mixscope.data.image_data import ImageData
from mixscope.measuring.last_layer import check_head_gives_logits, linear_head, weight_and_bias
from mixscope.mixing.manifold import blending_at
from mixscope.mixing.mixture import INPUT_SITE, INPUT_SUFFIX, Mixture
from mixscope.training.checkpoint import encode_weights
from mixscope.training.objective import LOSSES, build_optimizer
from mixscope.training.recipe import Recipe

TRIED_SIZES = (2, 3)  # images: a network that fixes the size of its batches fails at one of them


def check_places(model: nn.Module, sites: Sequence[str]) -> None:
    """Raise a `UserError` with near names unless every site is "NAME" or "NAME:input" for a module NAME."""
    try:
        check_sites(model, sites)
    except ValueError as error:
        raise UserError(str(error)) from error


def check_forward(model: nn.Module, images: ImageData, *, head: str | None, sites: Sequence[str], name: str) -> None:
    """Raise a `UserError`, which calls a network by its name, unless it can be measured.

    It must turn images, however many, into (B, K) finite logits that its head computes, where it has one, and run every
    site once. Tried on a copy, but for parameters that have no shape yet: they get theirs here.
    """
    pixels = images.test_images[: max(TRIED_SIZES)].float() / 255
    shape = "x".join(map(str, images.image_shape))
    what = f"{name} must take images of shape {shape}, but it raised"
    with seeded_globals(0, "look at a network"):
        if any(is_lazy(parameter) for parameter in [*model.parameters(), *model.buffers()]):
            with users_code(what), evaluation_mode(model), torch.no_grad():
                model(pixels)
        with _stand_in(model) as network:
            for size in TRIED_SIZES:
                inputs, site = pixels[:size], f"{head}{INPUT_SUFFIX}"
                places = dict.fromkeys((*([] if head is None else [site]), *sites))
                with users_code(what), record_sites(network, tuple(places)) as recorded, torch.no_grad(), eagerly():
                    outputs: Any = network.eval()(inputs)
                logits = _logits(outputs, size=len(inputs), num_classes=images.num_classes, name=name)
                if head is not None:
                    _check_head(linear_head(network, head), recorded.get(site), logits, head=head, name=name)
                for place in places:
                    if place not in recorded or not recorded[place].ndim or len(recorded[place]) != len(inputs):
                        raise UserError(f"site {place!r} must be run in the forward pass, with one row per image")


def _check_head(linear: nn.Linear, features: Tensor | None, logits: Tensor, *, head: str, name: str) -> None:
    """Raise a `UserError` unless a linear layer turns one row of features per image into the logits."""
    num_classes = logits.shape[1]
    if linear.out_features != num_classes:
        raise UserError(f"head {head!r} must have {num_classes} outputs, got {linear.out_features}")
    if features is None or features.ndim != 2:
        raise UserError(f"head {head!r} must be the layer that gives the logits from one row of features per image")
    try:
        check_head_gives_logits(features, logits, *weight_and_bias(linear), head=head)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def check_training(
    model: nn.Module,
    batches: TrainingBatches,
    recipe: Recipe,
    *,
    num_classes: int,
    sites: Sequence[str],
    accelerator: Accelerator,
    name: str,
) -> None:
    """Raise a `UserError` unless a network can be trained: it goes through the first and last batch of an epoch.

    Forward, backward and a step of the optimizer are made by a copy in training mode, on the device: neither weights
    nor the statistics of batch norm nor any random draw of the run feel them. `sites` are the places that are mixed at.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"{name} must have a parameter that can be trained, got none")
    first, last = next(batches.epoch(1)), next(batches.epoch(1, start=len(batches) - 1))
    tries = [(first, INPUT_SITE), (last, INPUT_SITE)]
    tries += [((first[0][:2], first[1][:2]), site) for site in sites if site != INPUT_SITE]
    with _stand_in(model) as network, seeded_globals(0, "try to train", device=accelerator.device):
        network.to(accelerator.device).train()
        optimizer = build_optimizer(network, recipe)
        for (inputs, labels), site in tries:
            # A process's share of the rows, but two for batch norm, whose statistics are those of the whole batch.
            size = max(min(2, len(inputs)), len(inputs) // accelerator.num_processes)
            mixture = Mixture(torch.arange(size)[:, None], torch.ones(size, 1), site=site).to(accelerator.device)
            what = f"{name} must train on {size} {'image' if size == 1 else 'images'} at once, but it raised"
            if size == 1 and has_batch_norm(network):
                what = f"batch-size must be at least 2 for {name}, which has batch norm:"
            with users_code(what), accelerator.autocast(), blending_at(network, mixture):
                outputs: Any = network(inputs[:size])
            logits = _logits(outputs, size=size, num_classes=num_classes, name=f"{name} in training mode")
            if not logits.requires_grad:
                raise UserError(f"{name} must give logits that depend on a parameter that can be trained")
            aims = F.one_hot(labels[:size], num_classes).float()
            with users_code(what):
                LOSSES[recipe.loss](logits.float(), aims).backward()
        with users_code(f"{name} must train with the optimizer {recipe.optimizer}, but it raised"):
            optimizer.step()
        encode_weights(network)  # as after the last epoch


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a module normalises by the statistics of its batch, which takes two values at least."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _logits(outputs: Any, *, size: int, num_classes: int, name: str) -> Tensor:
    """Return the logits in a network's outputs; a `UserError` unless they are (size, K), finite and floating-point."""
    try:
        logits = logits_of(outputs)
        check_no_probabilities(logits)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if logits.shape != (size, num_classes):
        got = f"shape {tuple(logits.shape)} for {size} images"
        raise UserError(f"{name} must give one logit for each of {num_classes} classes, got {got}")
    if not logits.is_floating_point():
        raise UserError(f"{name} must give logits in floating point, got {logits.dtype}")
    if not logits.isfinite().all():
        raise UserError(f"{name} must give finite logits, got NaN or infinite ones for the first images")
    return logits


@contextmanager
def _stand_in(model: nn.Module) -> Iterator[nn.Module]:
    """Give a copy of a network to try things on; where it cannot be copied, itself, put back as it was afterwards."""
    try:
        copied = copy.deepcopy(model)
    except KeyboardInterrupt:
        raise
    except BaseException:  # code of the user's own
        copied = None
    if copied is not None:
        yield copied
        return
    flags = [(module, module.training) for module in model.modules()]
    kept = [(tensor, tensor.detach().clone()) for tensor in [*model.parameters(), *model.buffers()]]
    try:
        yield model
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for tensor, values in kept:
                tensor.copy_(values)
        for module, flag in flags:
            module.training = flag
