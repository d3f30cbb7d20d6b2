"""Hugging Face hub: its image sets, `hf:NAME`, through the optional `datasets` package."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mixscope.base.errors import UserError
from mixscope.base.reading import kind_and_reason, one_line
from mixscope.data.cache_place import cache_folder
from mixscope.data.geometry import Geometry
from mixscope.data.image_data import DecodedSet, Progress
from mixscope.data.image_notes import Tally
from mixscope.data.image_tree import REPORT_EVERY
from mixscope.data.pixel_store import StoredSet, pixel_store
from mixscope.data.pixels import image_pixels

PREFIX = "hf:"
TEST_SPLITS = ("test", "validation", "valid", "val")  # the first one there is used


def read_hub(
    name: str,
    *,
    geometry: Geometry = Geometry(),  # noqa: B008 (frozen)
    progress: Progress | None = None,
) -> DecodedSet:
    """Load an image classification set by its hub name, for example "ylecun/mnist".

    It must have one image feature and one class label feature. Its split "train" is used, and of TEST_SPLITS the first
    it has. A `UserError` if `datasets` is not installed, the set cannot be loaded, or its features do not fit.
    """
    source = f"{PREFIX}{name}"
    try:
        import datasets
    except ImportError:
        raise UserError(f"{source}: needs the datasets package; install it with: pip install 'mixscope[hub]'") from None
    # Network, name, access and format errors come from many packages.
    with one_line(source, "cannot be loaded", Exception, words=kind_and_reason):
        loaded = datasets.load_dataset(name)
    if "train" not in loaded:
        raise UserError(f"{source}: no split named train, only {', '.join(loaded)}")
    features = loaded["train"].features
    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        got = f"got image features {images or 'none'} and label features {labels or 'none'}"
        raise UserError(f"{source}: must have one image and one class label feature, {got}")

    def pictures(split: str) -> Iterator[Any]:
        for done, row in enumerate(loaded[split], start=1):
            yield row[images[0]]
            if progress is not None and done % REPORT_EVERY == 0:
                progress(f"decoding {split} images", done, len(loaded[split]))

    splits = ["train", *[split for split in TEST_SPLITS if split in loaded][:1]]
    parts = {split: (pictures(split), loaded[split][labels[0]]) for split in splits}
    return convert_examples(parts, class_names=tuple(features[labels[0]].names), source=source, geometry=geometry)


def convert_examples(
    parts: Mapping[str, tuple[Iterable[Any], Sequence[int]]],
    *,
    class_names: tuple[str, ...],
    source: str,
    geometry: Geometry = Geometry(),  # noqa: B008 (frozen)
) -> DecodedSet:
    """Turn PIL images and labels, by split, training first, into a set; raise as `image_pixels` and `checked_set`."""
    tally, decoded = Tally(), {}
    with pixel_store(cache_folder() / "decoded") as store:
        for part, (split, (images, labels)) in zip(("train", "test"), parts.items(), strict=False):
            names = []
            for row, image in enumerate(images):
                names.append(f"{split} image {row}")
                pixels = image_pixels(image, source=f"{source}: {names[-1]}", geometry=geometry)
                tally.add(pixels)
                store.add(names[-1], pixels.pixels, source=source)
            if not names:
                raise UserError(f"{source}: no images in the {split} split")
            if len(names) != len(labels):
                words = "training" if part == "train" else part
                raise UserError(f"{source}: {len(names)} {words} images but {len(labels)} {words} labels")
            decoded[part] = names, list(labels)
        if problem := tally.problem(geometry):
            raise UserError(f"{source}: {problem}")
        notes = f"hub set {source.removeprefix(PREFIX)}; {tally.notes(geometry, name='it')}"
        return StoredSet(store, decoded, class_names, notes, tally.cautions(geometry)).loaded(source=source)
