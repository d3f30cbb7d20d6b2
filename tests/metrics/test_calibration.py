import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics.calibration import (
    CalibrationBins,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood_from_logits,
)


def random_case(num: int = 500, num_classes: int = 6, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(num, num_classes, dtype=torch.float64, generator=stream)
    labels = torch.multinomial(torch.softmax(0.5 * logits, dim=1), 1, generator=stream)[:, 0]
    return torch.softmax(logits, dim=1).to(dtype), labels


def two_class(confidences: list[float], *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows (c, 1 - c)."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1).to(dtype)


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
    assert bins.edges.tolist() == [0, 0.5, 1]
    assert bins.counts.tolist() == [1, 3]
    assert bins.bin_confidence.tolist() == pytest.approx([0.5, 2.375 / 3])
    assert bins.bin_accuracy.tolist() == pytest.approx([1, 2 / 3])
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
    assert bins.counts.tolist() == [count for count, _, _ in expected]
    assert bins.bin_confidence.tolist() == pytest.approx([value for _, value, _ in expected], nan_ok=True)
    assert bins.bin_accuracy.tolist() == pytest.approx([value for _, _, value in expected], nan_ok=True)
    gaps = [(count, abs(confidence - accuracy)) for count, confidence, accuracy in expected if count]
    error = sum(count * gap for count, gap in gaps) / 500
    assert bins.expected_calibration_error == pytest.approx(error)
    assert bins.maximum_calibration_error == pytest.approx(max(gap for _, gap in gaps))
    assert expected_calibration_error(probabilities, labels, num_bins=num_bins) == bins.expected_calibration_error


def test_full_confidence_is_in_the_last_bin_and_counted() -> None:
    bins = filled(two_class([1.0, 0.0]), torch.tensor([1, 0]))
    assert bins.counts.tolist() == [0] * 14 + [2]
    assert bins.expected_calibration_error == 1
    assert filled(two_class([1.0]), torch.tensor([0])).expected_calibration_error == 0


def test_the_smallest_confidences_are_in_the_first_bins_and_counted() -> None:
    # A thousand classes: confidence 1/1000 lies in (0, 1/15].
    probabilities = torch.full((3, 1000), 1e-3, dtype=torch.float64)
    bins = filled(probabilities, torch.tensor([0, 1, 2]))
    assert bins.counts.tolist() == [3] + [0] * 14
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
        assert bins.counts.nonzero().flatten().tolist() == [position, position + 1]
        assert bins.counts[position] == 2


def test_halves_are_exact_edges() -> None:
    bins = filled(two_class([0.5, 0.75, 0.875, 1.0]), torch.zeros(4, dtype=torch.int64), num_bins=8)
    assert bins.counts.tolist() == [0, 0, 0, 1, 0, 1, 1, 1]


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
        assert torch.equal(bins.counts, expected.counts)
        assert bins.expected_calibration_error == pytest.approx(expected.expected_calibration_error, rel=1e-12)
        assert bins.maximum_calibration_error == pytest.approx(expected.maximum_calibration_error, rel=1e-12)
        assert bins.signed_gap == pytest.approx(expected.signed_gap, rel=1e-12)


def test_names_of_the_classes_do_not_matter() -> None:
    probabilities, labels = random_case()
    names = torch.tensor([3, 5, 0, 1, 4, 2])
    renamed = torch.empty_like(probabilities)
    renamed[:, names] = probabilities
    for measure in (expected_calibration_error, brier_score):
        assert measure(renamed, names[labels]) == pytest.approx(measure(probabilities, labels), rel=1e-12)


def test_float32_probabilities_are_accumulated_in_float64() -> None:
    confidence = torch.full((100_000,), 0.7, dtype=torch.float32)
    probabilities = torch.stack([confidence, 1 - confidence], dim=1)
    bins = filled(probabilities, torch.zeros(100_000, dtype=torch.int64), batch_size=1000)
    assert bins.mean_confidence == pytest.approx(float(confidence[0]), rel=1e-12)


def test_under_confidence_is_negative() -> None:
    assert filled(two_class([0.6, 0.7]), torch.tensor([0, 0])).signed_gap == pytest.approx(-0.35)
    assert filled(two_class([0.6, 0.7]), torch.tensor([1, 1])).signed_gap == pytest.approx(0.65)


def test_brier_score_by_hand_and_by_definition() -> None:
    assert brier_score(two_class([0.75]), torch.tensor([0])) == pytest.approx(2 * 0.25**2)
    assert brier_score(two_class([1.0]), torch.tensor([0])) == 0
    assert brier_score(two_class([1.0]), torch.tensor([1])) == 2
    probabilities, labels = random_case()
    kept = probabilities.clone()
    expected = sum(
        sum((p - (k == label)) ** 2 for k, p in enumerate(row))
        for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True)
    )
    assert brier_score(probabilities, labels) == pytest.approx(expected / 500)
    assert torch.equal(probabilities, kept)


def test_negative_log_likelihood_by_hand_and_for_large_logits() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0], [0.0, math.log(2), 0.0]], dtype=torch.float64)
    assert negative_log_likelihood_from_logits(logits, torch.tensor([2, 1])) == pytest.approx(
        (math.log(3) + math.log(2)) / 2
    )
    assert negative_log_likelihood_from_logits(torch.tensor([[1e4, 0.0]]), torch.tensor([1])) == pytest.approx(1e4)
    shifted = negative_log_likelihood_from_logits(logits + 50, torch.tensor([2, 1]))
    assert shifted == pytest.approx((math.log(3) + math.log(2)) / 2)


