"""Examples that are measured in somebody's training, and the examination of a model on them."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from torch import Tensor, nn

from mixscope.base.batch_pairs import pair_of
from mixscope.base.checks import naming
from mixscope.base.generators import named_generator
from mixscope.measuring import LAYER_MIXING, PAIR_MIXING, BlendLaw, Examination, examine, linear_head
from mixscope.measuring.examination import measure_predictions
from mixscope.metrics.blends.blend_reports import ChannelReport
from mixscope.metrics.cards import cards_of
from mixscope.metrics.collapse.collapse_report import CollapseOnTest, CollapseReport

NUM_BLENDS = 2000  # blends behind the channel and the linearity numbers: means of some hundred in each group
FROM_THEORY = {"channels/theory_residual"}  # which needs the joint optimum beside what is measured
NEED_EVERY_CLASS = {"nc": CollapseReport, "channels": ChannelReport, "nc_test": CollapseOnTest}


@dataclass(frozen=True)
class Examples:
    """Batches as pairs of inputs and labels; each `iter` is a new pass over them."""

    batches: Iterable[Any]
    name: str = ""  # in messages about batches of another form
    convert: Callable[[Tensor], Tensor] | None = None  # brings inputs to the precision of training
    limit: int | None = None  # stop after the batch that brings the examples to this number
    seen: set[int] = field(default_factory=set)  # the classes of examples that went by

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, labels); a batch of another form is a ValueError."""
        num_seen = 0
        for batch in self.batches:
            if self.limit is not None and num_seen >= self.limit:
                return
            with naming(self.name) if self.name else nullcontext():
                inputs, labels = pair_of(batch)
            num_seen += len(labels)
            self.seen.update(labels.unique().tolist())
            yield inputs if self.convert is None else self.convert(inputs), labels

    def at_most(self, most: int) -> "Examples":
        """Return the same examples, ended by the batch that brings them to `most`, if they do not end before."""
        return replace(self, limit=most if self.limit is None else min(most, self.limit))

    def first(self, most: int) -> list[tuple[Tensor, Tensor]]:
        """Return the first examples as one batch; none where there are none."""
        return [(inputs[:most], labels[:most]) for inputs, labels in islice(self, 1)]


def examine_examples(
    model: nn.Module,
    *,
    head: str,
    train: Examples,
    test: Examples | None,
    sites: tuple[str, ...],
    seed: int,
    purpose: str,
) -> tuple[Examination, list[int]]:
    """Return all that is found out, and the classes without a training example: what needs one of each is then NaN.

    Blends are drawn by a generator of that seed and purpose.

    Raises:
        ValueError: As `examine`, but for a class without an example.
    """
    generator = named_generator(seed, purpose)
    layers: dict[str, Any] = {}
    if test is not None and sites:
        laws = (BlendLaw(LAYER_MIXING, generator),)
        layers = {"layer_pairs": test.at_most(NUM_BLENDS), "layer_laws": laws, "sites": sites}
    pairs, law = train.at_most(NUM_BLENDS), BlendLaw(PAIR_MIXING, generator)
    try:
        return examine(model, head=head, train=train, test=test, pairs=pairs, pair_law=law, **layers), []
    except ValueError:
        lacking = sorted(set(range(linear_head(model, head).out_features)) - train.seen)
        if not train.seen or not lacking:
            raise
    report = measure_predictions(model, train).report()
    rest = examine(model, test=test, **layers)
    groups = {name: NEED_EVERY_CLASS[name] for name in groups_of_every_class(has_test=test is not None)}
    keys = {card.key for name, kind in groups.items() for card in cards_of(kind, name)} - FROM_THEORY
    values = dict.fromkeys(sorted(keys), math.nan)
    values |= {"train/accuracy_clean": report.accuracy, "train/loss_clean": report.loss, **rest.values}
    return Examination(values, predictions=rest.predictions, linearity=rest.linearity), lacking


def groups_of_every_class(*, has_test: bool) -> list[str]:
    """Return the groups of numbers that need an example of every class."""
    return [name for name in NEED_EVERY_CLASS if has_test or name != "nc_test"]
