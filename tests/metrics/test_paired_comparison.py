"""Two classifiers on the same examples, against naive twins."""

import math

import pytest
import torch
from calibration_cases import (
    expected_calibration_error_from_logits,
    negative_log_likelihood_from_logits,
    random_logits,
)

from mixscope.metrics import bootstrap
from mixscope.metrics.calibration import predictions
from mixscope.metrics.paired_comparison import compare_predictions, mcnemar


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def case():
    first, labels = random_logits(60)
    return first, first / 2 + torch.randn(60, 6, generator=stream(9), dtype=torch.float64), labels


def test_the_comparison_is_that_of_naive_resampling(case):
    first, second, labels = case
    found = compare_predictions(first, second, labels, generator=stream(4), num_bins=5, num_resamples=80, level=0.9)
    draws = torch.randint(60, (80, 60), generator=stream(4))

    def difference(measure, rows, **options):
        return measure(second[rows], labels[rows], **options) - measure(first[rows], labels[rows], **options)

    ends = torch.tensor([0.05, 0.95], dtype=torch.float64)
    everything = torch.arange(60)
    losses = torch.tensor([difference(negative_log_likelihood_from_logits, rows) for rows in draws]).double()
    assert found.loss.value == pytest.approx(difference(negative_log_likelihood_from_logits, everything), rel=1e-10)
    assert [found.loss.low, found.loss.high] == pytest.approx(torch.quantile(losses, ends).tolist(), rel=1e-6)
    eces = [difference(expected_calibration_error_from_logits, rows, num_bins=5) for rows in draws]
    value = difference(expected_calibration_error_from_logits, everything, num_bins=5)
    low, high = torch.quantile(torch.tensor(eces, dtype=torch.float64), ends).tolist()
    assert found.ece.value == pytest.approx(value, rel=1e-10)
    assert [found.ece.low, found.ece.high] == pytest.approx([2 * value - high, 2 * value - low], rel=1e-6)
    wrong = [logits.argmax(dim=1) != labels for logits in (first, second)]
    assert (found.first_error, found.second_error) == pytest.approx([float(w.double().mean()) for w in wrong])
    assert found.only_first_wrong == sum(a and not b for a, b in zip(*(w.tolist() for w in wrong), strict=True))
    assert found.only_second_wrong == sum(b and not a for a, b in zip(*(w.tolist() for w in wrong), strict=True))


def test_a_classifier_does_not_differ_from_itself(case):
    first, _, labels = case
    found = compare_predictions(first, first + 3, labels, generator=stream(), num_resamples=50)
    assert (found.only_first_wrong, found.only_second_wrong, found.p_value) == (0, 0, 1.0)
    assert [found.loss.low, found.loss.high, found.ece.low, found.ece.high] == pytest.approx([0] * 4, abs=1e-14)


def test_neither_blocks_nor_the_number_of_classes_matter(case, monkeypatch):
    first, second, labels = case
    wide = torch.cat([second, torch.full((60, 2), -1e4, dtype=torch.float64)], dim=1)
    whole = compare_predictions(first, second, labels, generator=stream(), num_resamples=30)
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 40)
    monkeypatch.setattr(bootstrap, "BLOCK_DRAWS", 100)
    again = compare_predictions(first, wide, labels, generator=stream(), num_resamples=30)
    assert (again.p_value, again.only_first_wrong) == (whole.p_value, whole.only_first_wrong)
    ends = [(found.loss.low, found.loss.high, found.ece.low, found.ece.high) for found in (again, whole)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)


def test_swapping_the_sides_turns_the_differences_round(case):
    first, second, labels = case
    there = compare_predictions(first, second, labels, generator=stream(), num_resamples=200)
    back = compare_predictions(second, first, labels, generator=stream(), num_resamples=200)
    assert back.p_value == there.p_value
    assert (back.loss.low, back.loss.high) == pytest.approx((-there.loss.high, -there.loss.low), rel=1e-9)
    assert (back.ece.low, back.ece.high) == pytest.approx((-there.ece.high, -there.ece.low), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"second_logits": torch.zeros(59, 6)}, "second_logits: logits and labels must have the same length"),
        ({"first_logits": torch.full((60, 6), math.nan)}, "first_logits: logits must be finite"),
        ({"second_logits": torch.zeros(60, 2)}, "second_logits: labels must lie in"),
        ({"num_bins": 0}, "num_bins must be at least 1, got 0"),
        ({"level": 1.0}, "level must lie in"),
    ],
)
def test_errors_name_the_argument(case, changes, message):
    first, second, labels = case
    arguments = {"first_logits": first, "second_logits": second, "labels": labels, "generator": stream()} | changes
    with pytest.raises(ValueError, match=message):
        compare_predictions(**arguments)


def test_mcnemar_refuses_what_is_no_pair_of_answers():
    right = torch.tensor([True, False])
    with pytest.raises(ValueError, match=r"second_right must be bool, got torch\.int64"):
        mcnemar(right, right.long())
    with pytest.raises(ValueError, match="first_right and second_right must have the same length, got 2 and 1"):
        mcnemar(right, right[:1])
    with pytest.raises(ValueError, match="first_right must hold at least one example"):
        mcnemar(right[:0], right[:0])
