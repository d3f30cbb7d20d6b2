"""The geometry against pipelines spelled out from torchvision's, timm's and transformers' code."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from mixscope.base.errors import UserError
from mixscope.data.geometry import Geometry, parse_colour
from mixscope.data.image_data import DecodedSet, LabelledImages
from mixscope.data.rescaling import scaled_set

SIZES = [(37, 53), (53, 37), (64, 64), (20, 90), (9, 14), (101, 33), (224, 225), (5, 5)]


def photo(size, mode="RGB"):
    width, height = size
    generator = np.random.default_rng(width * 1000 + height)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(generator.integers(256, size=shape, dtype=np.uint8))


def naive_resize(image, size, resampling):
    """torchvision.transforms.functional.resize with one number."""
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    new = (new_short, new_long) if width <= height else (new_long, new_short)
    return image if new == image.size else image.resize(new, resampling)


def naive_center_crop(image, height, width, fill=0):
    """torchvision.transforms.functional.center_crop."""
    if width > image.width or height > image.height:
        left = (width - image.width) // 2 if width > image.width else 0
        top = (height - image.height) // 2 if height > image.height else 0
        right = (width - image.width + 1) // 2 if width > image.width else 0
        bottom = (height - image.height + 1) // 2 if height > image.height else 0
        colour = (fill,) * 3 if isinstance(fill, int) else fill
        padded = Image.new("RGB", (image.width + left + right, image.height + top + bottom), colour)
        padded.paste(image, (left, top))
        image = padded
        if image.size == (width, height):
            return image
    top, left = round((image.height - height) / 2.0), round((image.width - width) / 2.0)
    return image.crop((left, top, left + width, top + height))


def naive_keep_ratio(image, box, longest, resampling):
    """timm's ResizeKeepRatio."""
    ratio_h, ratio_w = image.height / box[0], image.width / box[1]
    ratio = max(ratio_h, ratio_w) * longest + min(ratio_h, ratio_w) * (1.0 - longest)
    height, width = (round(side * 1.0 / ratio) for side in (image.height, image.width))
    return image.resize((width, height), resampling)


def same(image, expected):
    assert image.size == expected.size
    assert np.array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("size", SIZES)
def test_center_is_torchvisions_resize_and_center_crop(size, interpolation):
    resampling = Image.Resampling[interpolation.upper()]
    for crop, resize in ((32, 36), (31, 36), (33, 33), (40, 24)):  # the last is padded with zeros
        geometry = Geometry((crop, crop), resize=resize, interpolation=interpolation)
        expected = naive_center_crop(naive_resize(photo(size), resize, resampling), crop, crop)
        same(geometry.apply(photo(size)), expected)


@pytest.mark.parametrize("size", SIZES)
def test_without_resize_the_shorter_side_becomes_the_crops(size):
    expected = naive_center_crop(naive_resize(photo(size), 32, Image.Resampling.BILINEAR), 32, 32)
    same(Geometry((32, 32)).apply(photo(size)), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.875, 1.0])
def test_timms_crop_modes(size, share):
    bicubic, image = Image.Resampling.BICUBIC, photo(size)
    for crop in ((32, 32), (24, 40), (41, 24)):
        box = tuple(math.floor(side / share) for side in crop)
        squashed = image.resize(box[::-1], bicubic)
        same(
            Geometry(crop, resize=box, crop="squash", interpolation="bicubic").apply(image),
            naive_center_crop(squashed, *crop),
        )
        fitted, fill = naive_keep_ratio(image, box, 1.0, bicubic), (124, 116, 104)
        geometry = Geometry(crop, resize=box, crop="border", interpolation="bicubic", background=fill)
        same(geometry.apply(image), naive_center_crop(fitted, *crop, fill))
        if box[0] != box[1]:
            covered = naive_keep_ratio(image, box, 0.0, bicubic)
            same(Geometry(crop, resize=box, interpolation="bicubic").apply(image), naive_center_crop(covered, *crop))


@pytest.mark.parametrize("size", SIZES)
def test_floor_rounding_is_transformers_center_crop(size):
    transforms = pytest.importorskip("transformers.image_transforms")
    for crop in ((32, 31), (33, 40)):
        scaled = naive_resize(photo(size), 36, Image.Resampling.BILINEAR)
        expected = transforms.center_crop(np.asarray(scaled), crop, data_format="channels_last")
        image = Geometry(crop, resize=36, rounding="floor").apply(photo(size))
        assert np.array_equal(np.asarray(image), expected)


def test_grey_scaled_and_then_repeated_is_grey_repeated_and_then_scaled():
    grey = photo((37, 53), "L")
    same(Geometry((20, 24), channels=3).apply(grey), Geometry((20, 24)).apply(grey).convert("RGB"))
    same(Geometry((20, 24), channels=1).apply(photo((37, 53))), Geometry((20, 24)).apply(photo((37, 53)).convert("L")))


def test_as_it_is_made_a_geometry_changes_nothing():
    image = photo((37, 53))
    assert Geometry().apply(image) is image
    assert str(Geometry()) == ""


def test_sets_of_arrays_go_through_the_same_geometry():
    images = torch.from_numpy(np.stack([np.asarray(photo((37, 53))) for _ in range(2)])).permute(0, 3, 1, 2)
    part = LabelledImages(images, torch.tensor([0, 1]))
    scaled = scaled_set(DecodedSet(part, None, ("a", "b"), "made"), Geometry((8, 9), resize=12))
    expected = np.asarray(Geometry((8, 9), resize=12).apply(photo((37, 53))))
    assert np.array_equal(scaled.train.images[1].permute(1, 2, 0).numpy(), expected)
    assert scaled.notes == "made: shorter side to 12, centre 8 x 9, bilinear"


@pytest.mark.parametrize(
    ("value", "colour"),
    [("white", (255,) * 3), ("black", (0,) * 3), ("#ff8000", (255, 128, 0)), ("1, 2,3", (1, 2, 3)), ("7", (7,) * 3)],
)
def test_colours(value, colour):
    assert parse_colour(value) == colour


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 256}, "resize must go with image-size, which is not given"),
        ({"crop": "squash"}, "crop must go with image-size, which is not given"),
        ({"image_size": (0, 3)}, "image-size must be 1 to 8192 pixels a side, height first, got 0 3"),
        ({"image_size": (4, 4), "resize": (4, 5, 6)}, "resize must be 1 to 8192 pixels a side, .*, got 4 5 6"),
        ({"crop": "centre"}, "crop must be one of center, squash, border, got 'centre'"),
        ({"interpolation": "area"}, "interpolation must be one of bilinear, .*, got 'area'"),
        ({"channels": 4}, "channels must be 1 or 3, got 4"),
        ({"background": "paper"}, "background must be a colour's name, #rrggbb, .*, got 'paper'"),
        ({"background": (1, 2, 300)}, "background must be a colour's name"),
        ({"background": "256"}, "background must be a colour's name"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        Geometry(**options)


def test_a_strip_that_would_grow_without_end_is_refused():
    with pytest.raises(UserError, match="must be scaled to at most 67,108,864 pixels, got 1 x 2,000,000"):
        Geometry((256, 256)).apply(Image.new("L", (1, 2_000_000)))
