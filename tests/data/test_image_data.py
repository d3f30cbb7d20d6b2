import pytest
import torch

from mixscope.base.errors import UserError
from mixscope.data.image_data import ImageData, channel_moments


def small_data(num_per_class: int = 4, num_classes: int = 3) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    count = num_per_class * num_classes
    images = torch.randint(256, (count, 2, 4, 5), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % num_classes
    names = tuple(f"class {label}" for label in range(num_classes))
    return ImageData("small", images, labels, images[:5], labels[:5], names, "drawn")


def test_shape_and_number_of_classes_are_read_off_the_tensors():
    data = small_data()
    assert data.image_shape == (2, 4, 5)
    assert data.num_classes == 3


def test_channel_moments_are_those_of_a_float64_copy_in_any_number_of_chunks(monkeypatch):
    images = small_data().train_images
    scaled = images.double() / 255
    for chunk_values in (1, 100, 1 << 20):
        monkeypatch.setattr("mixscope.data.image_data.CHUNK_VALUES", chunk_values)
        means, stds = channel_moments(images)
        assert means == pytest.approx(scaled.mean(dim=(0, 2, 3)).tolist(), rel=1e-13)
        assert stds == pytest.approx(scaled.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-13)


def test_channel_moments_of_pixels_0_and_255_are_one_half_exactly():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert channel_moments(images) == ((0.5,), (0.5,))


def test_the_std_of_a_constant_channel_is_given_as_1():
    images = torch.full((3, 1, 2, 2), 77, dtype=torch.uint8)
    assert channel_moments(images) == ((77 / 255,), (1.0,))


def test_moving_to_a_device_keeps_everything():
    data = small_data()
    moved = data.to("cpu")
    assert torch.equal(moved.train_images, data.train_images)
    assert moved.class_names == data.class_names


def test_a_subset_is_balanced_keeps_image_and_label_together_and_leaves_the_test_part():
    data = small_data()
    subset = data.subset(7, generator=torch.Generator().manual_seed(1))
    assert sorted(torch.bincount(subset.train_labels).tolist()) == [2, 2, 3]
    assert torch.equal(subset.test_images, data.test_images)
    for image, label in zip(subset.train_images, subset.train_labels, strict=True):
        row = (data.train_images == image).flatten(1).all(dim=1).nonzero().item()
        assert data.train_labels[row] == label


def test_a_subset_of_the_test_images_is_balanced_and_leaves_the_training_part():
    data = small_data()
    data = ImageData(
        data.name,
        data.train_images,
        data.train_labels,
        data.train_images,
        data.train_labels,
        data.class_names,
        data.notes,
    )
    subset = data.test_subset(6, generator=torch.Generator().manual_seed(1))
    assert torch.bincount(subset.test_labels).tolist() == [2, 2, 2]
    assert torch.equal(subset.train_images, data.train_images)
    assert subset.notes == "drawn; 6 of 12 test images, balanced"
    for image, label in zip(subset.test_images, subset.test_labels, strict=True):
        row = (data.test_images == image).flatten(1).all(dim=1).nonzero().item()
        assert data.test_labels[row] == label


def test_a_subset_larger_than_a_class_says_which_class():
    with pytest.raises(UserError, match=r"^subset size 15 needs 5 examples of class 'class 0', which has 4$"):
        small_data().subset(15, generator=torch.Generator())


def test_a_subset_smaller_than_the_number_of_classes_is_refused():
    with pytest.raises(UserError, match=r"^subset size must be at least the number of classes, 3, got 2$"):
        small_data().subset(2, generator=torch.Generator())


IMAGES = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": LABELS[:3]}, "toy: 4 training images but 3 training labels"),
        ({"test_labels": LABELS[:3]}, "toy: 4 test images but 3 test labels"),
        ({"train_labels": LABELS + 1}, r"toy: training labels must lie in \[0, 2\), got values from 1 to 2"),
        ({"test_labels": LABELS - 1}, r"toy: test labels must lie in \[0, 2\), got values from -1 to 0"),
        ({"train_labels": LABELS * 0}, "toy: no training image of class b; every class needs at least one"),
        (
            {"train_images": IMAGES[:0], "train_labels": LABELS[:0]},
            r"toy: no training images, got shape \(0, 1, 2, 2\)",
        ),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, r"toy: no test images, got shape \(0, 1, 2, 2\)"),
        (
            {"train_images": IMAGES.float()},
            r"toy: training images must be uint8 of shape \(N, C, H, W\), got torch.float32 of shape \(4, 1, 2, 2\)",
        ),
        (
            {"train_images": IMAGES[:, 0]},
            r"toy: training images must be uint8 of shape \(N, C, H, W\), got torch.uint8 of shape \(4, 2, 2\)",
        ),
        (
            {"test_labels": LABELS.int()},
            r"toy: test labels must be int64 of shape \(N,\), got torch.int32 of shape \(4,\)",
        ),
        (
            {"test_images": IMAGES[:, :, :1]},
            r"toy: training and test images must have one shape, got \(1, 2, 2\) and \(1, 1, 2\)",
        ),
    ],
)
def test_what_makes_no_data_set_is_refused_in_one_line(changes, message):
    fields = {
        "name": "toy",
        "train_images": IMAGES,
        "train_labels": LABELS,
        "test_images": IMAGES,
        "test_labels": LABELS,
        "class_names": ("a", "b"),
        "notes": "",
    }
    with pytest.raises(UserError, match=f"^{message}$"):
        ImageData(**fields | changes)
