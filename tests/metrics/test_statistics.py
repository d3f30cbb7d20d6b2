import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics.statistics import ClassStatistics

NUM_CLASSES, DIM = 5, 7


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uneven_labels(num: int, *, num_classes: int = NUM_CLASSES, seed: int = 0) -> Tensor:
    """Every class at least once, later ones more often."""
    stream = torch.Generator().manual_seed(seed)
    drawn = (torch.rand(num - num_classes, generator=stream).sqrt() * num_classes).long()
    labels = torch.cat([torch.arange(num_classes), drawn])
    return labels[torch.randperm(num, generator=stream)]


def naive_statistics(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two passes in float64, one class after the other."""
    features = features.double()
    counts, means, scatter = [], [], []
    within = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for label in range(num_classes):
        rows = features[labels == label]
        mean = rows.mean(dim=0)
        within += (rows - mean).T @ (rows - mean)
        counts.append(float(len(rows)))
        means.append(mean)
        scatter.append((rows - mean).square().sum())
    return torch.tensor(counts, dtype=torch.float64), torch.stack(means), within, torch.stack(scatter)


def filled(features: Tensor, labels: Tensor, *, batch_size: int, num_classes: int = NUM_CLASSES) -> ClassStatistics:
    statistics = ClassStatistics(num_classes, features.shape[1])
    for rows, row_labels in zip(features.split(batch_size), labels.split(batch_size), strict=True):
        statistics.update(rows, row_labels)
    return statistics


def assert_same(found: ClassStatistics, expected: ClassStatistics, *, rtol: float = 1e-10) -> None:
    assert torch.equal(found.counts, expected.counts)
    for name in ("means", "within", "scatter"):
        value, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(value, other, rtol=0, atol=rtol * float(other.abs().max()), msg=name)


def test_four_examples_by_hand() -> None:
    statistics = ClassStatistics(2, 2)
    statistics.update(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 1, 0, 1]))
    assert statistics.counts.tolist() == [2, 2]
    assert statistics.means.tolist() == [[2, 0], [0, 3]]
    assert statistics.within.tolist() == [[2, 0], [0, 8]]
    assert statistics.scatter.tolist() == [2, 8]
    assert statistics.num_examples == 4
    assert statistics.sample_mean.tolist() == [1, 1.5]
    # Second moments 10/4 and 26/4 less squared means 1 and 2.25; the cross term 0 - 1.5.
    assert statistics.total_covariance.tolist() == [[1.5, -1.5], [-1.5, 4.25]]
    assert all(
        value.dtype is torch.float64
        for value in (statistics.counts, statistics.means, statistics.within, statistics.scatter)
    )


@pytest.mark.parametrize("batch_size", [1, 3, 64, 256, 1000])
def test_any_batch_size_gives_the_two_pass_numbers(batch_size: int) -> None:
    features, labels = normal(257, DIM) + 4, uneven_labels(257)
    found = filled(features, labels, batch_size=batch_size)  # 256 leaves a last batch of one
    counts, means, within, scatter = naive_statistics(features, labels, NUM_CLASSES)
    assert torch.equal(found.counts, counts)
    torch.testing.assert_close(found.means, means, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.within, within, rtol=1e-10, atol=1e-10 * float(within.max()))
    torch.testing.assert_close(found.scatter, scatter, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.total_covariance, torch.cov(features.T, correction=0), rtol=1e-9, atol=1e-9)


def test_order_of_the_examples_does_not_matter() -> None:
    features, labels = normal(200, DIM), uneven_labels(200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(5))
    by_class = labels.argsort()
    expected = filled(features, labels, batch_size=200)
    assert_same(filled(features[order], labels[order], batch_size=33), expected)
    assert_same(filled(features[by_class], labels[by_class], batch_size=33), expected)  # classes absent from batches


def test_any_tree_of_merges_gives_the_same_numbers() -> None:
    features, labels = normal(240, DIM) * 3 - 2, uneven_labels(240)
    expected = filled(features, labels, batch_size=240)
    parts = [filled(*part, batch_size=7) for part in zip(features.split(40), labels.split(40), strict=True)]
    chain = ClassStatistics(NUM_CLASSES, DIM)
    for part in parts:
        chain.merge(part)
    assert_same(chain, expected)
    pairs = [filled(*part, batch_size=11) for part in zip(features.split(40), labels.split(40), strict=True)]
    while len(pairs) > 1:
        right, left = pairs.pop(), pairs.pop(0)
        right.merge(left)
        pairs.append(right)
    assert_same(pairs[0], expected)


def test_merging_leaves_the_other_as_it_was_and_an_empty_one_changes_nothing() -> None:
    statistics = filled(normal(50, DIM), uneven_labels(50), batch_size=50)
    other = filled(normal(50, DIM, seed=1), uneven_labels(50, seed=1), batch_size=50)
    before = other.means.clone(), other.within.clone()
    statistics.merge(other)
    assert torch.equal(other.means, before[0])
    assert torch.equal(other.within, before[1])
    expected = filled(normal(50, DIM), uneven_labels(50), batch_size=50)
    expected.merge(other)
    statistics.merge(ClassStatistics(NUM_CLASSES, DIM))
    assert torch.equal(statistics.within, expected.within)


def test_merging_with_itself_counts_everything_twice() -> None:
    statistics = filled(normal(50, DIM), uneven_labels(50), batch_size=50)
    single = filled(normal(50, DIM), uneven_labels(50), batch_size=50)
    statistics.merge(statistics)
    assert torch.equal(statistics.counts, 2 * single.counts)
    torch.testing.assert_close(statistics.within, 2 * single.within)
    torch.testing.assert_close(statistics.means, single.means)


def test_rotation_scale_and_relabelling_turn_the_numbers_as_they_should() -> None:
    features, labels = normal(100, DIM), uneven_labels(100)
    rotation = torch.linalg.qr(normal(DIM, DIM, seed=1))[0]
    plain = filled(features, labels, batch_size=30)
    turned = filled(2 * features @ rotation + 5, labels, batch_size=30)
    torch.testing.assert_close(turned.within, 4 * rotation.T @ plain.within @ rotation, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(turned.scatter, 4 * plain.scatter, rtol=1e-10, atol=0)
    torch.testing.assert_close(turned.means, 2 * plain.means @ rotation + 5, rtol=1e-10, atol=1e-10)
    names = torch.tensor([3, 0, 4, 1, 2])
    renamed = filled(features, names[labels], batch_size=30)
    torch.testing.assert_close(renamed.within, plain.within, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(renamed.scatter[names], plain.scatter, rtol=1e-12, atol=0)


@pytest.mark.parametrize("batch_size", [64, 512, 4096])
def test_a_large_mean_leaves_the_scatter_its_digits(batch_size: int) -> None:
    # Mean 1e3, spread 1e-3, float32 rows; the textbook sum of squares has no digit left here.
    features = (1e3 + 1e-3 * normal(4000, 6)).float()
    labels = torch.arange(4000) % 3
    found = filled(features, labels, batch_size=batch_size, num_classes=3)
    exact = torch.zeros(6, 6, dtype=torch.float64)
    for label in range(3):
        rows = features[labels == label].double() - 1e3  # exact: float32 near 1e3 holds multiples of 2^-14
        exact += rows.T @ rows - len(rows) * torch.outer(rows.mean(dim=0), rows.mean(dim=0))
    scale = float(exact.diagonal().min())
    assert float((found.within - exact).abs().max()) < 1e-6 * scale
    assert float(found.scatter.sum()) == pytest.approx(float(exact.trace()), rel=1e-6)


def test_textbook_sum_of_squares_would_fail_the_same_data() -> None:
    rows = (1e3 + 1e-3 * normal(4000, 1)).float()
    textbook = float((rows * rows).sum() - len(rows) * rows.mean() ** 2)
    assert abs(textbook / float((rows.double() - rows.double().mean()).square().sum()) - 1) > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_features_are_summed_in_float64(dtype: torch.dtype) -> None:
    features, labels = normal(300, DIM).to(dtype), uneven_labels(300)
    assert_same(filled(features, labels, batch_size=100), filled(features.double(), labels, batch_size=300), rtol=1e-12)


def test_update_changes_neither_its_arguments_nor_keeps_their_graph() -> None:
    features, labels = normal(20, DIM), uneven_labels(20)
    copy = features.clone()
    statistics = ClassStatistics(NUM_CLASSES, DIM)
    statistics.update(features.requires_grad_(), labels)
    assert torch.equal(features.detach(), copy)
    assert not statistics.within.requires_grad


def test_an_empty_batch_and_small_integer_labels_are_fine() -> None:
    statistics = ClassStatistics(NUM_CLASSES, DIM)
    statistics.update(torch.zeros(0, DIM), torch.zeros(0, dtype=torch.int64))
    assert statistics.num_examples == 0
    statistics.update(normal(3, DIM), torch.tensor([4, 0, 4], dtype=torch.uint8))
    assert statistics.counts.tolist() == [1, 0, 0, 0, 2]
    assert statistics.missing_classes() == [1, 2, 3]


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (
            torch.full((2, DIM), math.nan),
            torch.tensor([0, 1]),
            "features must be finite, got 14 NaN or infinite values",
        ),
        (torch.full((1, DIM), math.inf), torch.tensor([0]), "features must be finite"),
        (torch.zeros(2, DIM), torch.tensor([0, 5]), r"labels must lie in \[0, 5\), got values from 0 to 5"),
        (torch.zeros(2, DIM), torch.tensor([-1, 0]), "got values from -1 to 0"),
        (torch.zeros(2, DIM), torch.tensor([0.0, 1.0]), "labels must be integers, got torch.float32"),
        (torch.zeros(2, DIM), torch.eye(2, 5), "labels must be one integer per example"),
        (torch.zeros(2, DIM), torch.tensor([0]), "features and labels must have the same length, got 2 and 1"),
        (torch.zeros(2, DIM + 1), torch.tensor([0, 1]), r"features must be float of shape \(B, 7\), got .*\(2, 8\)"),
        (torch.zeros(2, DIM, dtype=torch.int64), torch.tensor([0, 1]), r"features must be float .*got torch.int64"),
        (torch.zeros(2, 1, DIM), torch.tensor([0, 1]), "features must have 2 dimensions"),
    ],
)
def test_a_refused_batch_changes_nothing(features: Tensor, labels: Tensor, message: str) -> None:
    statistics = filled(normal(30, DIM), uneven_labels(30), batch_size=30)
    before = [value.clone() for value in (statistics.counts, statistics.means, statistics.within, statistics.scatter)]
    with pytest.raises(ValueError, match=message):
        statistics.update(features, labels)
    after = (statistics.counts, statistics.means, statistics.within, statistics.scatter)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"other must have num_classes and dim \(5, 7\), got \(5, 8\)"):
        ClassStatistics(5, 7).merge(ClassStatistics(5, 8))
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ClassStatistics(0, 7)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        ClassStatistics(2, 0)
