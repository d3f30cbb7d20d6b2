import math
import pickle

import pytest
import torch
from calibration_cases import (
    BAD_LOGITS,
    BAD_PROBABILITIES,
    expected_calibration_error_from_logits,
    random_case,
    random_logits,
    two_class,
)
from torch import Tensor

from mixscope.metrics.calibration import predictions
from mixscope.metrics.calibration.top_label import (
    CalibrationBins,
    expected_calibration_error,
)


def filled(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15, batch_size: int = 500) -> CalibrationBins:
    bins = CalibrationBins(num_bins)
    for rows, row_labels in zip(probabilities.split(batch_size), labels.split(batch_size), strict=True):
        bins.update(rows, row_labels)
    return bins


def naive_bins(probabilities: Tensor, labels: Tensor, num_bins: int) -> list[tuple[int, float, float]]:
    """Count, mean confidence and accuracy of each bin (low, high], one example after the other."""
    contents: list[list[tuple[float, bool]]] = [[] for _ in range(num_bins)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        for position in range(num_bins):
            if position / num_bins < confidence <= (position + 1) / num_bins:
                contents[position].append((confidence, row.index(confidence) == label))
    return [
        (
            len(group),
            sum(c for c, _ in group) / len(group) if group else math.nan,
            sum(right for _, right in group) / len(group) if group else math.nan,
        )
        for group in contents
    ]


def test_four_predictions_by_hand() -> None:
    # Bins (0, .5] and (.5, 1]: confidences .5 | .75, 1, .625; right | right, wrong, right.
    probabilities = two_class([0.5, 0.75, 1.0, 0.375])
    bins = filled(probabilities, torch.tensor([0, 0, 1, 1]), num_bins=2)
    assert bins.reliability.edges.tolist() == [0, 0.5, 1]
    assert bins.reliability.counts.tolist() == [1, 3]
    assert bins.reliability.confidence.tolist() == pytest.approx([0.5, 2.375 / 3])
    assert bins.reliability.accuracy.tolist() == pytest.approx([1, 2 / 3])
    assert bins.expected_calibration_error == pytest.approx((0.5 + 0.375) / 4)
    assert bins.maximum_calibration_error == pytest.approx(0.5)
    assert bins.accuracy == 0.75
    assert bins.mean_confidence == pytest.approx(2.875 / 4)
    assert bins.signed_gap == pytest.approx(-0.125 / 4)
    assert bins.num_examples == 4


@pytest.mark.parametrize("num_bins", [1, 10, 15, 40])
def test_bins_agree_with_their_definition(num_bins: int) -> None:
    probabilities, labels = random_case()
    bins, expected = filled(probabilities, labels, num_bins=num_bins), naive_bins(probabilities, labels, num_bins)
    assert bins.reliability.counts.tolist() == [count for count, _, _ in expected]
    assert bins.reliability.confidence.tolist() == pytest.approx([value for _, value, _ in expected], nan_ok=True)
    assert bins.reliability.accuracy.tolist() == pytest.approx([value for _, _, value in expected], nan_ok=True)
    gaps = [(count, abs(confidence - accuracy)) for count, confidence, accuracy in expected if count]
    error = sum(count * gap for count, gap in gaps) / 500
    assert bins.expected_calibration_error == pytest.approx(error)
    assert bins.maximum_calibration_error == pytest.approx(max(gap for _, gap in gaps))
    assert expected_calibration_error(probabilities, labels, num_bins=num_bins) == bins.expected_calibration_error


def test_full_confidence_is_in_the_last_bin_and_counted() -> None:
    bins = filled(two_class([1.0, 0.0]), torch.tensor([1, 0]))
    assert bins.reliability.counts.tolist() == [0] * 14 + [2]
    assert bins.expected_calibration_error == 1
    assert filled(two_class([1.0]), torch.tensor([0])).expected_calibration_error == 0


def test_the_smallest_confidences_are_in_the_first_bins_and_counted() -> None:
    # A thousand classes: confidence 1/1000 lies in (0, 1/15].
    probabilities = torch.full((3, 1000), 1e-3, dtype=torch.float64)
    bins = filled(probabilities, torch.tensor([0, 1, 2]))
    assert bins.reliability.counts.tolist() == [3] + [0] * 14
    assert bins.expected_calibration_error == pytest.approx(1 / 3 - 1e-3)  # ties go to the first class


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_confidence_on_an_inner_edge_stays_below_it(dtype: torch.dtype) -> None:
    # 0.6 = 9/15 and 0.8 = 12/15 as the given precision writes them, with the next numbers on both sides.
    for edge, position in ((0.6, 8), (0.8, 11)):
        value = torch.tensor(edge, dtype=dtype)
        around = [
            torch.nextafter(value, torch.zeros_like(value)),
            value,
            torch.nextafter(value, torch.ones_like(value)),
        ]
        bins = CalibrationBins()
        for number in around:
            bins.update(torch.stack([number, 1 - number])[None], torch.tensor([0]))
        assert bins.reliability.counts.nonzero().flatten().tolist() == [position, position + 1]
        assert bins.reliability.counts[position] == 2


def test_halves_are_exact_edges() -> None:
    bins = filled(two_class([0.5, 0.75, 0.875, 1.0]), torch.zeros(4, dtype=torch.int64), num_bins=8)
    assert bins.reliability.counts.tolist() == [0, 0, 0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 7, 499])
