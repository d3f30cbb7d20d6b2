import importlib.util

import pytest
from PIL import Image

from mixscope.base.errors import UserError
from mixscope.data.hub import convert_examples
from mixscope.data.loading import load_data

GREY = [Image.new("L", (3, 2), value) for value in (10, 20)]
COLOUR = [Image.new("RGB", (3, 2), (1, 2, 3))]


def test_lists_of_images_become_a_set():
    decoded = convert_examples(
        {"train": (GREY, [1, 0]), "test": (GREY[:1], [1])}, class_names=("a", "b"), source="hf:toy"
    )
    assert decoded.train.images[:, 0, 0, 0].tolist() == [10, 20]
    assert decoded.train.images.shape == (2, 1, 2, 3)
    assert decoded.train.labels.tolist() == [1, 0]
    assert decoded.test.labels.tolist() == [1]


def test_a_hub_set_may_have_no_test_part_and_mixed_colour():
    decoded = convert_examples({"train": (GREY + COLOUR, [1, 0, 1])}, class_names=("a", "b"), source="hf:toy")
    assert decoded.test is None
    assert decoded.train.images[:, :, 0, 0].tolist() == [[10, 10, 10], [20, 20, 20], [1, 2, 3]]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (([*GREY, Image.new("L", (4, 4))], [0, 1, 1]), None, "train image 2 is 4 x 4 and train image 0 is 3 x 2"),
        ((GREY, [0, 2]), None, r"training labels must lie in \[0, 2\), got values from 0 to 2"),
        ((GREY, [0, -1]), None, r"training labels must lie in \[0, 2\), got values from -1 to 0"),
        ((GREY, [0]), None, "2 training images but 1 training labels"),
        (([], []), None, "no images in the train split"),
        ((GREY, [0, 1]), ([], []), "no images in the test split"),
        (
            (GREY, [0, 1]),
            ([Image.new("F", (3, 2))], [0]),
            "test image 0: images must have 8 or 16 bits a channel, got PIL mode F \\(floats\\)",
        ),
    ],
)
def test_a_hub_set_that_makes_no_set_is_named(train, test, message):
    parts = {"train": train} if test is None else {"train": train, "test": test}
    with pytest.raises(UserError, match=f"^hf:toy: .*{message}$"):
        convert_examples(parts, class_names=("a", "b"), source="hf:toy")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="the datasets package is installed")
def test_without_the_datasets_package_the_error_says_what_to_install():
    with pytest.raises(
        UserError, match=r"^hf:x/y: needs the datasets package; install it with: pip install 'mixscope\[hub\]'$"
    ):
        load_data("hf:x/y")
