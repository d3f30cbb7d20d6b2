import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics.class_statistics.statistics import ClassMoments, ClassStatistics
from mixscope.metrics.collapse.neural_collapse import neural_collapse
from mixscope.metrics.collapse.other_tools import as_galanti2021, as_papyan2020, as_rangamani, as_tirer, as_zhu2021

NUM_CLASSES, DIM = 5, 8


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


BALANCED = torch.arange(60) % NUM_CLASSES
IMBALANCED = torch.cat([torch.arange(NUM_CLASSES), torch.tensor([0] * 30 + [1] * 12 + [2] * 7 + [3] * 3 + [4] * 3)])


@pytest.fixture(params=[BALANCED, IMBALANCED], ids=["balanced", "imbalanced"])
def case(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor, ClassStatistics]:
    labels = request.param
    features = 3 + 2 * normal(NUM_CLASSES, DIM, seed=1)[labels] + normal(len(labels), DIM)
    head = normal(NUM_CLASSES, DIM, seed=2) + 0.4
    statistics = ClassStatistics(NUM_CLASSES, DIM)
    for rows, row_labels in zip(features.split(9), labels.split(9), strict=True):
        statistics.update(rows, row_labels)
    return features, labels, head, statistics


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([features[labels == k].mean(dim=0) for k in range(NUM_CLASSES)])


def within(features: Tensor, labels: Tensor) -> Tensor:
    residuals = features - class_means(features, labels)[labels]
    return residuals.T @ residuals / len(features)


def naive_notebook(features: Tensor, labels: Tensor, head: Tensor) -> dict[str, float]:
    """Columns are classes; the pseudo-inverse from the K - 1 largest eigenvalues."""
    m = class_means(features, labels).T
    m = m - m.mean(dim=1, keepdim=True)
    w = head.T
    values, vectors = torch.linalg.eigh(m @ m.T / NUM_CLASSES)
    values, vectors = values[-(NUM_CLASSES - 1) :], vectors[:, -(NUM_CLASSES - 1) :]
    inverse = vectors @ torch.diag(1 / values) @ vectors.T

    def coherence(columns: Tensor) -> float:
        unit = columns / columns.norm(dim=0)
        gram = unit.T @ unit + 1 / (NUM_CLASSES - 1)
        gram.fill_diagonal_(0)
        return float(gram.abs().sum()) / (NUM_CLASSES * (NUM_CLASSES - 1))

    def variation(columns: Tensor) -> float:
        lengths = [float(column.norm()) for column in columns.T]
        mean = sum(lengths) / len(lengths)
        return math.sqrt(sum((length - mean) ** 2 for length in lengths) / (len(lengths) - 1)) / mean

    return {
        "Sw_invSb": float(torch.trace(within(features, labels) @ inverse)),
        "norm_M_CoV": variation(m),
        "norm_W_CoV": variation(w),
        "cos_M": coherence(m),
        "cos_W": coherence(w),
        "W_M_dist": float((w / w.norm() - m / m.norm()).square().sum()),
    }


def naive_zhu(features: Tensor, labels: Tensor, head: Tensor) -> dict[str, float]:
    m = class_means(features, labels) - features.mean(dim=0)
    between = sum(torch.outer(row, row) for row in m) / NUM_CLASSES
    product = head @ m.T
    simplex = (torch.eye(NUM_CLASSES, dtype=torch.float64) - 1 / NUM_CLASSES) / math.sqrt(NUM_CLASSES - 1)
    pinv = torch.linalg.pinv(between, rtol=1e-12, hermitian=True)
    return {
        "collapse_metric": float(torch.trace(within(features, labels) @ pinv)) / NUM_CLASSES,
        "WH_relation_metric": float((product / product.norm() - simplex).norm()),
    }


def test_the_notebook_after_papyan(case: tuple[Tensor, Tensor, Tensor, ClassStatistics]) -> None:
    features, labels, head, statistics = case
    assert as_papyan2020(statistics, head) == pytest.approx(naive_notebook(features, labels, head), rel=1e-10)