def test_batches_order_and_merging_do_not_matter(batch_size: int) -> None:
    probabilities, labels = random_case()
    expected = filled(probabilities, labels)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    streamed = filled(probabilities[order], labels[order], batch_size=batch_size)
    merged = filled(probabilities[:123], labels[:123])
    merged.merge(filled(probabilities[123:], labels[123:]))
    merged.merge(CalibrationBins())
    for bins in (streamed, merged):
        assert torch.equal(bins.reliability.counts, expected.reliability.counts)
        assert bins.expected_calibration_error == pytest.approx(expected.expected_calibration_error, rel=1e-12)
        assert bins.maximum_calibration_error == pytest.approx(expected.maximum_calibration_error, rel=1e-12)
        assert bins.signed_gap == pytest.approx(expected.signed_gap, rel=1e-12)


def test_float32_probabilities_are_accumulated_in_float64() -> None:
    confidence = torch.full((100_000,), 0.7, dtype=torch.float32)
    probabilities = torch.stack([confidence, 1 - confidence], dim=1)
    bins = filled(probabilities, torch.zeros(100_000, dtype=torch.int64), batch_size=1000)
    assert bins.mean_confidence == pytest.approx(float(confidence[0]), rel=1e-12)


def test_under_confidence_is_negative() -> None:
    assert filled(two_class([0.6, 0.7]), torch.tensor([0, 0])).signed_gap == pytest.approx(-0.35)
    assert filled(two_class([0.6, 0.7]), torch.tensor([1, 1])).signed_gap == pytest.approx(0.65)


def test_rounding_of_float32_rows_is_accepted() -> None:
    probabilities, labels = random_case(dtype=torch.float32)
    assert filled(probabilities + 5e-6 * probabilities, labels).num_examples == 500


def test_names_of_the_classes_do_not_matter() -> None:
    probabilities, labels = random_case()
    names = torch.tensor([3, 5, 0, 1, 4, 2])
    renamed = torch.empty_like(probabilities)
    renamed[:, names] = probabilities
    expected = expected_calibration_error(probabilities, labels)
    assert expected_calibration_error(renamed, names[labels]) == pytest.approx(expected, rel=1e-12)


def test_gradients_are_left_behind() -> None:
    logits, labels = random_logits()
    needs_gradient = logits.clone().requires_grad_()
    ece = expected_calibration_error_from_logits(logits, labels)
    assert expected_calibration_error_from_logits(needs_gradient, labels) == ece
    bins = CalibrationBins()
    bins.update(torch.softmax(needs_gradient, dim=1), labels)
    assert not bins.reliability.counts.requires_grad
    assert not bins.reliability.confidence.requires_grad


