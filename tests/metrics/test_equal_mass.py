import pytest
import torch
from calibration_cases import equal_mass_calibration_error, random_case, two_class

from mixscope.metrics.calibration.top_label import equal_mass_reliability


def naive_equal_mass(pairs: list[tuple[float, float]], num_bins: int) -> float:
    """Error of (confidence, correct) pairs without ties, bin after bin."""
    pairs = sorted(pairs)
    num = len(pairs)
    error = 0.0
    for b in range(num_bins):
        held = pairs[b * num // num_bins : (b + 1) * num // num_bins]
        error += abs(sum(c - right for c, right in held))
    return error / num


@pytest.mark.parametrize("num_bins", [1, 7, 15, 500])
def test_bins_agree_with_their_definition(num_bins: int) -> None:
    probabilities, labels = random_case()
    confidence, prediction = probabilities.max(dim=1)
    right = (prediction == labels).double()
    expected = naive_equal_mass(list(zip(confidence.tolist(), right.tolist(), strict=True)), num_bins)
    assert equal_mass_calibration_error(probabilities, labels, num_bins=num_bins) == pytest.approx(expected, rel=1e-12)
    counts = equal_mass_reliability(confidence, right, num_bins=num_bins).counts
    assert counts.sum() == 500
    assert counts.max() - counts.min() <= 1


def test_five_examples_by_hand() -> None:
    # Bins {.5} {.625, .75} and so on: cuts at 0, 2, 5 for two bins of five.
    diagram = equal_mass_reliability(
        torch.tensor([0.75, 0.5, 1.0, 0.625, 0.875]), torch.tensor([1, 0, 1, 1, 0]), num_bins=2
    )
    assert diagram.counts.tolist() == [2, 3]
    assert diagram.confidence.tolist() == [0.5625, 0.875]
    assert diagram.accuracy.tolist() == pytest.approx([0.5, 2 / 3])
    assert diagram.edges.tolist() == [0.5, 0.6875, 1.0]
    assert diagram.error == pytest.approx((2 * 0.0625 + 3 * (0.875 - 2 / 3)) / 5)


def test_the_order_of_equal_confidences_does_not_matter() -> None:
    confidence = torch.tensor([0.5] * 10 + [0.9] * 11 + [1.0] * 9)
    right = torch.tensor([1, 0] * 15).double()
    found = {
        equal_mass_reliability(confidence[order], right[order], num_bins=4).error
        for seed in range(10)
        for order in [torch.randperm(30, generator=torch.Generator().manual_seed(seed))]
    }
    # Wherever the cuts fall, an example of confidence 0.9 counts with the mean accuracy at 0.9. The order of sums is
    # the same, so the numbers are equal; the sets of values differ by rounding at most.
    assert max(found) - min(found) < 1e-15
    rights = {c: right[confidence == c].mean().item() for c in confidence.unique().tolist()}
    shared = [(c, rights[c]) for c in confidence.tolist()]
    assert max(found) == pytest.approx(naive_equal_mass(shared, 4), rel=1e-6)


def test_one_confidence_for_all_leaves_its_gap() -> None:
    labels = torch.tensor([0] * 70 + [1] * 30)
    assert equal_mass_calibration_error(two_class([0.9] * 100), labels) == pytest.approx(0.2)


def test_fewer_examples_than_bins_have_a_bin_each() -> None:
    probabilities = two_class([0.75, 1.0])
    diagram = equal_mass_reliability(probabilities[:, 0], torch.tensor([True, False]))
    assert diagram.counts.tolist() == [1, 1]
    assert equal_mass_calibration_error(probabilities, torch.tensor([0, 1])) == pytest.approx((0.25 + 1) / 2)
    assert equal_mass_calibration_error(probabilities[1:], torch.tensor([0])) == 0


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        equal_mass_calibration_error(two_class([0.5]), torch.tensor([0]), num_bins=0)
    with pytest.raises(
        ValueError, match=r"confidence and is_correct must have one shape \(N,\), got \(2,\) and \(3,\)"
    ):
        equal_mass_reliability(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="confidence must hold at least one example, got 0"):
        equal_mass_reliability(torch.zeros(0), torch.zeros(0))
