import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics.collapse.nearest_mean import NearestMeanCounts


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mismatch(features: Tensor, means: Tensor, head: Tensor, bias: Tensor | None = None) -> float:
    nearest, chosen = NearestMeanCounts(means, head, bias).decide(features)
    return float((nearest != chosen).double().mean())


def naive_decisions(features: Tensor, means: Tensor, head: Tensor, bias: Tensor) -> tuple[list[int], list[int]]:
    features, means, head, bias = (part.double() for part in (features, means, head, bias))
    nearest = [min(range(len(means)), key=lambda k, h=h: float((h - means[k]).norm())) for h in features]
    chosen = [max(range(len(means)), key=lambda k, h=h: float(h @ head[k] + bias[k])) for h in features]
    return nearest, chosen


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_shares_agree_with_one_example_after_the_other(dtype: torch.dtype, shift: float) -> None:
    features, means, head = (normal(200, 5) + shift).to(dtype), normal(4, 5, seed=1) + shift, normal(4, 5, seed=2)
    bias, labels = normal(4, seed=3), torch.arange(200) % 4
    nearest, chosen = naive_decisions(features, means, head, bias)
    counts = NearestMeanCounts(means, head, bias)
    for rows, row_labels in zip(features.split(33), labels.split(33), strict=True):
        counts.update(rows, row_labels)
    assert counts.num_examples == 200
    assert counts.mismatch == sum(a != b for a, b in zip(nearest, chosen, strict=True)) / 200
    assert counts.accuracy == sum(a == b for a, b in zip(nearest, labels.tolist(), strict=True)) / 200
    assert counts.classifier_accuracy == sum(a == b for a, b in zip(chosen, labels.tolist(), strict=True)) / 200
    assert mismatch(features, means, head, bias) == counts.mismatch
    if shift == 0:
        assert 0.2 < counts.mismatch < 0.9


def test_float32_features_are_decided_as_in_float64() -> None:
    # Class means so close that float32 scores of one row in three point elsewhere.
    features, means = normal(2000, 50).float(), 1e-5 * normal(6, 50, seed=1)
    head = 1e-5 * normal(6, 50, seed=2) + normal(50, seed=3)
    nearest, chosen = NearestMeanCounts(means, head).decide(features)
    exact = torch.cdist(features.double(), means, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    assert torch.equal(nearest, exact)
    assert torch.equal(chosen, (features.double() @ (head - head.mean(dim=0)).T).argmax(dim=1))
    single = torch.addmm(-means.square().sum(dim=1).float() / 2 + 1, features, means.float().T).argmax(dim=1)
    assert not torch.equal(single, exact)  # so the test can tell


def test_the_callers_precision_settings_change_no_decision() -> None:
    features, means, head = normal(3000, 60).float(), normal(5, 60, seed=1), normal(5, 60, seed=2)
    plain = NearestMeanCounts(means, head).decide(features)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            found = NearestMeanCounts(means, head).decide(features)
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


@pytest.mark.parametrize("made_inside", [True, False])
def test_counts_cross_the_border_of_inference_mode_both_ways(made_inside: bool) -> None:
    features, means, head = normal(60, 3).float(), normal(4, 3, seed=1), normal(4, 3, seed=2)
    labels = torch.arange(60) % 4
    expected = NearestMeanCounts(means, head)
    expected.update(features, labels)
    with torch.inference_mode(made_inside):
        counts = NearestMeanCounts(means.clone(), head.clone())
        counts.update(features[:20].clone(), labels[:20])
    with torch.inference_mode(not made_inside):
        counts.update(features[20:], labels[20:])
        nearest, chosen = counts.decide(features)
    nearest[0], chosen[0] = 0, 0  # results belong to the caller, who may change them anywhere
    assert (counts.mismatch, counts.accuracy) == (expected.mismatch, expected.accuracy)


def test_equal_scores_go_to_the_lower_class() -> None:
    means = torch.tensor([[1.0], [-1.0], [-1.0]])
    nearest, chosen = NearestMeanCounts(means, torch.zeros(3, 1)).decide(torch.tensor([[0.0], [-2.0]]))
    assert nearest.tolist() == [0, 1]
    assert chosen.tolist() == [0, 0]


def test_the_nearest_mean_rule_written_as_a_classifier_needs_its_bias() -> None:
    features, means = normal(300, 5), 2 * normal(4, 5, seed=1) + 1
    bias = -means.square().sum(dim=1) / 2
    assert mismatch(features, means, means, bias) == 0
    assert mismatch(features, means, means) > 0.1


def test_nc4_keeps_its_digits_under_a_large_mean() -> None:
    # Class means 1e-6 apart at 1e6: |h|^2 - 2 h.mu + |mu|^2 has no digit left, distances after a shift do.
    means = 1e6 + torch.tensor([[0.0], [1e-6]], dtype=torch.float64)
    features = 1e6 + torch.tensor([[-1e-7], [1.1e-6]], dtype=torch.float64)
    head = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, -1e6 - 5e-7], dtype=torch.float64)
    assert mismatch(features, means, head, bias) == 0
    assert mismatch(features, means, -head, -bias) == 1


def test_nothing_counted_is_undefined() -> None:
    counts = NearestMeanCounts(torch.eye(2), torch.eye(2))
    counts.update(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert all(math.isnan(value) for value in (counts.mismatch, counts.accuracy, counts.classifier_accuracy))


def test_what_does_not_fit_is_named_and_counts_nothing() -> None:
    with pytest.raises(ValueError, match=r"head_weight must have shape \(3, 2\), got \(4, 2\)"):
        NearestMeanCounts(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"head_bias must have shape \(3,\), got \(2,\)"):
        NearestMeanCounts(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="class_means must be finite"):
        NearestMeanCounts(torch.full((3, 2), math.inf), torch.zeros(3, 2))
    counts = NearestMeanCounts(torch.zeros(3, 2), torch.zeros(3, 2))
    two = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"features must be float with the 2 columns of class_means, got .*\(2, 3\)"):
        counts.update(torch.zeros(2, 3), two)
    with pytest.raises(ValueError, match="features must be finite"):
        counts.update(torch.full((2, 2), math.nan), two)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\)"):
        counts.update(torch.zeros(2, 2), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="features and labels must have the same length, got 1 and 2"):
        counts.update(torch.zeros(1, 2), two)
    assert counts.num_examples == 0
