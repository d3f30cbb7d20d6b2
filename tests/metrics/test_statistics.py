import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from mixscope.metrics.class_statistics import symmetric
from mixscope.metrics.class_statistics.statistics import ClassMoments, ClassStatistics
from mixscope.metrics.class_statistics.symmetric import UpperHalf

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


def filled(
    features: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    num_classes: int = NUM_CLASSES,
    product_dtype: torch.dtype | None = None,
) -> ClassStatistics:
    statistics = ClassStatistics(num_classes, features.shape[1], product_dtype=product_dtype)
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
    torch.testing.assert_close(statistics.total_covariance, torch.tensor([[1.5, -1.5], [-1.5, 4.25]]).double())
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


def test_wide_float32_features_are_multiplied_in_float32_unless_float64_is_asked_for() -> None:
    features, labels = (3 + normal(3000, 128)).to(torch.float32), uneven_labels(3000)
    exact = filled(features.double(), labels, batch_size=3000)
    assert_same(filled(features, labels, batch_size=100, product_dtype=torch.float64), exact, rtol=1e-12)
    found = filled(features, labels, batch_size=100)
    assert_same(found, exact, rtol=1e-6)  # seen 1e-7
    assert not torch.allclose(found.within, exact.within, rtol=1e-12)  # so the two paths differ


def test_narrow_float32_features_are_computed_in_float64() -> None:
    features, labels = (3 + normal(3000, DIM)).to(torch.float32), uneven_labels(3000)
    exact = filled(features.double(), labels, batch_size=3000)
    assert_same(filled(features, labels, batch_size=100), exact, rtol=1e-12)
    assert_same(filled(features, labels, batch_size=100, product_dtype=torch.float32), exact, rtol=1e-6)


def row_by_row(half: UpperHalf, rows: Tensor) -> None:
    """rows^T rows, added up in the worst order: one row after the other, in the rows' own precision."""
    half.numbers.zero_()
    for row in rows:
        half.add_product(row[None], row[None])


STREAMS: dict[str, Callable[[Tensor], Tensor]] = {
    "around 0": lambda rows: rows,
    "around 100": lambda rows: rows + 100,
    "common direction": lambda rows: rows + 3 * rows[:, :1],
    "moving": lambda rows: rows + 5 * torch.linspace(0, 1, len(rows))[:, None],
    "outlier first": lambda rows: torch.cat([rows[:1] + 1000, rows[1:]]),
    "half of it zero": lambda rows: rows.clamp(min=0),
    "two values": lambda rows: (rows > 0.3).float(),
    "one column of two values": lambda rows: torch.cat([(rows[:, :1] > 0.3).float() * 50, rows[:, 1:]], dim=1),
}


