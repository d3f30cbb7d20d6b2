"""Table of the networks by name; and of any network its linear head, which can be given and fixed, and its sites."""

import math
import re
from importlib import import_module

import torch
from torch import nn

from mixscope.base.checks import check_at_least, nearest
from mixscope.base.errors import UserError, users_code
from mixscope.base.generators import seeded_globals
from mixscope.base.kinds import checked
from mixscope.base.simplex import simplex_etf
from mixscope.capturing.sites import check_sites, named_modules
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.models.convolutional import BASE_CHANNELS, WideResNet
from mixscope.models.external import build_from_file, build_from_timm
from mixscope.models.heads import find_head
from mixscope.models.hub_models import HUB_PREFIX, build_from_transformers
from mixscope.models.mlp import MLP

__all__ = ["MODEL_FORMS", "MODEL_NAMES", "brings_weights", "build_model", "find_head", "fix_classifier", "model_sites"]

# "module:factory" in `mixscope.models`; a factory takes num_classes and image_shape (C, H, W) by keyword.
NETWORKS = {
    "mlp": "mlp:MLP",
    "residual-mlp": "mlp:ResidualMLP",
    "convnet": "convolutional:ConvNet",
    "resnet18": "convolutional:resnet18",
    "resnet34": "convolutional:resnet34",
    "wide-resnet-28-2": "convolutional:wide_resnet_28_2",
    "wide-resnet-28-10": "convolutional:wide_resnet_28_10",
    "vit-small": "vit:vit_small",
    "vit-b/4": "vit:vit_b4",
}
MODEL_NAMES = tuple(NETWORKS)
MODEL_FORMS = ("mlp-WIDTHxDEPTH", "wide-resnet-D-K", "FILE.py:FACTORY", "timm:NAME", "hf-model:NAME_OR_FOLDER")
MLP_FORM = re.compile(r"mlp-(\d{1,9})x(\d{1,9})")
WIDE_RESNET_FORM = re.compile(r"wide-resnet-(\d{1,9})-(\d{1,9})")
MAX_WEIGHTS, MAX_DEPTH = 10**9, 1000  # of a network made by such a name: 4 GB, and as much again for its training


def build_model(
    name: str, *, num_classes: int, image_shape: tuple[int, int, int], seed: int, own_weights: bool = False
) -> nn.Module:
    """Make the model called `name`, with weights decided by `seed`.

    Args:
        name: One of MODEL_NAMES, or of these forms: "mlp-WIDTHxDEPTH", DEPTH hidden layers of WIDTH ("mlp-512x3");
            "wide-resnet-D-K", depth D = 6n + 4 and widening factor K ("wide-resnet-40-10"); "FILE.py:FACTORY", a
            function or class in a file of your own (see `external.build_from_file`); "timm:NAME"; "hf-model:NAME", an
            image classifier of transformers, of a folder or the hub.
        num_classes: K.
        image_shape: (C, H, W) of one image.
        seed: Of the run. torch's CPU generator is seeded from it while the model is made and restored after; numpy's
            and Python's are not touched, so a factory of your own should draw from torch alone.
        own_weights: Whether the model is to come with its own trained weights and classes, to be measured as it is:
            those of timm or transformers, or what the factory loads. Otherwise a transformers model gets a new
            classifier where it has another number of classes, and a timm model fresh weights.

    Returns:
        A module in training mode, on the CPU, that maps (B, C, H, W) to logits (B, K).

    Raises:
        UserError: If there is no such model, or it does not fit the images.
        ValueError: If num_classes is below 2 or image_shape is not three positive sizes.

    Example:
        >>> model = build_model("mlp-32x2", num_classes=10, image_shape=(1, 8, 8), seed=0)
        >>> model.sites, find_head(model)
        (('layer1', 'layer2', 'head'), 'head')
    """
    check_at_least(2, num_classes=num_classes)
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be three positive sizes (C, H, W), got {tuple(image_shape)}")
    with seeded_globals(seed, "init"):
        return _build(name, num_classes=num_classes, image_shape=image_shape, own_weights=own_weights)


def brings_weights(name: str) -> bool:
    """Return whether a model of this name can come with trained weights of its own."""
    return name.startswith(("timm:", HUB_PREFIX)) or name.rpartition(":")[0].endswith(".py")


