"""Probe of a run: the images it is measured on, the same for every run on the same images and split seed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.generators import named_generator
from mixscope.bench.options import MeasureOptions
from mixscope.data.batches import EvaluationBatches
from mixscope.data.image_data import ImageData

BATCH_SIZE = 500
LINEARITY_BATCH = 64  # pairs at once: layers as wide as 160 x 32 x 32 fit many times over

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Probe:
    """What is measured on, fixed for a run and the same for every run on the same images and split seed.

    Attributes:
        train: All training images, unaugmented.
        test: All test images.
        pairs: Training images that are blended for the channel numbers, all classes.
        pair_rows: (N,) int64, their places among the training images; None where nobody knows.
        plane: Training images of `plane_classes` that are blended for the picture.
        plane_classes: Three classes, drawn at random (empty where the set has fewer than three).
        layer_pairs: Test images that are blended for the linearity of layers.
        linearity_alpha: Concentration of their weights.
        split_seed: Names the draws.
    """

    train: Iterable[Batch]
    test: Iterable[Batch]
    pairs: Iterable[Batch]
    pair_rows: Tensor | None
    plane: Sequence[Batch]
    plane_classes: tuple[int, ...]
    layer_pairs: Iterable[Batch]
    linearity_alpha: float
    split_seed: int
    num_classes: int
    class_names: tuple[str, ...]


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
    plane_classes = draw_plane_classes(data.num_classes, split_seed)
    of_classes = torch.isin(labels.cpu(), torch.tensor(plane_classes)).nonzero()[:, 0]
    plane = choose(labels, of_classes, options.plane_images, "plane-images")
    return Probe(
        train=batches(data.train_images, labels),
        test=batches(data.test_images, data.test_labels),
        pairs=list(batches(data.train_images[pairs], labels[pairs])),
        pair_rows=pairs,
        plane=list(batches(data.train_images[plane], labels[plane])) if plane_classes else [],
        plane_classes=plane_classes,
        layer_pairs=list(batches(data.test_images[held_out], data.test_labels[held_out], LINEARITY_BATCH)),
        linearity_alpha=options.linearity_alpha,
        split_seed=split_seed,
        num_classes=data.num_classes,
        class_names=data.class_names,
    )


def draw_plane_classes(num_classes: int, split_seed: int) -> tuple[int, ...]:
    """Return the three classes of the picture of the classifier's plane; none where there are fewer."""
    if num_classes < 3:
        return ()
    generator = named_generator(split_seed, "plane-classes")
    return tuple(sorted(torch.randperm(num_classes, generator=generator)[:3].tolist()))
