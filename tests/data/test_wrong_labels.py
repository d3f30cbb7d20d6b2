"""Wrong labels: exactly so many, never the right one, uniform over the others."""

import pytest
import torch

from mixscope.data.splits import flip_labels

LABELS = torch.arange(6000) % 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 1200), (1.0, 6000)])
def test_exactly_the_share_is_replaced_and_never_by_the_class_itself(share, count):
    before = LABELS.clone()
    flipped = flip_labels(LABELS, share=share, num_classes=4, generator=seeded())
    assert int((flipped != LABELS).sum()) == count
    assert torch.equal(LABELS, before)
    assert flipped.dtype == LABELS.dtype


def test_every_other_class_is_as_likely():
    flipped = flip_labels(LABELS, share=1.0, num_classes=4, generator=seeded())
    steps = torch.bincount((flipped - LABELS) % 4, minlength=4).tolist()
    assert steps[0] == 0
    assert all(abs(count - 2000) < 5 * (6000 * 2 / 9) ** 0.5 for count in steps[1:])  # five binomial deviations


def test_the_same_seed_replaces_the_same_labels():
    first, again, other = (flip_labels(LABELS, share=0.1, num_classes=4, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("dtype", "num_classes"), [(torch.uint8, 200), (torch.int8, 100), (torch.int16, 200)])
def test_small_integer_types_give_the_same_labels_as_large_ones(dtype, num_classes):
    labels = torch.arange(6000) % num_classes
    wide = flip_labels(labels, share=0.5, num_classes=num_classes, generator=seeded())
    narrow = flip_labels(labels.to(dtype), share=0.5, num_classes=num_classes, generator=seeded())
    assert narrow.dtype == dtype
    assert torch.equal(narrow.long(), wide)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5, "num_classes": 4}, r"share must be in \[0, 1\], got 1.5"),
        ({"share": 0.5, "num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"share": 0.5, "num_classes": 3}, r"labels must lie in \[0, 3\), got values from 0 to 3"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        flip_labels(LABELS, generator=seeded(), **options)
