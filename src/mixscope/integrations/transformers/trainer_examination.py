"""Examination of a Trainer's model: a few examples tried before training, and every number that the examples give."""

from dataclasses import dataclass

from torch import nn

from mixscope.base.checks import naming
from mixscope.base.generators import named_generator
from mixscope.capturing.sites import check_sites
from mixscope.integrations.examples import Examples, examine_examples
from mixscope.measuring import LAYER_MIXING, BlendLaw, Examination, linear_head, measure_last_layer, measure_linearity
from mixscope.mixing.schemes import MixingScheme

BLENDS = "trainer-blends"  # names their draws
NUM_TRIED = 4  # examples that are measured before training begins


@dataclass(frozen=True)
class TrainerExamples:
    """What is measured, on which examples."""

    train: Examples
    test: Examples | None
    head: str
    sites: tuple[str, ...]
    seed: int

    def law(self, mixing: MixingScheme) -> BlendLaw:
        """Return a law of blends whose draws begin anew."""
        return BlendLaw(mixing, named_generator(self.seed, BLENDS))


def try_examples(model: nn.Module, asked: TrainerExamples) -> None:
    """Measure a few examples of each set for nothing; a ValueError if something cannot be measured."""
    linear = linear_head(model, asked.head)
    check_sites(model, asked.sites)
    nowhere = linear.weight.new_zeros(linear.weight.shape)  # classes may be missing among the few
    for name, batches in (("train_batches", asked.train), ("eval_batches", asked.test)):
        if batches is None:
            continue
        with naming(name):
            few = batches.first(NUM_TRIED)
            measure_last_layer(model, few, head=asked.head, class_means=nowhere)
            if asked.sites:
                measure_linearity(model, few, sites=asked.sites, laws=[asked.law(LAYER_MIXING)])


def examine_asked(model: nn.Module, asked: TrainerExamples) -> tuple[Examination, list[int]]:
    """Return all that is found out, and the classes without a training example, as `examine_examples`."""
    return examine_examples(
        model,
        head=asked.head,
        train=asked.train,
        test=asked.test,
        sites=asked.sites,
        seed=asked.seed,
        purpose=BLENDS,
    )
