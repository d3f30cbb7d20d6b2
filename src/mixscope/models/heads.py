"""Head of a network, the linear layer that gives its logits: by its name, or found in a forward pass."""

from typing import Any

import torch
from torch import Tensor, nn

from mixscope.base.checks import nearest
from mixscope.base.errors import UserError, users_code
from mixscope.base.generators import seeded_globals
from mixscope.capturing.outputs import check_no_probabilities, logits_of
from mixscope.capturing.sites import eagerly, evaluation_mode, hooked, named_modules

CLOSE = 0.01  # of the largest logit: what log_softmax in bfloat16 rounds away
MOST_NAMED = 8  # layers in a message, the last ones


class NoHeadError(UserError):
    """No linear layer of a model gives its logits."""


def find_head(model: nn.Module, name: str | None = None, *, inputs: Tensor | None = None) -> str:
    """Return the module name of a model's linear classifier; nothing is guessed.

    It is the module called `name` where that is given, else "head" where that is an `nn.Linear`, else what the model's
    own `get_classifier()` gives, which every timm model has. Else, with `inputs`, it is the one linear layer whose
    output is the logits, up to a constant per example, when they go through the model in evaluation mode.

    Raises:
        UserError: If `name` is not a linear module of the model, or nothing else is found (a `NoHeadError` where
            `inputs` have shown that there is none), or more than one.
    """
    modules = named_modules(model)
    if name is not None:
        if name not in modules:
            raise UserError(f"model has no module {name!r}{nearest(name, modules)}; {_linear_words(model)}")
        if not isinstance(modules[name], nn.Linear):
            raise UserError(f"module {name!r} must be an nn.Linear, got {type(modules[name]).__name__}")
        return name
    if isinstance(modules.get("head"), nn.Linear):
        return "head"
    # timm's convention; a model of another origin may have it too.
    with users_code("get_classifier() of the model raised"):
        get_classifier = getattr(model, "get_classifier", None)
        classifier = get_classifier() if callable(get_classifier) else None
    names = [own_name for own_name, module in modules.items() if module is classifier]
    if names and isinstance(classifier, nn.Linear):
        return names[0]
    if inputs is None:
        raise UserError(f"model has no linear module 'head': name the classifier with --head; {_linear_words(model)}")
    found = _giving_logits(model, inputs)
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"model has {len(found)} linear layers that give the logits: name one with --head: {_few(found)}"
        )
    raise NoHeadError(
        "model has no linear layer that gives its logits from one row of features per image, which collapse and "
        f"channels need: where one does, name it with --head; {_linear_words(model)}"
    )


def _giving_logits(model: nn.Module, inputs: Tensor) -> list[str]:
    """Return the linear modules whose last output is the model's logits, up to a constant per row."""
    linear = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear)]
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def look(value: Any) -> None:
            if isinstance(value, Tensor) and value.ndim == 2:
                outputs[name] = value.detach().clone()  # a later in-place operation would change it

        return look

    device = next((parameter.device for parameter in model.parameters()), inputs.device)
    hooks = {name: keep(name) for name in linear}
    with (
        users_code(f"model must take a batch of shape {tuple(inputs.shape)}, but it raised"),
        seeded_globals(0, "look for a head"),
        evaluation_mode(model),
        torch.no_grad(),
        eagerly(),
        hooked(model, hooks),
    ):
        returned = model(inputs.to(device))
    try:
        logits = logits_of(returned)
        check_no_probabilities(logits)
    except ValueError as error:
        raise UserError(str(error)) from error
    if logits.ndim != 2:
        return []
    wanted, size = _centred(logits), float(_centred(logits).abs().max())
    same = [name for name, value in outputs.items() if value.shape == logits.shape]
    exact = [name for name in same if torch.equal(outputs[name], logits)]
    return exact or [name for name in same if float((_centred(outputs[name]) - wanted).abs().max()) <= CLOSE * size]


def _centred(logits: Tensor) -> Tensor:
    values = logits.detach().float()
    return values - values.mean(dim=1, keepdim=True)


def _linear_words(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear)]
    if isinstance(model, nn.Linear):
        return "it is one nn.Linear itself: put it into an nn.Sequential"
    return f"its nn.Linear modules are {_few(names)}" if names else "it has no nn.Linear module"


def _few(names: list[str]) -> str:
    return ", ".join([*(["..."] if len(names) > MOST_NAMED else []), *names[-MOST_NAMED:]])