def _build(name: str, *, num_classes: int, image_shape: tuple[int, int, int], own_weights: bool) -> nn.Module:
    if own_weights and not brings_weights(name):
        raise UserError(f"{name} has no weights of its own: give them with --weights")
    if name in NETWORKS:
        module, _, factory = NETWORKS[name].partition(":")
        network: nn.Module = getattr(import_module(f"mixscope.models.{module}"), factory)(
            num_classes=num_classes, image_shape=image_shape
        )
        return network
    if match := MLP_FORM.fullmatch(name):
        width, depth = int(match[1]), int(match[2])
        if min(width, depth) < 1:
            raise UserError(f"width and depth in mlp-WIDTHxDEPTH must be at least 1, got {name}")
        _check_size(name, depth=depth, weights=width * (math.prod(image_shape) + width * (depth - 1)))
        return MLP(num_classes=num_classes, image_shape=image_shape, hidden=[width] * depth)
    if match := WIDE_RESNET_FORM.fullmatch(name):
        depth, widen = int(match[1]), int(match[2])
        # Two 3 x 3 convolutions a block; the groups have 1, 2 and 4 times the channels.
        weights = 2 * 9 * (1 + 4 + 16) * (BASE_CHANNELS * widen) ** 2 * depth // 6
        _check_size(name, depth=depth, weights=weights)
        return WideResNet(num_classes=num_classes, image_shape=image_shape, depth=depth, widen=widen)
    if name.startswith("timm:"):
        timm_name = name.removeprefix("timm:")
        return build_from_timm(timm_name, num_classes=num_classes, image_shape=image_shape, own_weights=own_weights)
    if name.startswith(HUB_PREFIX):
        hub_name = name.removeprefix(HUB_PREFIX)
        return build_from_transformers(
            hub_name, num_classes=num_classes, image_shape=image_shape, own_weights=own_weights
        )
    if name.endswith(".py") or name.rpartition(":")[0].endswith(".py"):
        return build_from_file(name, num_classes=num_classes, image_shape=image_shape)
    known = ", ".join((*MODEL_NAMES, *MODEL_FORMS))
    raise UserError(f"model must be one of {known}, got {name!r}{nearest(name, MODEL_NAMES)}")


def _check_size(name: str, *, depth: int, weights: int) -> None:
    """Raise a `UserError` for a network that no machine holds."""
    if depth > MAX_DEPTH or weights > MAX_WEIGHTS:
        got = f"{name} with {depth:,} and about {weights:.2g}"
        raise UserError(f"model must have at most {MAX_DEPTH:,} layers and {MAX_WEIGHTS:,} weights, got {got}")


def model_sites(model: nn.Module, head: str | None) -> tuple[str, ...]:
    """Return the places to look into a model, from early to late.

    They are its attribute `sites`, a tuple or list of names of its modules (each may end in ":input", for what goes in
    rather than what comes out); where it has none, the input and the output of the head, or nowhere where there is no
    head. A `UserError` if `sites` is not a tuple or list of names of the model's modules.
    """
    # nn.Module has no such attribute; ours and, if they like, the user's models declare it.
    with users_code("sites of the model raised"):
        sites = getattr(model, "sites", None)
    if sites is None:
        return () if head is None else (f"{head}{INPUT_SUFFIX}", head)
    if not isinstance(sites, tuple | list) or not all(isinstance(site, str) for site in sites) or not sites:
        raise UserError(f"sites of the model must be a tuple of module names, got {sites!r}")
    try:
        check_sites(model, sites)
    except ValueError as error:
        raise UserError(str(error)) from error
    return tuple(sites)


@checked
def fix_classifier(model: nn.Module, head: str, *, generator: torch.Generator) -> None:
    """Set the head's weight to a simplex equiangular tight frame with rows of length 1, its bias to 0, and freeze both.

    Features then have to come to the classifier: with it given, neural collapse of the features is all there is to
    learn. The orientation is uniform, the length the frame's usual (nn.Linear starts with about 1 / sqrt(3)). Frozen,
    it takes no gradient and no weight decay, and it is saved and loaded like any other weight. A `UserError` if the
    head has fewer inputs than outputs less one, or nothing but it could be trained.
    """
    classifier = named_modules(model)[head]
    assert isinstance(classifier, nn.Linear)  # as `find_head` promises
    num_classes, dim = classifier.out_features, classifier.in_features
    if dim < num_classes - 1:
        least = f"at least as many features as classes less one, {num_classes - 1}"
        raise UserError(f"classifier fixed-etf needs {least}, got {dim}")
    with torch.no_grad():
        classifier.weight.copy_(simplex_etf(num_classes, dim, generator=generator))
        if classifier.bias is not None:
            classifier.bias.zero_()
    classifier.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("classifier fixed-etf must leave something to train, but the network is its head alone")
