"""Measurement of a LightningModule on chosen examples, and its rehearsal on a few of them."""

import math
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
from mixscope.integrations.figure_logging import log_figures
from mixscope.integrations.lightning.measured_examples import TRIED, Examples, one_line
from mixscope.measuring import (
    LAYER_MIXING,
    PAIR_MIXING,
    BlendLaw,
    Examination,
    capture_blends,
    examine,
    linear_head,
    measure_last_layer,
    measure_linearity,
)
from mixscope.measuring.examination import measure_predictions
from mixscope.measuring.pictures import examination_pictures
from mixscope.metrics.blends.blend_reports import ChannelReport
from mixscope.metrics.cards import cards_of
from mixscope.metrics.collapse.collapse_report import CollapseOnTest, CollapseReport
from mixscope.mixing.mixture import INPUT_SUFFIX
from mixscope.models.heads import find_head

NUM_BLENDS = 2000  # blends behind the channel and the linearity numbers: means of some hundred in each group
FROM_THEORY = {"channels/theory_residual"}  # which needs the joint optimum beside what is measured
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
        return BlendLaw(mixing, named_generator(self.seed, "lightning-blends"))  # type: ignore[arg-type]


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
    seen, notes = _examine(pl_module, asked)
    pictures, trainer = examination_pictures(seen, pl_module, head=asked.head), pl_module.trainer
    log_figures(trainer.loggers, pictures, step=trainer.global_step, step_key="trainer/global_step")
    return seen.values, notes


def _examine(pl_module: LightningModule, asked: Asked) -> tuple[Examination, list[str]]:
    """Return what is found out about a module, and what a user should know about them."""
    train, val, num_classes = asked.train, asked.val, linear_head(pl_module, asked.head).out_features
    generator = named_generator(asked.seed, "lightning-blends")
    layer_pairs = val.at_most(NUM_BLENDS) if val is not None and asked.sites else None
    layer_laws = (BlendLaw(LAYER_MIXING, generator),) if asked.sites else ()
    try:
        seen = examine(
            pl_module,
            head=asked.head,
            train=train,
            test=val,
            pairs=train.at_most(NUM_BLENDS),
            pair_law=BlendLaw(PAIR_MIXING, generator),
            layer_pairs=layer_pairs,
            layer_laws=layer_laws,
            sites=asked.sites,
        )
        return seen, []
    except ValueError:
        lacking = sorted(set(range(num_classes)) - train.seen)
        if not train.seen or not lacking:
            raise
    report = measure_predictions(pl_module, train).report()
    groups = [(CollapseReport, "nc"), (ChannelReport, "channels"), *([(CollapseOnTest, "nc_test")] if val else [])]
    keys = {card.key for kind, group in groups for card in cards_of(kind, group)} - FROM_THEORY
    values = dict.fromkeys(sorted(keys), math.nan)
    values |= {"train/accuracy_clean": report.accuracy, "train/loss_clean": report.loss}
    rest_of_all = examine(pl_module, test=val, layer_pairs=layer_pairs, layer_laws=layer_laws, sites=asked.sites)
    values |= rest_of_all.values
    rest = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    named = f"{', '.join(map(str, lacking[:MOST_NAMED]))}{rest}"
    found = Examination(values, predictions=rest_of_all.predictions, linearity=rest_of_all.linearity)
    return found, [
        f"{train.name}: no example of class {named} is among those looked at, so numbers that need one of each class "
        f"are NaN ({', '.join(f'{group}/...' for _, group in groups)}): raise max_examples or give {train.name}"
    ]


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
