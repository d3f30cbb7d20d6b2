"""Images of a run: loaded, some labels made wrong, subsets with labels and without."""

from dataclasses import replace

import torch
from torch import Tensor

from mixscope.base.generators import named_generator
from mixscope.bench.observer import Observer
from mixscope.bench.options import ConsistencyOptions, DataOptions
from mixscope.data.geometry import Geometry
from mixscope.data.image_data import ImageData
from mixscope.data.loading import load_data
from mixscope.data.mapped import take_rows
from mixscope.data.splits import balanced_subset, flip_labels, unlabelled_rows


def prepare_images(
    options: DataOptions, observer: Observer, *, geometry: Geometry | None = None, allow_test_only: bool = False
) -> ImageData:
    """Load the images that the options name, and the subsets of them that are trained and measured on."""
    whole = prepare_whole_images(options, observer, geometry=geometry, allow_test_only=allow_test_only)
    return choose_labelled(whole, options)


def prepare_whole_images(
    options: DataOptions, observer: Observer, *, geometry: Geometry | None = None, allow_test_only: bool = False
) -> ImageData:
    """Load the images that the options name: all training images, the chosen test images, wrong labels put in.

    A `geometry` stands in the place of the options' own.
    """
    data = load_data(
        options.data,
        data_dir=options.data_dir,
        test_size=options.test_size,
        split_seed=options.split_seed,
        geometry=geometry or options.geometry,
        allow_test_only=allow_test_only,
        progress=observer.loading,
    )
    for caution in data.cautions:
        observer.note(caution)
    if options.label_noise > 0:
        data = _with_label_noise(data, options.label_noise, split_seed=options.split_seed)
    if options.test_subset is None:
        return data
    return data.test_subset(options.test_subset, generator=named_generator(options.split_seed, "test subset"))


def choose_labelled(data: ImageData, options: DataOptions) -> ImageData:
    """Return the data with the training images that are trained on with their labels."""
    if options.subset is None:
        return data
    return data.subset(options.subset, generator=_subset_generator(options))


def _subset_generator(options: DataOptions) -> torch.Generator:
    return named_generator(options.split_seed, "subset")


def choose_unlabelled(data: ImageData, options: DataOptions, consistency: ConsistencyOptions) -> Tensor | None:
    """Return the (N, C, H, W) training images that are trained on without their labels; None where there are none."""
    if consistency.consistency_points == 0:
        return None
    labels = data.train_labels
    labelled = torch.arange(len(labels))
    if options.subset is not None:  # the very rows that `choose_labelled` takes
        labelled = balanced_subset(
            labels, options.subset, data.num_classes, _subset_generator(options), class_names=data.class_names
        )
    if consistency.unlabelled is None and not consistency.unlabelled_disjoint:
        return data.train_images
    rows = unlabelled_rows(
        labels,
        labelled,
        size=consistency.unlabelled,
        num_classes=data.num_classes,
        is_disjoint=consistency.unlabelled_disjoint,
        generator=named_generator(options.split_seed, "unlabelled"),
        class_names=data.class_names,
    )
    return take_rows(data.train_images, rows)


def _with_label_noise(data: ImageData, share: float, *, split_seed: int) -> ImageData:
    """Replace a share of the labels of both parts, before any subset is chosen by them."""
    train, test = (
        flip_labels(
            labels,
            share=share,
            num_classes=data.num_classes,
            generator=named_generator(split_seed, "label noise", part),
        )
        for part, labels in enumerate((data.train_labels, data.test_labels))
    )
    notes = f"{data.notes}; {share:.3g} of all labels replaced by another class"
    return replace(data, train_labels=train, test_labels=test, notes=notes)