def test_two_equal_halves_count_for_the_first_class_and_the_bin_below() -> None:
    bins = filled(two_class([0.5, 0.5]), torch.tensor([0, 1]), num_bins=2)
    assert bins.reliability.counts.tolist() == [2, 0]
    assert bins.accuracy == 0.5
    assert bins.expected_calibration_error == 0


def test_confidence_and_accuracy_stay_together() -> None:
    # Sure and wrong, unsure and right: sorted apart, the two would look well calibrated.
    probabilities = two_class([0.95] * 50 + [0.55] * 50)
    labels = torch.tensor([1] * 50 + [0] * 50)
    assert expected_calibration_error(probabilities, labels) == pytest.approx((0.95 + 0.45) / 2)


@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    probabilities, labels = random_case()
    expected = filled(probabilities, labels)
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", block)
    for bins in (filled(probabilities, labels), CalibrationBins.from_state(expected.state())):
        assert torch.equal(bins.reliability.counts, expected.reliability.counts)
        assert bins.expected_calibration_error == pytest.approx(expected.expected_calibration_error, rel=1e-12)
    bad = torch.cat([probabilities, probabilities[:1] * 0.9])
    with pytest.raises(ValueError, match=r"off by 0\.1"):
        CalibrationBins().update(bad, torch.cat([labels, labels[:1]]))


@pytest.mark.parametrize("seed", range(5))
def test_any_tree_of_merges_gives_one_streams_numbers(seed: int) -> None:
    probabilities, labels = random_case()
    expected = filled(probabilities, labels)
    stream = torch.Generator().manual_seed(seed)
    cuts = torch.randint(501, (6,), generator=stream).sort().values.tolist()
    order = torch.randperm(500, generator=stream)
    parts = []
    for start, end in zip([0, *cuts], [*cuts, 500], strict=True):
        parts.append(CalibrationBins())
        parts[-1].update(probabilities[order[start:end]], labels[order[start:end]])  # some are empty
    while len(parts) > 1:
        at = int(torch.randint(len(parts) - 1, (), generator=stream))
        parts[at].merge(parts.pop(at + 1))
    for name, value in expected.state().items():
        # Sums of at most 500 numbers in [0, 1] in another order: seen 1e-15.
        torch.testing.assert_close(parts[0].state()[name], value, rtol=1e-12, atol=0)


def test_merging_leaves_the_other_as_it_was() -> None:
    probabilities, labels = random_case()
    first, second = filled(probabilities[:100], labels[:100]), filled(probabilities[100:], labels[100:])
    before = second.state()
    first.merge(second)
    first.update(probabilities, labels)
    assert all(torch.equal(second.state()[name], before[name]) for name in before)


def test_what_was_read_does_not_change_later() -> None:
    probabilities, labels = random_case()
    bins = filled(probabilities, labels)
    counts, state = bins.reliability.counts, bins.state()
    kept = counts.clone()
    bins.update(probabilities, labels)
    assert torch.equal(counts, kept)
    assert torch.equal(state["counts"], kept)


def test_a_state_comes_back_and_goes_on() -> None:
    probabilities, labels = random_case()
    bins = filled(probabilities[:200], labels[:200])
    for copy in (CalibrationBins.from_state(bins.state()), pickle.loads(pickle.dumps(bins))):
        copy.update(probabilities[200:], labels[200:])
        expected = expected_calibration_error(probabilities, labels)
        assert copy.expected_calibration_error == pytest.approx(expected, rel=1e-12)
    assert CalibrationBins.from_state(CalibrationBins(7).state()).num_bins == 7
    assert list(bins.state()) == ["counts", "confidence_sums", "correct_sums"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": None}, "state must have the keys counts, confidence_sums, correct_sums, got conf"),
        ({"other": torch.zeros(15)}, "state must have the keys"),
        ({"counts": torch.zeros(3)}, r"state must hold tensors of one shape with 1 dimensions, got \[\(3,\), \(15,\)"),
        ({"counts": -torch.ones(15)}, "state must hold sums of at least 0, got -1.0"),
        ({"counts": torch.full((15,), math.nan)}, "state must hold sums of at least 0, got nan"),
    ],
)
def test_what_is_no_state_is_refused(changes: dict, message: str) -> None:
    state = CalibrationBins().state() | changes
    with pytest.raises(ValueError, match=message):
        CalibrationBins.from_state({name: value for name, value in state.items() if value is not None})


