"""Examination of a Trainer's model: a few examples tried before training, and every number that the examples give."""

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import nn

from mixscope.base.checks import naming
from mixscope.base.generators import named_generator
from mixscope.capturing.sites import check_sites
from mixscope.integrations.transformers.trainer_state import FirstBatches
from mixscope.measuring import (
    LAYER_MIXING,
    PAIR_MIXING,
    BlendLaw,
    Examination,
    examine,
    linear_head,
    measure_last_layer,
    measure_linearity,
)
from mixscope.measuring.examination import measure_predictions
from mixscope.metrics.blends.blend_reports import ChannelReport
from mixscope.metrics.cards import cards_of
from mixscope.metrics.collapse.collapse_report import CollapseOnTest, CollapseReport
from mixscope.mixing.schemes import MixingScheme

NUM_BLENDS = 2000  # blends behind the channel and the linearity numbers: means of some hundred in each group
NUM_TRIED = 4  # examples that are measured before training begins
FROM_THEORY = {"channels/theory_residual"}  # which needs the joint optimum beside what is measured


@dataclass(frozen=True)
class TrainerExamples:
    """What is measured, on which examples."""

    train: FirstBatches
    test: FirstBatches | None
    head: str
    sites: tuple[str, ...]
    seed: int

    def law(self, mixing: MixingScheme) -> BlendLaw:
        """Return a law of blends whose draws begin anew."""
        return BlendLaw(mixing, named_generator(self.seed, "trainer-blends"))


def try_examples(model: nn.Module, asked: TrainerExamples) -> None:
    """Measure a few examples of each set for nothing; a ValueError if something cannot be measured."""
    linear = linear_head(model, asked.head)
    check_sites(model, asked.sites)
    nowhere = linear.weight.new_zeros(linear.weight.shape)  # classes may be missing among the few
    for name, batches in (("train_batches", asked.train), ("eval_batches", asked.test)):
        if batches is None:
            continue
        with naming(name):
            few = [(inputs[:NUM_TRIED], labels[:NUM_TRIED]) for inputs, labels in islice(batches, 1)]
            measure_last_layer(model, few, head=asked.head, class_means=nowhere)
            if asked.sites:
                measure_linearity(model, few, sites=asked.sites, laws=[asked.law(LAYER_MIXING)])


def examine_examples(model: nn.Module, asked: TrainerExamples) -> tuple[Examination, set[int]]:
    """Return all that is found out, and the classes without a training example: what needs one of each is then NaN."""
    generator = named_generator(asked.seed, "trainer-blends")
    layers: dict[str, Any] = {}
    if asked.test is not None and asked.sites:
        laws = (BlendLaw(LAYER_MIXING, generator),)
        layers = {"layer_pairs": asked.test.at_most(NUM_BLENDS), "layer_laws": laws, "sites": asked.sites}
    try:
        seen = examine(
            model,
            head=asked.head,
            train=asked.train,
            test=asked.test,
            pairs=asked.train.at_most(NUM_BLENDS),
            pair_law=BlendLaw(PAIR_MIXING, generator),
            **layers,
        )
        return seen, set()
    except ValueError:
        lacking = set(range(linear_head(model, asked.head).out_features)) - asked.train.classes
        if not lacking or not asked.train.classes:
            raise
    report = measure_predictions(model, asked.train).report()
    rest = examine(model, test=asked.test, **layers)
    groups = [(CollapseReport, "nc"), (ChannelReport, "channels")]
    groups += [(CollapseOnTest, "nc_test")] if asked.test is not None else []
    keys = {card.key for kind, group in groups for card in cards_of(kind, group)} - FROM_THEORY
    values = dict.fromkeys(sorted(keys), math.nan)
    values |= {"train/accuracy_clean": report.accuracy, "train/loss_clean": report.loss, **rest.values}
    return Examination(values, predictions=rest.predictions, linearity=rest.linearity), lacking
