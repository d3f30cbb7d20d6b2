import pytest
import torch
from calibration_cases import BAD_PROBABILITIES, classwise_calibration_error, random_case, random_logits, two_class
from torch import Tensor

from mixscope.metrics.calibration.scores import ClasswiseCalibration
from mixscope.metrics.calibration.top_label import CalibrationBins


def naive_classwise(probabilities: Tensor, labels: Tensor, num_bins: int) -> list[float]:
    """Error of every class, one class, bin and example after the other."""
    errors = []
    for k in range(probabilities.shape[1]):
        error = 0.0
        for b in range(num_bins):
            held = [
                (row[k], label == k)
                for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True)
                if b / num_bins < row[k] <= (b + 1) / num_bins or (b == 0 and row[k] == 0)
            ]
            if held:
                error += abs(sum(p for p, _ in held) - sum(is_label for _, is_label in held))
        errors.append(error / len(labels))
    return errors


@pytest.mark.parametrize("num_bins", [1, 4, 15])
def test_classwise_errors_agree_with_their_definition(num_bins: int) -> None:
    probabilities, labels = random_case(num=200, num_classes=5)
    probabilities[0] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    expected = naive_classwise(probabilities, labels, num_bins)
    classwise = ClasswiseCalibration(5, num_bins)
    classwise.update(probabilities, labels)
    assert classwise.class_errors.tolist() == pytest.approx(expected, rel=1e-12)
    assert classwise.classwise_calibration_error == pytest.approx(sum(expected) / 5, rel=1e-12)
    assert classwise_calibration_error(probabilities, labels, num_bins=num_bins) == pytest.approx(sum(expected) / 5)


def test_two_classes_by_hand() -> None:
    # Class 0 has .75 (right) and 1 (wrong), class 1 has .25 and 0: |1.75 - 1| / 2 and |.25 - 1| / 2.
    classwise = ClasswiseCalibration(2, num_bins=1)
    classwise.update(two_class([0.75, 1.0]), torch.tensor([0, 1]))
    assert classwise.class_errors.tolist() == [0.375, 0.375]
    diagram = classwise.reliability(1)
    assert diagram.counts.tolist() == [2]
    assert diagram.confidence.tolist() == [0.125]
    assert diagram.accuracy.tolist() == [0.5]


def test_a_network_that_says_the_frequencies_is_calibrated() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    probabilities = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64).repeat(10, 1)
    assert classwise_calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-15)


def test_zero_and_one_are_in_the_outer_bins_and_counted() -> None:
    classwise = ClasswiseCalibration(2)
    classwise.update(two_class([1.0, 0.0]), torch.tensor([0, 0]))
    assert classwise.reliability(0).counts.tolist() == [1] + [0] * 13 + [1]
    assert classwise.state()["counts"][0].sum() == 2


@pytest.mark.parametrize("batch_size", [1, 33, 500])
def test_batches_order_and_merging_do_not_matter(batch_size: int) -> None:
    logits, labels = random_logits()
    expected = ClasswiseCalibration(6)
    expected.update(torch.softmax(logits, dim=1), labels)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(2))
    first, second = ClasswiseCalibration(6), ClasswiseCalibration(6)
    for position, rows in enumerate(order.split(batch_size)):
        (first, second)[position % 2].update_logits(logits[rows], labels[rows])
    first.merge(second)
    again = ClasswiseCalibration.from_state(first.state())
    for classwise in (first, again):
        for name, value in expected.state().items():
            torch.testing.assert_close(classwise.state()[name], value, rtol=1e-12, atol=1e-14)


def test_renamed_classes_have_renamed_errors() -> None:
    probabilities, labels = random_case()
    names = torch.tensor([3, 5, 0, 1, 4, 2])
    renamed = torch.empty_like(probabilities)
    renamed[:, names] = probabilities
    original, changed = ClasswiseCalibration(6), ClasswiseCalibration(6)
    original.update(probabilities, labels)
    changed.update(renamed, names[labels])
    torch.testing.assert_close(changed.class_errors[names], original.class_errors, rtol=1e-12, atol=0)


def test_strided_and_half_precision_probabilities_are_taken() -> None:
    probabilities, labels = random_case(dtype=torch.float32)
    expected = classwise_calibration_error(probabilities, labels)
    assert classwise_calibration_error(probabilities.T.contiguous().T, labels) == expected
    assert classwise_calibration_error(probabilities.half(), labels) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("probabilities", "labels", "message"), BAD_PROBABILITIES[:4] + BAD_PROBABILITIES[5:7])
def test_a_refused_batch_changes_nothing(probabilities: list, labels: list, message: str) -> None:
    classwise = ClasswiseCalibration(2)
    classwise.update(two_class([0.75, 1.0]), torch.tensor([0, 1]))
    before = classwise.state()
    with pytest.raises(ValueError, match=message):
        classwise.update(torch.tensor(probabilities), torch.tensor(labels))
    assert all(torch.equal(value, classwise.state()[name]) for name, value in before.items())


def test_mistakes_are_named() -> None:
    classwise = ClasswiseCalibration(3, num_bins=5)
    with pytest.raises(ValueError, match="probabilities must have 3 classes, got 2"):
        classwise.update(two_class([0.5]), torch.tensor([0]))
    with pytest.raises(ValueError, match="logits must have 3 classes, got 2"):
        classwise.update_logits(two_class([0.5]), torch.tensor([0]))
    with pytest.raises(ValueError, match="probabilities must have 2 dimensions"):
        classwise.update(torch.zeros(3), torch.tensor([0]))
    with pytest.raises(ValueError, match="logits must be finite"):
        classwise.update_logits(torch.full((1, 3), torch.inf), torch.tensor([0]))
    with pytest.raises(
        ValueError, match=r"other must be a ClasswiseCalibration of the same size \(3, 5\), got a .* \(3, 15\)"
    ):
        classwise.merge(ClasswiseCalibration(3))
    with pytest.raises(ValueError, match="ClasswiseCalibration must be updated with at least one example first, got 0"):
        classwise.classwise_calibration_error  # noqa: B018
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ClasswiseCalibration(0)
    with pytest.raises(ValueError, match=r"label must lie in \[0, 3\), got 3"):
        classwise.reliability(3)
    with pytest.raises(ValueError, match="state must hold tensors of one shape with 2 dimensions"):
        ClasswiseCalibration.from_state({name: torch.zeros(3) for name in classwise.state()})
    with pytest.raises(ValueError, match="state must have the keys counts, probability_sums, label_sums"):
        ClasswiseCalibration.from_state(CalibrationBins().state())