def worst_order_error(rows: Tensor, *, num_classes: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Relative error of `within` (Frobenius norm) when every float32 product is added up row by row."""
    labels = torch.arange(len(rows)) % num_classes
    exact = filled(rows.double(), labels, batch_size=len(rows), num_classes=num_classes).within
    with monkeypatch.context() as patch:
        patch.setattr(UpperHalf, "put_product", row_by_row)
        found = filled(rows, labels, batch_size=700, num_classes=num_classes).within
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("num", "dim"), [(700, 512), (2500, 512), (3000, 96), (9000, 128)])
def test_no_order_of_float32_sums_costs_more_than_the_promise(
    stream: str, num: int, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = STREAMS[stream](normal(num, dim).float())
    assert worst_order_error(rows, num_classes=2, monkeypatch=monkeypatch) < 1e-6


@pytest.mark.parametrize(
    ("num", "dim"), [(20_000, 1), (200_000, 3), (20_000, 7), (4096, 63), (6000, 95), (12_000, 200)]
)
def test_long_streams_in_the_worst_order_keep_seven_digits(num: int, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = normal(num, dim).float() + 2
    assert worst_order_error(rows, num_classes=1, monkeypatch=monkeypatch) < 1e-7


def test_products_whose_roundings_lean_one_way_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = STREAMS["two values"](normal(6000, 128).float())
    assert worst_order_error(rows, num_classes=2, monkeypatch=monkeypatch) < 1e-6
    monkeypatch.setattr(symmetric, "LARGEST_ERROR", 1.0)
    assert worst_order_error(rows, num_classes=2, monkeypatch=monkeypatch) > 1e-6


def test_a_device_that_multiplies_with_few_digits_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_rounded(half: UpperHalf, rows: Tensor) -> None:
        half.numbers.zero_()
        half.add_product(rows.bfloat16().float(), rows.bfloat16().float())

    features, labels = normal(3000, 128).float(), uneven_labels(3000)
    exact = filled(features.double(), labels, batch_size=3000)
    monkeypatch.setattr(UpperHalf, "put_product", put_rounded)
    assert_same(filled(features, labels, batch_size=256), exact, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("batch_size", [1, 2, 50, 999])
def test_an_outlier_as_first_example_costs_no_digits(dtype: torch.dtype, rtol: float, batch_size: int) -> None:
    features, labels = normal(1000, DIM), torch.arange(1000) % 2
    features[0] = 1e6
    features = features.to(dtype)
    found = filled(features, labels, batch_size=batch_size, num_classes=2)
    counts, means, within, scatter = naive_statistics(features, labels, 2)
    assert torch.equal(found.counts, counts)
    torch.testing.assert_close(found.means, means, rtol=rtol, atol=rtol)
    torch.testing.assert_close(found.within, within, rtol=0, atol=rtol * float(within.max()))
    # The class without the outlier keeps its own digits.
    torch.testing.assert_close(found.scatter, scatter, rtol=rtol, atol=0)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_a_class_that_moves_away_from_its_first_example_costs_no_digits(dtype: torch.dtype, rtol: float) -> None:
    # One example, then everything else 1e4 away in one batch: about the first example all but 1e-8 would cancel.
    features = torch.cat([normal(1, DIM), 1e4 + normal(4000, DIM, seed=1)]).to(dtype)
    labels = torch.zeros(4001, dtype=torch.int64)
    statistics = ClassStatistics(1, DIM)
    statistics.update(features[:1], labels[:1])
    statistics.update(features[1:], labels[1:])
    _, means, within, _ = naive_statistics(features, labels, 1)
    torch.testing.assert_close(statistics.means, means, rtol=rtol, atol=0)
    torch.testing.assert_close(statistics.within, within, rtol=0, atol=rtol * float(within.max()))


@pytest.mark.parametrize("num_classes", [4, 5000])  # most classes are seen, few are
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("batch_size", [100, 9999, 30000])
def test_classes_that_leave_their_first_example_keep_their_digits_over_many_blocks(
    num_classes: int, dtype: torch.dtype, rtol: float, batch_size: int
) -> None:
    # Class 0 is the bulk. Class 1 starts with an outlier and then grows fast, class 2 slowly, class 3 comes last.
    labels = torch.zeros(30000, dtype=torch.int64)
    labels[[5, *range(20000, 29000)]] = 1
    labels[9::3000] = 2
    labels[29500:] = 3
    features = normal(30000, DIM) + 10 * normal(4, DIM, seed=1)[labels]
    features[5] += 300
    features[9] -= 300
    features = features.to(dtype)
    found = filled(features, labels, batch_size=batch_size, num_classes=num_classes)
    counts, means, within, scatter = naive_statistics(features, labels, 4)
    assert torch.equal(found.counts[:4], counts)
    spread = float((scatter / counts).max().sqrt())  # the outliers are part of it
    torch.testing.assert_close(found.means[:4], means, rtol=0, atol=rtol * spread)
    torch.testing.assert_close(found.within, within, rtol=0, atol=rtol * float(within.max()))
    torch.testing.assert_close(found.scatter[:4], scatter, rtol=rtol, atol=0)


@pytest.mark.parametrize("batch_size", [256, 4096])
def test_tables_of_many_classes_make_blocks_longer_and_change_no_digit(batch_size: int) -> None:
    features, labels = normal(6000, 64) + 3, uneven_labels(6000, num_classes=4200)
    counts, means, within, scatter = naive_statistics(features, labels, 4200)
    found = filled(features, labels, batch_size=batch_size, num_classes=4200)
    assert torch.equal(found.counts, counts)
    torch.testing.assert_close(found.means, means, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.within, within, rtol=0, atol=1e-10 * float(within.max()))
    narrow = filled(features.float(), labels, batch_size=batch_size, num_classes=4200)
    torch.testing.assert_close(narrow.scatter, scatter, rtol=1e-4, atol=1e-5)  # some rows are their class but for a bit
    assert float((narrow.within - within).norm() / within.norm()) < 1e-6  # seen 2e-7


def test_reading_between_batches_changes_nothing() -> None:
    features, labels = normal(300, DIM) + 50, uneven_labels(300)
    expected = filled(features, labels, batch_size=300)
    statistics = ClassStatistics(NUM_CLASSES, DIM)
    for rows, row_labels in zip(features.split(17), labels.split(17), strict=True):
        statistics.update(rows, row_labels)
        assert torch.equal(statistics.within, statistics.within.T)
    assert_same(statistics, expected)


def test_batches_of_different_types_add_up() -> None:
    features, labels = (normal(300, DIM) + 5).float(), uneven_labels(300)
    statistics = ClassStatistics(NUM_CLASSES, DIM)
    statistics.update(features[:100], labels[:100])
    statistics.update(features[100:200].double(), labels[100:200])
    statistics.update(features[200:], labels[200:])
    assert_same(statistics, filled(features.double(), labels, batch_size=300), rtol=1e-6)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_float32_features_whose_squares_do_not_fit_float32_are_computed_in_float64(size: float) -> None:
    features, labels = (normal(200, DIM) * size).float(), uneven_labels(200)
    found = filled(features, labels, batch_size=50)
    assert_same(found, filled(features.double(), labels, batch_size=200))
    assert float(found.within.trace()) > 0


def test_half_precision_features_may_be_large() -> None:
    features = torch.full((4, 2), 60000.0, dtype=torch.float16)
    features[:2] = -60000.0
    statistics = ClassStatistics(1, 2)
    statistics.update(features, torch.zeros(4, dtype=torch.int64))
    assert statistics.within.tolist() == [[4 * float(features[2, 0]) ** 2] * 2] * 2


def test_the_callers_precision_settings_neither_matter_nor_change() -> None:
    features, labels = normal(2000, 64).float() + 1, uneven_labels(2000)
    plain = filled(features, labels, batch_size=500)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            found = filled(features, labels, batch_size=500)
            assert torch.is_inference_mode_enabled()
            assert torch.is_autocast_enabled("cpu")
            within = found.within
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(within, plain.within)
    found.update(features, labels)  # what was made in inference mode can be changed outside
    plain.update(features, labels)
    assert torch.equal(found.within, plain.within)


@pytest.mark.parametrize("made_inside", [True, False])
@pytest.mark.parametrize("remake", [lambda s: s, lambda s: type(s).from_state(s.state()), copy.deepcopy])
def test_statistics_cross_the_border_of_inference_mode_both_ways(
    made_inside: bool, remake: Callable[[ClassStatistics], ClassStatistics]
) -> None:
    features, labels = normal(3000, DIM).float(), uneven_labels(3000)
    expected = filled(features, labels, batch_size=3000)
    with torch.inference_mode(made_inside):
        statistics = remake(filled(features[:1200], labels[:1200], batch_size=500))
    with torch.inference_mode(not made_inside):
        statistics.update(features[1200:2600], labels[1200:2600])
        statistics.merge(filled(features[2600:2700], labels[2600:2700], batch_size=50))
        assert statistics.num_examples == 2700
    with torch.inference_mode(made_inside):
        rest = features[2700:].clone()
    statistics.update(rest, labels[2700:])
    assert_same(statistics, expected, rtol=1e-6)


def test_a_hundred_thousand_classes_cost_what_is_present() -> None:
    num_classes = 100_000
    labels = torch.randint(num_classes, (600,), generator=torch.Generator().manual_seed(0))
    labels[300:] = labels[:300]
    features = normal(600, DIM) + 3
    found = filled(features, labels, batch_size=100, num_classes=num_classes)
    present, renamed = labels.unique(return_inverse=True)
    expected = filled(features, renamed, batch_size=600, num_classes=len(present))
    torch.testing.assert_close(found.within, expected.within, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.means[present], expected.means, rtol=1e-10, atol=1e-10)
    assert found.num_examples == 600
    assert len(found.missing_classes()) == num_classes - len(present)


@pytest.mark.parametrize("dim", [1, 63, 64, 65, 200, 515])
def test_the_half_that_is_not_multiplied_is_filled_in(dim: int) -> None:
    features, labels = normal(90, dim), uneven_labels(90)
    within = filled(features, labels, batch_size=40).within
    torch.testing.assert_close(within, naive_statistics(features, labels, NUM_CLASSES)[2], rtol=1e-10, atol=1e-10)
    single = filled(features.float(), labels, batch_size=40).within
    torch.testing.assert_close(single, within, rtol=0, atol=1e-6 * float(within.max()))


def test_state_goes_to_a_file_and_back_and_on() -> None:
    features, labels = normal(100, DIM), uneven_labels(100)
    expected = filled(features, labels, batch_size=100)
    half = filled(features[:50], labels[:50], batch_size=20)
    back = ClassStatistics.from_state(load(save(half.state())))
    back.update(features[50:], labels[50:])
    assert_same(back, expected)
    assert_same(half, filled(features[:50], labels[:50], batch_size=50))  # the state is a copy
    twin = pickle.loads(pickle.dumps(half))
    twin.update(features[50:], labels[50:])
    assert_same(twin, expected)


def test_a_copy_taken_between_batches_goes_its_own_way() -> None:
    features, labels = normal(100, 70).float(), uneven_labels(100)
    statistics = filled(features[:50], labels[:50], batch_size=20)
    twin = copy.deepcopy(statistics)
    for one in (statistics, twin):
        one.update(features[50:], labels[50:])
    assert torch.equal(twin.within, statistics.within)


def test_a_state_that_does_not_fit_is_refused() -> None:
    state = filled(normal(50, DIM), uneven_labels(50), batch_size=50).state()
    with pytest.raises(ValueError, match="state must hold means of shape"):
        ClassStatistics.from_state({"counts": torch.zeros(3)})
    with pytest.raises(ValueError, match="state must hold counts, means, scatter, within, got counts, means, scatter"):
        ClassStatistics.from_state({name: value for name, value in state.items() if name != "within"})
    with pytest.raises(ValueError, match="state must hold counts, means, scatter, got counts, means, scatter, within"):
        ClassMoments.from_state(state)
    with pytest.raises(ValueError, match=r"within must have shape \(7, 7\), got \(7, 6\)"):
        ClassStatistics.from_state({**state, "within": torch.zeros(7, 6)})
    with pytest.raises(ValueError, match="scatter must be finite"):
        ClassStatistics.from_state({**state, "scatter": torch.full((5,), math.nan)})
    with pytest.raises(ValueError, match=r"counts must be at least 0, got -1\.0"):
        ClassStatistics.from_state({**state, "counts": torch.full((5,), -1.0)})


def test_moments_are_the_statistics_without_their_matrix() -> None:
    features, labels = normal(200, DIM) + 2, uneven_labels(200)
    statistics = filled(features, labels, batch_size=33)
    moments, rest = ClassMoments(NUM_CLASSES, DIM), ClassMoments(NUM_CLASSES, DIM)
    moments.update(features[:120], labels[:120])
    rest.update(features[120:], labels[120:])
    moments.merge(ClassMoments.from_state(rest.state()))
    for name in ("counts", "means", "scatter", "sample_mean"):
        torch.testing.assert_close(getattr(moments, name), getattr(statistics, name), rtol=1e-10, atol=1e-12)
    assert moments.num_examples == 200
    assert moments.missing_classes() == []


def test_moments_take_layers_too_wide_for_a_matrix() -> None:
    features, labels = normal(8, 200_000).float(), torch.arange(8) % 2  # D x D would be 320 GB
    moments = ClassMoments(2, 200_000)
    moments.update(features, labels)
    exact = features.double()[::2]
    assert float(moments.scatter[0]) == pytest.approx(float((exact - exact.mean(dim=0)).square().sum()), rel=1e-6)


def test_without_a_process_group_there_is_nothing_to_add_up() -> None:
    statistics = filled(normal(50, DIM), uneven_labels(50), batch_size=50)
    before = statistics.state()
    statistics.all_reduce()
    assert all(torch.equal(before[name], value) for name, value in statistics.state().items())


def test_update_changes_neither_its_arguments_nor_keeps_their_graph() -> None:
    features, labels = normal(20, DIM), uneven_labels(20)
    copy = features.clone()
    statistics = ClassStatistics(NUM_CLASSES, DIM)
    statistics.update(features.requires_grad_(), labels)
    assert torch.equal(features.detach(), copy)
    assert not statistics.within.requires_grad


def test_a_buffer_that_the_caller_fills_again_is_not_looked_at_twice() -> None:
    features, labels = normal(400, DIM).float() + 2, uneven_labels(400, num_classes=300)
    statistics = ClassStatistics(300, DIM)
    rows, row_labels = torch.zeros(4, DIM), torch.zeros(4, dtype=torch.int64)
    for start in range(0, 400, 4):
        rows.copy_(features[start : start + 4])
        row_labels.copy_(labels[start : start + 4])
        statistics.update(rows, row_labels)
    row_labels.zero_()
    assert_same(statistics, filled(features, labels, batch_size=400, num_classes=300), rtol=1e-6)


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
        (
            torch.full((1, DIM), 1e200, dtype=torch.float64),
            torch.tensor([0]),
            r"features must be at most 1e\+150 in size, got 1e\+200",
        ),
    ],
)
def test_a_refused_batch_changes_nothing(features: Tensor, labels: Tensor, message: str) -> None:
    statistics = filled(normal(30, DIM), uneven_labels(30), batch_size=30)
    expected = filled(normal(30, DIM), uneven_labels(30), batch_size=30).state()
    with pytest.raises(ValueError, match=message):
        statistics.update(features, labels)
    assert all(torch.equal(expected[name], value) for name, value in statistics.state().items())


def test_a_large_batch_that_is_bad_at_its_end_changes_nothing() -> None:
    features, labels = normal(9000, 100), uneven_labels(9000)  # worked on in several parts
    statistics = filled(features, labels, batch_size=9000)
    expected = filled(features, labels, batch_size=9000).state()
    features[-1, -1] = math.nan
    with pytest.raises(ValueError, match="features must be finite, got 1 NaN"):
        statistics.update(features, labels)
    assert all(torch.equal(expected[name], value) for name, value in statistics.state().items())


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"other must have num_classes and dim \(5, 7\), got \(5, 8\)"):
        ClassStatistics(5, 7).merge(ClassStatistics(5, 8))
    with pytest.raises(ValueError, match="other must be ClassStatistics, got ClassMoments"):
        ClassStatistics(5, 7).merge(ClassMoments(5, 7))
    with pytest.raises(
        ValueError, match=r"product_dtype must be torch.float32, torch.float64 or None, got torch.float16"
    ):
        ClassStatistics(5, 7, product_dtype=torch.float16)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ClassStatistics(0, 7)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        ClassStatistics(2, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_computed_in_float64(dtype: torch.dtype) -> None:
    # Few values, equal products: in float32 their roundings lean one way and add up to 4e-6.
    features = (0.1 * torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0)) + 10).to(dtype)
    labels = torch.arange(len(features)) % 2
    half, wide = ClassStatistics(2, 16), ClassStatistics(2, 16)
    half.update(features, labels)
    wide.update(features.double(), labels)
    assert float((half.within - wide.within).abs().max() / wide.within.abs().max()) < 1e-12
