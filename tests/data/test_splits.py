import pytest
import torch
from sklearn.model_selection import train_test_split

from mixscope.base.errors import UserError
from mixscope.data.splits import balanced_subset, stratified_split, unlabelled_rows


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


UNEVEN = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)[torch.randperm(100, generator=seeded())]


@pytest.mark.parametrize("test_size", [0.2, 0.07, 0.33, 20, 37.0])
def test_a_split_has_every_row_once_and_the_classes_in_proportion(test_size):
    train, test = stratified_split(UNEVEN, test_size, seeded())
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(100))
    counts = torch.bincount(UNEVEN[test], minlength=3)
    quotas = len(test) * torch.tensor([0.5, 0.3, 0.2])
    assert (counts - quotas).abs().max() < 1


@pytest.mark.parametrize("test_size", [0.2, 0.07, 0.333, 0.5, 13.0])
def test_a_split_has_as_many_test_examples_as_scikit_learn_takes(test_size):
    other = train_test_split(range(100), test_size=int(test_size) if test_size >= 1 else test_size, stratify=UNEVEN)
    _, test = stratified_split(UNEVEN, test_size, seeded())
    assert len(test) == len(other[1])


def test_every_class_is_on_both_sides_even_where_its_share_is_below_one():
    labels = torch.tensor([0] * 95 + [1] * 2 + [2] * 3)
    train, test = stratified_split(labels, 0.1, seeded())
    assert torch.bincount(labels[test]).tolist() == [8, 1, 1]
    train, test = stratified_split(labels, 0.9, seeded())
    assert torch.bincount(labels[train]).tolist() == [8, 1, 1]


def test_a_split_is_the_same_for_the_same_seed_and_another_for_another():
    first, again, other = (stratified_split(UNEVEN, 0.2, seeded(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("test_size", [0, 1.5, -0.1, float("nan")])
def test_a_test_size_that_is_neither_share_nor_count_is_refused(test_size):
    with pytest.raises(UserError, match=r"^test-size must be a share in \(0, 1\) or a whole number of examples, got "):
        stratified_split(UNEVEN, test_size, seeded())


@pytest.mark.parametrize("test_size", [2, 98, 0.01])
def test_a_test_size_that_leaves_fewer_examples_than_classes_is_refused(test_size):
    with pytest.raises(
        UserError, match=r"^test-size must leave at least 3 examples, one per class, on each side of 100"
    ):
        stratified_split(UNEVEN, test_size, seeded())


def test_a_class_of_one_example_cannot_be_split():
    with pytest.raises(UserError, match=r"^class 7 has 1 example; a split needs at least 2 of every class$"):
        stratified_split(torch.tensor([0, 0, 0, 0, 7]), 0.4, seeded())


def test_a_balanced_subset_has_as_many_of_each_class_and_no_row_twice():
    rows = balanced_subset(UNEVEN, 45, 3, seeded())
    assert torch.bincount(UNEVEN[rows]).tolist() == [15, 15, 15]
    assert len(set(rows.tolist())) == 45


def test_the_remainder_of_a_balanced_subset_goes_to_random_classes_one_each():
    extra = set()
    for seed in range(20):
        counts = torch.bincount(UNEVEN[balanced_subset(UNEVEN, 31, 3, seeded(seed))])
        assert sorted(counts.tolist()) == [10, 10, 11]
        extra.add(int(counts.argmax()))
    assert extra == {0, 1, 2}


def test_a_balanced_subset_is_the_same_for_the_same_seed_and_another_for_another():
    first, again, other = (balanced_subset(UNEVEN, 30, 3, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def choose_unlabelled(labelled, *, size=None, is_disjoint=False, seed=0):
    options = {"size": size, "num_classes": 3, "is_disjoint": is_disjoint, "generator": seeded(seed)}
    return unlabelled_rows(UNEVEN, labelled, **options)


def test_unlabelled_images_are_all_images_or_all_but_the_labelled_ones():
    labelled = balanced_subset(UNEVEN, 30, 3, seeded())
    assert torch.equal(choose_unlabelled(labelled), torch.arange(100))
    others = choose_unlabelled(labelled, is_disjoint=True)
    assert sorted([*others.tolist(), *labelled.tolist()]) == list(range(100))


@pytest.mark.parametrize("is_disjoint", [False, True])
def test_a_part_of_the_unlabelled_images_is_balanced_seeded_and_disjoint_where_said(is_disjoint):
    labelled = balanced_subset(UNEVEN, 9, 3, seeded())
    first, again, other = (
        choose_unlabelled(labelled, size=24, is_disjoint=is_disjoint, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.bincount(UNEVEN[first]).tolist() == [8, 8, 8]
    assert len(set(first.tolist())) == 24
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    overlap = set(first.tolist()) & set(labelled.tolist())
    assert (not overlap) if is_disjoint else True


def test_where_every_image_is_labelled_nothing_is_left_to_be_disjoint():
    message = "unlabelled images must be left beside the labelled ones, got 100 of 100"
    with pytest.raises(UserError, match=message):
        choose_unlabelled(torch.arange(100), is_disjoint=True)