def test_zhu(case: tuple[Tensor, Tensor, Tensor, ClassStatistics]) -> None:
    features, labels, head, statistics = case
    assert as_zhu2021(statistics, head) == pytest.approx(naive_zhu(features, labels, head), rel=1e-10)


def test_the_forms_by_traces_and_by_pairs(case: tuple[Tensor, Tensor, Tensor, ClassStatistics]) -> None:
    features, labels, _, statistics = case
    means = class_means(features, labels)
    between = sum(float((row - means.mean(dim=0)).square().sum()) for row in means) / NUM_CLASSES
    inside = float(torch.trace(within(features, labels)))
    variance = [float((features[labels == k] - means[k]).square().sum(dim=1).mean()) for k in range(NUM_CLASSES)]
    ratios = [
        (variance[i] + variance[j]) / (2 * float((means[i] - means[j]).norm()) ** 2)
        for i in range(NUM_CLASSES)
        for j in range(NUM_CLASSES)
        if i != j
    ]
    moments = ClassMoments(NUM_CLASSES, DIM)
    moments.update(features, labels)
    for one in (statistics, moments):  # the cheap form is enough
        assert as_tirer(one) == pytest.approx(inside / between, rel=1e-10)
        assert as_rangamani(one) == pytest.approx(inside / (inside + between), rel=1e-10)
        assert as_galanti2021(one) == pytest.approx(sum(ratios) / len(ratios), rel=1e-10)


def test_how_the_presets_hang_together_with_the_report(
    case: tuple[Tensor, Tensor, Tensor, ClassStatistics],
) -> None:
    _, labels, head, statistics = case
    report = neural_collapse(statistics, head)
    by_sample_mean = neural_collapse(statistics, head, center=statistics.sample_mean)
    notebook, zhu = as_papyan2020(statistics, head), as_zhu2021(statistics, head)
    assert notebook["Sw_invSb"] == pytest.approx(report.nc1_pinv_sum, rel=1e-12)
    unbiased = math.sqrt(NUM_CLASSES / (NUM_CLASSES - 1))
    assert notebook["norm_M_CoV"] == pytest.approx(unbiased * report.nc2_equinorm_means, rel=1e-12)
    assert notebook["norm_W_CoV"] == pytest.approx(unbiased * report.nc2_equinorm_weights_uncentered, rel=1e-12)
    assert notebook["cos_M"] == pytest.approx(report.nc2_equiangular_means, rel=1e-12)
    assert notebook["cos_W"] == pytest.approx(report.nc2_equiangular_weights_uncentered, rel=1e-12)
    assert zhu["collapse_metric"] == pytest.approx(by_sample_mean.nc1_pinv, rel=1e-12)
    is_balanced = len(labels) == len(BALANCED) and bool((labels == BALANCED).all())
    assert (zhu["collapse_metric"] == pytest.approx(report.nc1_pinv, rel=1e-9)) == is_balanced
    # With the classifier's rows centred both agree with the headline numbers.
    centered = head - head.mean(dim=0)
    assert as_papyan2020(statistics, centered)["W_M_dist"] == pytest.approx(report.nc3_duality_squared, rel=1e-12)
    assert as_zhu2021(statistics, centered)["WH_relation_metric"] == pytest.approx(
        by_sample_mean.nc3_product, rel=1e-12
    )


def test_presets_name_what_does_not_fit() -> None:
    statistics = ClassStatistics(3, 2)
    statistics.update(torch.zeros(1, 2), torch.tensor([1]))
    for preset in (as_papyan2020, as_zhu2021):
        with pytest.raises(ValueError, match="statistics must hold an example of every class, got none of 0, 2"):
            preset(statistics, torch.zeros(3, 2))
        with pytest.raises(ValueError, match=r"head_weight must have shape \(3, 2\), got \(2, 2\)"):
            preset(statistics, torch.zeros(2, 2))
    for single in (as_tirer, as_rangamani, as_galanti2021):
        with pytest.raises(ValueError, match="got none of 0, 2"):
            single(statistics)