def test_reliability_is_what_the_bins_hold() -> None:
    bins = filled(two_class([0.5, 0.75, 1.0, 0.375]), torch.tensor([0, 0, 1, 1]), num_bins=4)
    diagram = bins.reliability
    assert diagram.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert diagram.counts.tolist() == [0, 1, 2, 1]
    assert diagram.confidence[1:].tolist() == [0.5, 0.6875, 1]
    assert diagram.accuracy[1:].tolist() == [1, 1, 0]
    assert diagram.signed_gaps[1:].tolist() == [-0.5, -0.3125, 1]
    assert diagram.confidence[0].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_logits_equal_their_exact_values(dtype: torch.dtype) -> None:
    logits, labels = random_logits()
    rounded = logits.to(dtype)
    expected = expected_calibration_error(torch.softmax(rounded.double(), dim=1), labels)
    assert expected_calibration_error_from_logits(rounded, labels) == pytest.approx(expected, rel=1e-12)


def test_logits_in_any_units_of_rows_give_the_same() -> None:
    logits, labels = random_logits()
    expected = expected_calibration_error_from_logits(logits, labels)
    assert expected == pytest.approx(expected_calibration_error(torch.softmax(logits, dim=1), labels), rel=1e-12)
    shifted = logits + torch.linspace(-50, 50, 500, dtype=torch.float64)[:, None]
    assert expected_calibration_error_from_logits(shifted, labels) == pytest.approx(expected, rel=1e-10)
    # Logits of this size would overflow without subtracting the largest.
    assert expected_calibration_error_from_logits(torch.tensor([[1e30, 0.0]]), torch.tensor([0])) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_probabilities_are_taken(dtype: torch.dtype) -> None:
    probabilities, labels = random_case(num_classes=100, dtype=dtype)
    confidence, prediction = probabilities.double().max(dim=1)
    bins = filled(probabilities, labels)
    assert bins.num_examples == 500
    assert bins.mean_confidence == pytest.approx(float(confidence.mean()), rel=1e-12)
    assert bins.accuracy == float((prediction == labels).double().mean())
    # 0.6 in this precision is the edge 9/15 in this precision.
    on_edge = filled(two_class([0.6], dtype=dtype), torch.tensor([0]))
    assert on_edge.reliability.counts.nonzero().tolist() == [[8]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_any_integer_labels_are_taken(dtype: torch.dtype) -> None:
    probabilities, labels = random_case()
    expected = expected_calibration_error(probabilities, labels)
    assert expected_calibration_error(probabilities, labels.to(dtype)) == expected


def test_strided_probabilities_and_precision_settings_change_nothing() -> None:
    probabilities, labels = random_case(dtype=torch.float32)
    expected = expected_calibration_error(probabilities, labels)
    strided = probabilities.T.contiguous().T
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            bins = filled(strided, labels)
    finally:
        torch.set_float32_matmul_precision(before)
    bins.merge(filled(strided[:0], labels[:0]))
    assert bins.expected_calibration_error == expected
    bins.update(probabilities, labels)  # after inference mode
    assert bins.expected_calibration_error == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("probabilities", "labels", "message"), BAD_PROBABILITIES)
def test_a_refused_batch_changes_nothing(probabilities: list, labels: list, message: str) -> None:
    bins = filled(*random_case())
    before = bins.state()
    given = torch.tensor(probabilities), torch.tensor(labels)
    with pytest.raises(ValueError, match=message):
        bins.update(*given)
    assert all(torch.equal(value, bins.state()[name]) for name, value in before.items())
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(*given)


@pytest.mark.parametrize(("logits", "labels", "message"), BAD_LOGITS)
def test_a_refused_batch_of_logits_changes_nothing(logits: list, labels: list, message: str) -> None:
    bins = filled(*random_case())
    before = bins.state()
    given = torch.tensor(logits), torch.tensor(labels)
    with pytest.raises(ValueError, match=message):
        bins.update_logits(*given)
    assert all(torch.equal(value, bins.state()[name]) for name, value in before.items())
    with pytest.raises(ValueError, match=message):
        expected_calibration_error_from_logits(*given)


