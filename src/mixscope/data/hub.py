"""Image sets of the Hugging Face hub, `hf:NAME`, through the optional `datasets` package."""

from collections.abc import Sequence
from typing import Any

import torch

from mixscope.base.errors import UserError
from mixscope.base.reading import kind_and_reason
from mixscope.data.image_data import DecodedSet, LabelledImages, check_decoded
from mixscope.data.image_tree import check_same_size, image_pixels, stack_pixels
from mixscope.data.progress import Progress

PREFIX = "hf:"
TEST_SPLITS = ("test", "validation", "valid", "val")  # the first one there is used


def read_hub(name: str, *, progress: Progress | None = None) -> DecodedSet:
    """Load an image classification set by its hub name.

    The set must have one image feature and one class label feature. Its split "train" is used, and as test part the
    first of "test", "validation", "valid" and "val" that it has.

    Args:
        name: For example "ylecun/mnist", without the leading "hf:".
        progress: Told how many images are decoded.

    Raises:
        UserError: If `datasets` is not installed, the set cannot be loaded, or its features do not fit.
    """
    source = f"{PREFIX}{name}"
    try:
        import datasets
    except ImportError:
        raise UserError(f"{source}: needs the datasets package; install it with: pip install 'mixscope[hub]'") from None
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # Network, name, access and format errors come from many packages.
        raise UserError(f"{source}: cannot be loaded ({kind_and_reason(error)})") from error
    if "train" not in loaded:
        raise UserError(f"{source}: no split named train, only {', '.join(loaded)}")
    features = loaded["train"].features
    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise UserError(
            f"{source}: must have one image and one class label feature, got image features {images or 'none'} "
            f"and label features {labels or 'none'}"
        )
    splits = ["train", *[split for split in TEST_SPLITS if split in loaded][:1]]
    examples: list[tuple[Sequence[Any], Sequence[int]]] = []
    for split in splits:
        part, pictures = loaded[split], []
        for row in part:
            pictures.append(row[images[0]])
            if progress is not None and len(pictures) % 500 == 0:
                progress(f"decoding {split} images", len(pictures), len(part))
        examples.append((pictures, part[labels[0]]))
    test = examples[1] if len(examples) > 1 else None
    return convert_examples(examples[0], test, class_names=tuple(features[labels[0]].names), source=source)


def convert_examples(
    train: tuple[Sequence[Any], Sequence[int]],
    test: tuple[Sequence[Any], Sequence[int]] | None,
    *,
    class_names: tuple[str, ...],
    source: str,
) -> DecodedSet:
    """Turn lists of PIL images and integer labels into a set.

    Args:
        train: Images and labels of the training part.
        test: Images and labels of the test part, or None.
        class_names: K names.
        source: What the messages begin with.

    Raises:
        UserError: If sizes differ, a pixel has more than 8 bits a channel, or labels do not fit.
    """
    pixels = [
        {
            f"{part} image {row}": image_pixels(image, source=f"{source}: {part} image {row}")
            for row, image in enumerate(images)
        }
        for part, images in (("train", train[0]), ("test", test[0] if test else ()))
    ]
    everything = pixels[0] | pixels[1]
    if not pixels[0] or (test is not None and not pixels[1]):
        raise UserError(f"{source}: no images in the {'test' if pixels[0] else 'train'} split")
    check_same_size(everything, source=source)
    channels = 1 if all(image.ndim == 2 for image in everything.values()) else 3
    everything.clear()  # so that stacking frees what it has taken
    parts = [
        LabelledImages(
            stack_pixels(images, list(images), channels=channels), torch.tensor(list(labels), dtype=torch.int64)
        )
        for images, labels in zip(pixels, (train[1], test[1] if test else ()), strict=True)
        if images
    ]
    decoded = DecodedSet(parts[0], parts[1] if test else None, class_names, f"hub set {source.removeprefix(PREFIX)}")
    check_decoded(decoded, source=source)
    return decoded
