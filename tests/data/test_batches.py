import pytest
import torch
import torch.nn.functional as F

from mixscope.data.batches import (
    Augmentation,
    AugmentationDraw,
    EvaluationBatches,
    TrainingBatches,
    augment,
    draw_augmentation,
)

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
IMAGES = torch.randint(256, (23, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(23) % 4
AUGMENTATIONS = [Augmentation(), Augmentation(2), Augmentation(flip=True), Augmentation(3, True)]


def batches(**changes) -> TrainingBatches:
    arguments = {"batch_size": 5, "mean": MEAN, "std": STD, "seed": 7}
    return TrainingBatches(IMAGES, LABELS, **arguments | changes)


def epoch_of(source: TrainingBatches, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = zip(*source.epoch(epoch), strict=True)
    return torch.cat(inputs), torch.cat(labels)


def naive_normalise(image: torch.Tensor) -> torch.Tensor:
    """pixel * scale + shift with scale and shift rounded to float32, one channel at a time."""
    channels = []
    for pixels, mean, std in zip(image, MEAN, STD, strict=True):
        scale = torch.tensor(1 / (255 * std), dtype=torch.float64).float()
        shift = torch.tensor(-mean / std, dtype=torch.float64).float()
        channels.append(pixels.float() * scale + shift)
    return torch.stack(channels)


def naive_augment(image: torch.Tensor, draw: AugmentationDraw, place: int) -> torch.Tensor:
    """Pad with 0, cut out, mirror: one image at a time."""
    _, height, width = image.shape
    if draw.offsets is not None:
        top, left = draw.offsets[:, place].tolist()
        image = F.pad(image, (draw.padding,) * 4)[:, top : top + height, left : left + width]
    if draw.flips is not None and draw.flips[place]:
        image = image.flip(2)
    return image


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_an_epoch_is_bit_for_bit_what_one_image_at_a_time_gives(augmentation, channels_last):
    inputs, labels = epoch_of(batches(augmentation=augmentation, channels_last=channels_last), 3)
    _, order_labels = epoch_of(batches(), 3)
    assert torch.equal(labels, order_labels)
    raw = (
        epoch_of(batches(mean=(0, 0, 0), std=(1 / 255,) * 3), 3)[0].round().to(torch.uint8)
    )  # the order, seen from outside
    draw = draw_augmentation(augmentation, 23, seed=7, epoch=3, device=torch.device("cpu"))
    for place in range(23):
        assert torch.equal(inputs[place], naive_normalise(naive_augment(raw[place], draw, place)))


def test_every_image_comes_once_an_epoch_with_its_own_label():
    inputs, labels = epoch_of(batches(mean=(0, 0, 0), std=(1 / 255,) * 3))
    pixels = inputs.round().to(torch.uint8)
    rows = [(image == IMAGES).flatten(1).all(dim=1).nonzero().item() for image in pixels]
    assert sorted(rows) == list(range(23))
    assert torch.equal(LABELS[rows], labels)


def test_pixels_outside_the_image_are_black_before_normalisation():
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    draw = AugmentationDraw(1, torch.tensor([[0], [2]]), None)
    assert augment(white, draw)[0, 0].tolist() == [[0, 0], [255, 0]]


def test_all_offsets_from_0_to_twice_the_padding_and_both_directions_are_drawn():
    draw = draw_augmentation(Augmentation(2, True), 400, seed=0, epoch=0, device=torch.device("cpu"))
    assert set(draw.offsets[0].tolist()) == set(draw.offsets[1].tolist()) == {0, 1, 2, 3, 4}
    assert 150 < int(draw.flips.sum()) < 250  # 5 standard deviations of Binomial(400, 1/2)


def test_epochs_are_functions_of_seed_and_number_alone():
    augmentation = Augmentation(2, True)
    source = batches(augmentation=augmentation)
    second = epoch_of(source, 1)
    torch.manual_seed(99)
    assert torch.equal(epoch_of(batches(augmentation=augmentation), 1)[0], second[0])
    assert torch.equal(epoch_of(source, 1)[0], second[0])
    assert not torch.equal(epoch_of(source, 0)[0], second[0])
    assert not torch.equal(epoch_of(batches(augmentation=augmentation, seed=8), 1)[0], second[0])


def test_the_batch_size_changes_no_image():
    augmentation = Augmentation(2, True)
    expected, _ = epoch_of(batches(augmentation=augmentation))
    for batch_size in (1, 4, 23, 100):
        assert torch.equal(epoch_of(batches(augmentation=augmentation, batch_size=batch_size))[0], expected)


def test_augmentation_does_not_change_the_order_of_an_epoch():
    assert torch.equal(epoch_of(batches())[1], epoch_of(batches(augmentation=Augmentation(1, True)))[1])


@pytest.mark.parametrize(("smallest", "sizes"), [(1, [11, 11, 1]), (2, [11, 12])])
def test_the_last_batch_may_hold_one_example_or_join_the_one_before(smallest, sizes):
    source = batches(batch_size=11, smallest=smallest, augmentation=Augmentation(1, True))
    assert [len(labels) for _, labels in source.epoch(0)] == sizes
    assert len(source) == len(sizes)


def test_channels_last_batches_have_that_memory_format_and_float32():
    inputs, labels = next(batches(channels_last=True).epoch(0))
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert inputs.dtype is torch.float32
    assert labels.dtype is torch.int64


def test_images_are_not_changed_by_batches():
    before = IMAGES.clone()
    epoch_of(batches(augmentation=Augmentation(2, True)))
    assert torch.equal(IMAGES, before)


def test_normalised_training_images_have_mean_0_and_std_1():
    scaled = IMAGES.double() / 255
    mean, std = scaled.mean(dim=(0, 2, 3)).tolist(), scaled.std(dim=(0, 2, 3), correction=0).tolist()
    inputs, _ = epoch_of(batches(mean=mean, std=std))
    assert inputs.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)  # float32 sums of 690 pixels
    assert inputs.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_evaluation_goes_through_the_images_in_order_again_and_again(channels_last):
    source = EvaluationBatches(IMAGES, LABELS, batch_size=11, mean=MEAN, std=STD, channels_last=channels_last)
    assert len(source) == 3
    for _ in range(2):
        inputs, labels = zip(*source, strict=True)
        assert [len(part) for part in labels] == [11, 11, 1]
        assert torch.equal(torch.cat(labels), LABELS)
        assert torch.equal(torch.cat(inputs), torch.stack([naive_normalise(image) for image in IMAGES]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"mean": (0.5,)}, "mean and std must have one number per channel, 3, got 1 and 3"),
        ({"std": (1.0, 0.0, 1.0)}, r"std must be positive, got \(1.0, 0.0, 1.0\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        batches(**changes)


def test_images_and_labels_that_do_not_fit_are_refused():
    arguments = {"batch_size": 5, "mean": MEAN, "std": STD}
    with pytest.raises(ValueError, match="images and labels must have the same length, got 23 and 22"):
        EvaluationBatches(IMAGES, LABELS[:22], **arguments)
    with pytest.raises(ValueError, match=r"images must be uint8 of shape \(N, C, H, W\), got torch.float32"):
        EvaluationBatches(IMAGES.float(), LABELS, **arguments)
    with pytest.raises(ValueError, match=r"labels must be int64 of shape \(N,\), got torch.float32"):
        EvaluationBatches(IMAGES, LABELS.float(), **arguments)


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match=r"^crop_padding must be at least 0, got -1$"):
        Augmentation(-1)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
@pytest.mark.parametrize("start", [0, 2, 4, 5])
def test_an_epoch_begun_in_the_middle_gives_the_batches_of_a_whole_one(start, augmentation):
    source = batches(augmentation=augmentation)
    whole, part = list(source.epoch(3)), list(source.epoch(3, start=start))
    assert len(part) == len(whole) - start
    for (inputs, labels), (expected, of) in zip(part, whole[start:], strict=True):
        assert torch.equal(inputs, expected)
        assert torch.equal(labels, of)
