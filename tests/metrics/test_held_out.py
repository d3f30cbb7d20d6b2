import math

import pytest
import torch
from torch import Tensor

from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.held_out import collapse_on_test
from mixscope.metrics.collapse.neural_collapse import neural_collapse


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def statistics_of(features: Tensor, labels: Tensor, num_classes: int) -> ClassStatistics:
    statistics = ClassStatistics(num_classes, features.shape[1])
    for rows, row_labels in zip(features.split(16), labels.split(16), strict=True):
        statistics.update(rows, row_labels)
    return statistics


def example(num: int, *, num_classes: int, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    labels = torch.randint(num_classes, (num,), generator=torch.Generator().manual_seed(seed))
    return 2 * normal(num_classes, dim, seed=9)[labels] + 5 + normal(num, dim, seed=seed), labels


def naive_on_test(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], num_classes: int) -> dict[str, float]:
    """A second pass over the test features, against the training means."""
    means = torch.stack([train[0][train[1] == k].mean(dim=0) for k in range(num_classes)])
    m = means - means.mean(dim=0)
    features, labels = test
    residuals = features - means[labels]
    pinv = torch.linalg.pinv(m.T @ m / num_classes, rtol=1e-12, hermitian=True)
    between = float(m.square().sum()) / num_classes
    tested = sorted(set(labels.tolist()))
    variance = {k: float(residuals[labels == k].square().sum(dim=1).mean()) for k in tested}
    ratios = [
        (variance[i] + variance[j]) / (2 * float((means[i] - means[j]).square().sum()))
        for i in tested
        for j in tested
        if i < j
    ]
    own = sum(float((features[labels == k] - features[labels == k].mean(dim=0)).square().sum()) for k in tested) / len(
        features
    )
    trace = float(residuals.square().sum()) / len(features)
    return {
        "nc1_pinv": float(torch.trace(residuals.T @ residuals @ pinv)) / len(features) / num_classes,
        "nc1_trace": trace / between,
        "nc1_cdnv": sum(ratios) / len(ratios) if ratios else math.nan,
        "own_nc1_trace": own / between,
        "mean_shift": (trace - own) / between,
        "num_classes_tested": len(tested),
    }


@pytest.mark.parametrize(("num_classes", "dim"), [(4, 6), (9, 3)])
def test_the_closed_form_is_the_second_pass(num_classes: int, dim: int) -> None:
    train = example(300, num_classes=num_classes, dim=dim, seed=0)
    test = example(70, num_classes=num_classes, dim=dim, seed=1)
    found = collapse_on_test(statistics_of(*train, num_classes), statistics_of(*test, num_classes))
    assert found.as_dict() == pytest.approx(naive_on_test(train, test, num_classes), rel=1e-9)
    assert found.nc1_trace == pytest.approx(found.own_nc1_trace + found.mean_shift)


def test_classes_without_test_examples_take_no_part() -> None:
    train, test = example(300, num_classes=5, dim=6, seed=0), example(40, num_classes=5, dim=6, seed=1)
    for kept, num_tested in ((test[1] > 1, 3), (test[1] == 2, 1)):
        part = test[0][kept], test[1][kept]
        found = collapse_on_test(statistics_of(*train, 5), statistics_of(*part, 5))
        assert found.num_classes_tested == num_tested
        assert found.as_dict() == pytest.approx(naive_on_test(train, part, 5), rel=1e-9, nan_ok=True)


def test_the_training_set_as_its_own_test_set_gives_the_report() -> None:
    train = statistics_of(*example(200, num_classes=4, dim=6, seed=0), 4)
    report = neural_collapse(train, normal(4, 6, seed=3))
    found = collapse_on_test(train, train)
    for name in ("nc1_pinv", "nc1_trace", "nc1_cdnv"):
        assert getattr(found, name) == pytest.approx(getattr(report, name), rel=1e-12), name
    assert found.mean_shift == 0


def test_test_means_that_moved_show_although_each_set_is_collapsed() -> None:
    labels = torch.arange(8) % 4
    centers = normal(4, 6)
    moved = centers + torch.ones(6, dtype=torch.float64)
    found = collapse_on_test(statistics_of(centers[labels], labels, 4), statistics_of(moved[labels], labels, 4))
    between = float((centers - centers.mean(dim=0)).square().sum()) / 4
    assert found.own_nc1_trace == pytest.approx(0, abs=1e-20)
    assert found.mean_shift == pytest.approx(6 / between)


def test_training_means_that_coincide_are_undefined_not_collapsed() -> None:
    constant = torch.ones(6, 2, dtype=torch.float64)
    labels = torch.arange(6) % 3
    train = statistics_of(constant, labels, 3)
    found = collapse_on_test(train, statistics_of(constant + normal(6, 2), labels, 3))
    assert found.nc1_trace == math.inf
    assert found.nc1_cdnv == math.inf
    assert found.own_nc1_trace == math.inf
    assert found.mean_shift == math.inf
    assert math.isnan(found.nc1_pinv)
    assert math.isnan(collapse_on_test(train, train).nc1_trace)  # a constant network: 0 / 0


def test_what_does_not_fit_is_named() -> None:
    train = statistics_of(*example(200, num_classes=4, dim=6, seed=0), 4)
    with pytest.raises(ValueError, match=r"test must have the num_classes and dim of train, \(4, 6\), got \(4, 5\)"):
        collapse_on_test(train, ClassStatistics(4, 5))
    with pytest.raises(ValueError, match="test must hold at least one example, got 0"):
        collapse_on_test(train, ClassStatistics(4, 6))
    partial = ClassStatistics(4, 6)
    partial.update(normal(2, 6), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="got none of 1, 2"):
        collapse_on_test(partial, train)