def test_a_batch_refused_without_waiting_is_left_out_and_every_reading_says_so() -> None:
    # What happens away from the CPU, where `update` does not wait for the check.
    probabilities, labels = random_case()
    bins = filled(probabilities, labels)
    sums = torch.full((3, 15), math.nan, dtype=torch.float64)
    bins._add_unless_refused(sums, torch.tensor(False))
    assert bins.num_refused_batches == 1
    assert not bins._sums.isnan().any()
    other = filled(probabilities, labels)
    other.merge(bins)
    for refused in (bins, other):
        for name in ("expected_calibration_error", "signed_gap", "reliability", "num_examples"):
            with pytest.raises(ValueError, match="got 1 that did not and were left out"):
                getattr(refused, name)
        with pytest.raises(ValueError, match=r"every batch must have probabilities in \[0, 1\]"):
            refused.state()


@pytest.mark.parametrize(("probabilities", "labels", "message"), BAD_PROBABILITIES)
def test_checks_that_stay_on_a_device_refuse_the_same(
    monkeypatch: pytest.MonkeyPatch, probabilities: list, labels: list, message: str
) -> None:
    expected = filled(*random_case())
    monkeypatch.setattr(predictions, "_numbers", lambda *scalars: scalars)  # as away from the CPU: nothing is read
    bins = filled(*random_case())
    assert bins.num_refused_batches == 0
    assert all(torch.equal(value, bins.state()[name]) for name, value in expected.state().items())
    given = torch.tensor(probabilities), torch.tensor(labels)
    try:
        bins.update(*given)
    except ValueError:  # shapes and dtypes are known without reading a number
        assert bins.num_refused_batches == 0
    else:
        assert bins.num_refused_batches == 1
    assert torch.equal(bins._sums, torch.stack(list(expected.state().values())))
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(*given)


def test_no_examples_have_no_calibration() -> None:
    bins = CalibrationBins()
    bins.update(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    bins.update_logits(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    for name in (
        "expected_calibration_error",
        "maximum_calibration_error",
        "signed_gap",
        "accuracy",
        "mean_confidence",
    ):
        with pytest.raises(ValueError, match="must be updated with at least one example first, got 0"):
            getattr(bins, name)
    assert bins.num_examples == 0
    assert bins.reliability.accuracy.isnan().all()
    with pytest.raises(ValueError, match="at least one example"):
        expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_other_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        CalibrationBins(0)
    with pytest.raises(
        ValueError, match=r"other must be a CalibrationBins of the same size \(15,\), got a CalibrationBins \(10,\)"
    ):
        CalibrationBins().merge(CalibrationBins(10))


@pytest.mark.parametrize("num_bins", [1, 2, 15, 40, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_many_values_are_binned_as_a_search_among_the_edges_bins_them(dtype: torch.dtype, num_bins: int) -> None:
    edges = (torch.arange(num_bins + 1, dtype=torch.float64) / num_bins).to(dtype)
    below = torch.nextafter(edges, torch.full_like(edges, -1)).clamp(min=0)
    above = torch.nextafter(edges, torch.full_like(edges, 2)).clamp(max=1)
    some = torch.rand(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    values = torch.cat([edges, below, above, some])
    assert len(values) > predictions.FEW_VALUES
    expected = (values[:, None].double() > edges[None, 1:-1].double()).sum(dim=1)
    assert torch.equal(predictions.bin_positions(values, num_bins=num_bins), expected)
    few = values[: predictions.FEW_VALUES - 1]
    assert torch.equal(predictions.bin_positions(few, num_bins=num_bins), expected[: len(few)])
    # What will be refused must not crash before it is.
    bad = torch.tensor([math.nan, math.inf, -math.inf, -3.0, 30.0] * 1000).to(dtype)
    found = predictions.bin_positions(bad, num_bins=num_bins)
    assert found.min() >= 0
    assert found.max() < num_bins
