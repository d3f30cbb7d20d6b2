"""Measurement of a LightningModule on chosen examples, and its rehearsal on a few of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.parameter import UninitializedParameter

from mixscope.base.checks import naming
from mixscope.base.errors import UserError
from mixscope.base.generators import named_generator
from mixscope.integrations.examples import Examples, examine_examples, groups_of_every_class
from mixscope.integrations.figure_logging import log_figures
from mixscope.integrations.lightning.measured_examples import TRIED, one_line
from mixscope.measuring import (
    LAYER_MIXING,
    PAIR_MIXING,
    BlendLaw,
    capture_blends,
    linear_head,
    measure_last_layer,
    measure_linearity,
)
from mixscope.measuring.pictures import examination_pictures
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.models.heads import find_head

BLENDS = "lightning-blends"  # names their draws
MOST_NAMED = 5  # classes without an example, in a warning


@dataclass(frozen=True)
class Asked:
    """What is measured on which examples."""

    train: Examples
    val: Examples | None
    head: str  # empty: not found yet
    sites: tuple[str, ...]
    seed: int

    def law(self, mixing: object) -> BlendLaw:
        """Return a law of blends whose draws begin anew."""
        return BlendLaw(mixing, named_generator(self.seed, BLENDS))  # type: ignore[arg-type]


def try_module(pl_module: LightningModule, asked: Asked) -> Asked:
    """Measure a few examples for nothing, and return what is asked with the head that was found, where none was named.

    Raises:
        ValueError: If something cannot be measured, in one line.
    """
    few = asked.train.first(TRIED)
    if not asked.head:
        try:
            asked = replace(asked, head=find_head(pl_module, inputs=few[0][0] if few else None))
        except UserError as error:
            raise ValueError(f"head: {error}".replace("--head", "head")) from error
    linear = linear_head(pl_module, asked.head)
    if isinstance(linear.weight, UninitializedParameter):
        raise ValueError(
            f"head {asked.head!r} must have its weights, got a lazy layer: run forward on a batch before fit"
        )
    means = torch.zeros(linear.out_features, linear.in_features)
    try:
        with _weights_that_show(linear):
            with naming("train"):
                measure_last_layer(pl_module, few, head=asked.head, class_means=means)
                capture_blends(pl_module, few, site=f"{asked.head}{INPUT_SUFFIX}", law=asked.law(PAIR_MIXING))
            if asked.val is not None:
                few = asked.val.first(TRIED)
                with naming("test"):
                    measure_last_layer(pl_module, few, head=asked.head, class_means=means)
                if asked.sites:
                    with naming("layer_pairs"):
                        measure_linearity(pl_module, few, sites=asked.sites, laws=[asked.law(LAYER_MIXING)])
    except Exception as error:  # whatever the module's own code raises
        if isinstance(error, ValueError) and "\n" not in str(error):
            raise
        raise ValueError(f"forward must take a batch of inputs and return the logits, got {one_line(error)}") from error
    return asked


def examine_module(pl_module: LightningModule, asked: Asked) -> tuple[dict[str, float], list[str]]:
    """Return every number of a module, and what a user should know about them; loggers that take figures get them."""
    seen, lacking = examine_examples(
        pl_module,
        head=asked.head,
        train=asked.train,
        test=asked.val,
        sites=asked.sites,
        seed=asked.seed,
        purpose=BLENDS,
    )
    pictures, trainer = examination_pictures(seen, pl_module, head=asked.head), pl_module.trainer
    log_figures(trainer.loggers, pictures, step=trainer.global_step, step_key="trainer/global_step")
    return seen.values, [_lacking_words(asked, lacking)] if lacking else []


def _lacking_words(asked: Asked, lacking: list[int]) -> str:
    rest = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    named = f"{', '.join(map(str, lacking[:MOST_NAMED]))}{rest}"
    groups = ", ".join(f"{group}/..." for group in groups_of_every_class(has_test=asked.val is not None))
    name = asked.train.name
    return (
        f"{name}: no example of class {named} is among those looked at, so numbers that need one of each class are "
        f"NaN ({groups}): raise max_examples or give {name}"
    )


@contextmanager
def _weights_that_show(linear: nn.Linear) -> Iterator[None]:
    """Let a head that begins with zeros give logits inside the block, without which a softmax would go unnoticed."""
    weight = linear._parameters.get("weight")
    if weight is None or bool(weight.any()):
        yield
        return
    with torch.no_grad():
        weight.normal_()
    try:
        yield
    finally:
        with torch.no_grad():
            weight.zero_()
