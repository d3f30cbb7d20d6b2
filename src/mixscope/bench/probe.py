"""Images that a network is measured on: the probe of a run, and a choice among batches that go by once."""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.batch_pairs import pair_of
from mixscope.base.generators import named_generator
from mixscope.bench.options import MeasureOptions
from mixscope.data.batches import EvaluationBatches
from mixscope.data.image_data import ImageData

BATCH_SIZE = 500
LINEARITY_BATCH = 64  # pairs at once: layers as wide as 160 x 32 x 32 fit many times over
CHOICE_BYTES = 2**28  # of chosen inputs that are kept; large inputs are fewer
FLOAT_BYTES = 4
CHOSEN_BATCH = 250

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Probe:
    """What is measured on, fixed for a run and the same for every run on the same images and split seed."""

    train: Iterable[Batch]  # all training images, unaugmented
    test: Iterable[Batch]  # all test images
    pairs: Iterable[Batch]  # training images that are blended for the channel numbers, all classes
    pair_rows: Tensor | None  # (N,) int64, their places among the training images; None where nobody knows
    plane: Iterable[Batch]  # training images of `plane_classes` that are blended for the picture
    plane_classes: tuple[int, ...]  # three, drawn at random; empty where the set has fewer than three
    layer_pairs: Iterable[Batch]  # test images that are blended for the linearity of layers
    linearity_alpha: float  # concentration of their weights
    split_seed: int  # names the draws
    num_classes: int
    class_names: tuple[str, ...]
    has_train: bool = True


def build_probe(
    data: ImageData,
    options: MeasureOptions,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    split_seed: int,
    channels_last: bool,
) -> Probe:
    """Choose the images that are measured on, of those on the network's device.

    The choice is named by the split seed and not the run's, so that runs are compared on the same pairs. `mean` and
    `std` of each channel are those of pixels scaled to [0, 1]; `channels_last` is the memory format of the batches.
    """

    def batches(images: Tensor, labels: Tensor, size: int = BATCH_SIZE) -> EvaluationBatches:
        return EvaluationBatches(
            images, labels, batch_size=size, mean=mean, std=std, device=images.device, channels_last=channels_last
        )

    def choose(labels: Tensor, candidates: Tensor, size: int, purpose: str) -> Tensor:
        order = torch.randperm(len(candidates), generator=named_generator(split_seed, purpose))
        # A small set is gone through again and again: the same images, blended with other partners.
        order = order.repeat(math.ceil(size / max(1, len(order))))
        return candidates[order[:size]].to(labels.device)

    labels = data.train_labels
    everything = torch.arange(len(labels))
    pairs = choose(labels, everything, options.num_pairs, "measured-pairs")
    held_out = choose(labels, torch.arange(len(data.test_labels)), options.linearity_pairs, "held-out-pairs")
    plane_classes = draw_plane_classes(data.num_classes, split_seed) if data.has_train else ()
    of_classes = torch.isin(labels.cpu(), torch.tensor(plane_classes)).nonzero()[:, 0]
    plane = choose(labels, of_classes, options.plane_images, "plane-images")
    return Probe(
        train=batches(data.train_images, labels) if data.has_train else (),
        test=batches(data.test_images, data.test_labels),
        pairs=_kept(batches(data.train_images[pairs], labels[pairs])) if data.has_train else (),
        pair_rows=pairs,
        plane=_kept(batches(data.train_images[plane], labels[plane])) if plane_classes else (),
        plane_classes=plane_classes,
        layer_pairs=_kept(batches(data.test_images[held_out], data.test_labels[held_out], LINEARITY_BATCH)),
        linearity_alpha=options.linearity_alpha,
        split_seed=split_seed,
        num_classes=data.num_classes,
        class_names=data.class_names,
        has_train=data.has_train,
    )


def _kept(batches: EvaluationBatches) -> Iterable[Batch]:
    """Return batches as they go into a network, unless they are large: then they are made anew each time."""
    images = batches.images
    return list(batches) if images.numel() * FLOAT_BYTES <= CHOICE_BYTES else batches


def draw_plane_classes(num_classes: int, split_seed: int) -> tuple[int, ...]:
    """Return the three classes of the picture of the classifier's plane; none where there are fewer."""
    if num_classes < 3:
        return ()
    generator = named_generator(split_seed, "plane-classes")
    return tuple(sorted(torch.randperm(num_classes, generator=generator)[:3].tolist()))


class ChosenExamples:
    """Batches of inputs and (B,) labels that go by once, and a uniform choice of at most `most` of their examples.

    Iterating goes through the source, whose length nobody needs to know; afterwards `batches` has the chosen examples,
    in an order drawn at random.
    """

    def __init__(self, source: Iterable[Batch], *, most: int, generator: torch.Generator) -> None:
        self._source, self._most, self._generator = source, most, generator
        self._heap: list[tuple[float, int, Tensor, Tensor]] = []  # the smallest key first; numbers break ties
        self.num_seen = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield the source's batches."""
        self._heap.clear()
        self.num_seen = 0
        for batch in self._source:
            inputs, labels = pair_of(batch)
            if len(inputs) == len(labels) and len(inputs):  # what does not fit is refused where it is measured
                self._choose(inputs, labels)
            yield inputs, labels

    @property
    def later(self) -> "_Later":
        """The chosen examples as batches that are made when they are gone through."""
        return _Later(self)

    def batches(self, *, classes: Iterable[int] | None = None, most: int | None = None) -> list[Batch]:
        """Return the chosen examples as batches: of some classes alone, and no more than so many."""
        chosen = [(inputs, labels) for _, _, inputs, labels in sorted(self._heap, key=lambda entry: entry[:2])]
        if classes is not None:
            wanted = set(classes)
            chosen = [pair for pair in chosen if int(pair[1]) in wanted]
        chosen = chosen[:most]
        parts = [chosen[start : start + CHOSEN_BATCH] for start in range(0, len(chosen), CHOSEN_BATCH)]
        return [(torch.stack([row for row, _ in part]), torch.stack([label for _, label in part])) for part in parts]

    def _choose(self, inputs: Tensor, labels: Tensor) -> None:
        size = max(1, inputs[0].numel() * inputs.element_size())
        most = max(2, min(self._most, CHOICE_BYTES // size))
        keys = torch.rand(len(inputs), generator=self._generator, dtype=torch.float64)
        lowest = self._heap[0][0] if len(self._heap) >= most else -1.0
        for place in torch.nonzero(keys > lowest).flatten().tolist():
            entry = (float(keys[place]), self.num_seen + place, inputs[place].detach().clone(), labels[place].clone())
            if len(self._heap) < most:
                heapq.heappush(self._heap, entry)
            else:
                heapq.heappushpop(self._heap, entry)
        self.num_seen += len(inputs)


class _Later:
    def __init__(self, chosen: ChosenExamples) -> None:
        self._chosen = chosen

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._chosen.batches())
