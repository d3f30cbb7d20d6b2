import math

import pytest
import torch
from calibration_cases import (
    BAD_LOGITS,
    BAD_PROBABILITIES,
    brier_score,
    brier_score_from_logits,
    negative_log_likelihood,
    negative_log_likelihood_from_logits,
    random_case,
    random_logits,
    two_class,
)

from mixscope.metrics.calibration import predictions
from mixscope.metrics.calibration.scores import ProperScores


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


def test_a_brier_score_near_zero_keeps_its_digits() -> None:
    # (1e-9)^2 twice; sum p^2 - 2 p_y + 1 would give rounding noise of 1e-16.
    probabilities = torch.tensor([[1 - 1e-9, 1e-9]], dtype=torch.float64)
    assert brier_score(probabilities, torch.tensor([0])) == pytest.approx(2e-18, rel=1e-6, abs=0)


def test_negative_log_likelihood_by_hand_and_for_large_logits() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0], [0.0, math.log(2), 0.0]], dtype=torch.float64)
    expected = (math.log(3) + math.log(2)) / 2
    labels = torch.tensor([2, 1])
    assert negative_log_likelihood_from_logits(logits, labels) == pytest.approx(expected)
    assert negative_log_likelihood_from_logits(logits + 50, labels) == pytest.approx(expected)
    assert negative_log_likelihood(torch.softmax(logits, dim=1), labels) == pytest.approx(expected)
    assert negative_log_likelihood_from_logits(torch.tensor([[1e4, 0.0]]), torch.tensor([1])) == pytest.approx(1e4)


def test_a_label_of_probability_zero_has_infinite_loss() -> None:
    assert negative_log_likelihood(two_class([1.0, 0.5]), torch.tensor([1, 0])) == math.inf
    assert negative_log_likelihood(two_class([1.0]), torch.tensor([0])) == 0


def test_logits_and_their_probabilities_score_the_same() -> None:
    logits, labels = random_logits()
    probabilities = torch.softmax(logits, dim=1)
    assert brier_score_from_logits(logits, labels) == pytest.approx(brier_score(probabilities, labels), rel=1e-12)
    expected = negative_log_likelihood(probabilities, labels)
    assert negative_log_likelihood_from_logits(logits, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("block", [1, 64, 10**6])
def test_batches_order_blocks_and_merging_do_not_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    logits, labels = random_logits()
    brier, nll = brier_score_from_logits(logits, labels), negative_log_likelihood_from_logits(logits, labels)
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", block)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    first, second, third = ProperScores(), ProperScores(), ProperScores()
    first.update_logits(logits[order[:7]], labels[order[:7]])
    second.update(torch.softmax(logits[order[7:300]], dim=1), labels[order[7:300]])
    third.update_logits(logits[order[300:]], labels[order[300:]])
    third.update_logits(logits[:0], labels[:0])
    second.merge(third)
    first.merge(second)
    again = ProperScores.from_state(first.state())
    for scores in (first, again):
        assert scores.state()["counts"] == 500
        assert scores.brier_score == pytest.approx(brier, rel=1e-12)
        assert scores.negative_log_likelihood == pytest.approx(nll, rel=1e-12)
    assert second.state()["counts"] == 493


def test_names_of_the_classes_and_gradients_do_not_matter() -> None:
    logits, labels = random_logits()
    names = torch.tensor([3, 5, 0, 1, 4, 2])
    renamed = torch.empty_like(logits)
    renamed[:, names] = logits
    renamed.requires_grad_()
    for measure in (brier_score_from_logits, negative_log_likelihood_from_logits):
        assert measure(renamed, names[labels]) == pytest.approx(measure(logits, labels), rel=1e-12)


def test_half_precision_is_scored_in_float64() -> None:
    logits, labels = random_logits()
    half = logits.to(torch.float16)
    expected = negative_log_likelihood_from_logits(half.double(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert negative_log_likelihood_from_logits(half, labels) == expected


@pytest.mark.parametrize(("probabilities", "labels", "message"), BAD_PROBABILITIES)
def test_a_refused_batch_changes_nothing(probabilities: list, labels: list, message: str) -> None:
    given = torch.tensor(probabilities), torch.tensor(labels)
    scores = ProperScores()
    scores.update(*random_case())
    before = scores.state()
    with pytest.raises(ValueError, match=message):
        scores.update(*given)
    assert scores.state() == before


@pytest.mark.parametrize(("logits", "labels", "message"), BAD_LOGITS)
def test_refused_logits_change_nothing(logits: list, labels: list, message: str) -> None:
    given = torch.tensor(logits), torch.tensor(labels)
    scores = ProperScores()
    with pytest.raises(ValueError, match=message):
        scores.update_logits(*given)
    assert scores.state()["counts"] == 0


def test_no_examples_have_no_score() -> None:
    for name in ("brier_score", "negative_log_likelihood"):
        with pytest.raises(ValueError, match="ProperScores must be updated with at least one example first, got 0"):
            getattr(ProperScores(), name)