def test_gradients_are_left_behind() -> None:
    probabilities, labels = random_case()
    needs_gradient = probabilities.clone().requires_grad_()
    assert expected_calibration_error(needs_gradient, labels) == expected_calibration_error(probabilities, labels)
    assert brier_score(needs_gradient, labels) == brier_score(probabilities, labels)
    assert isinstance(negative_log_likelihood_from_logits(needs_gradient, labels), float)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[3.0, -2.0]], [0], r"probabilities must lie in \[0, 1\], got values from -2 to 3 \(take softmax of logits\)"),
        ([[0.5, 0.4]], [0], "probabilities must have rows that sum to 1 within 0.0001, got a row that is off by 0.1"),
        ([[0.5, 0.4998]], [0], "rows that sum to 1"),
        ([[0.5, math.nan]], [0], "probabilities must be finite, got 1 NaN"),
        ([0.5, 0.5], [0], "probabilities must have 2 dimensions"),
        ([[0.5, 0.5]], [2], r"labels must lie in \[0, 2\), got values from 2 to 2"),
        ([[0.5, 0.5]], [0.0], "labels must be integers, got torch.float32"),
        ([[0.5, 0.5]], [0, 1], "probabilities and labels must have the same length, got 1 and 2"),
        ([[0, 1]], [0], "probabilities must be floating point, got torch.int64"),
    ],
)
def test_a_refused_batch_changes_nothing(probabilities: list, labels: list, message: str) -> None:
    bins = filled(*random_case())
    before = bins.counts.clone(), bins.expected_calibration_error
    given = torch.tensor(probabilities), torch.tensor(labels)
    with pytest.raises(ValueError, match=message):
        bins.update(*given)
    assert torch.equal(bins.counts, before[0])
    assert bins.expected_calibration_error == before[1]
    with pytest.raises(ValueError, match=message):
        brier_score(*given)


def test_rounding_of_float32_rows_is_accepted() -> None:
    probabilities, labels = random_case(dtype=torch.float32)
    assert filled(probabilities + 5e-6 * probabilities, labels).num_examples == 500


def test_no_examples_have_no_calibration() -> None:
    empty = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
    bins = CalibrationBins()
    bins.update(*empty)
    for name in (
        "expected_calibration_error",
        "maximum_calibration_error",
        "signed_gap",
        "accuracy",
        "mean_confidence",
    ):
        with pytest.raises(ValueError, match="must be updated with at least one example first, got 0"):
            getattr(bins, name)
    assert bins.bin_accuracy.isnan().all()
    with pytest.raises(ValueError, match="probabilities must hold at least one example, got 0"):
        brier_score(*empty)
    with pytest.raises(ValueError, match="logits must hold at least one example, got 0"):
        negative_log_likelihood_from_logits(*empty)


def test_other_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        CalibrationBins(0)
    with pytest.raises(ValueError, match="other must have 15 bins, got 10"):
        CalibrationBins().merge(CalibrationBins(10))
    with pytest.raises(ValueError, match="logits must be finite"):
        negative_log_likelihood_from_logits(torch.tensor([[math.inf, 0.0]]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"logits must be floating point, got torch\.int64"):
        negative_log_likelihood_from_logits(torch.tensor([[1, 0]]), torch.tensor([0]))
