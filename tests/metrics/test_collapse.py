import math
from dataclasses import fields, replace

import mpmath
import pytest
import torch
from torch import Tensor

from mixscope.metrics.collapse import (
    CollapseReport,
    count_nearest_mean_mismatches,
    nearest_class_mean_mismatch,
    neural_collapse,
)
from mixscope.metrics.statistics import ClassStatistics
from mixscope.simplex import simplex_etf


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def statistics_of(features: Tensor, labels: Tensor, num_classes: int, *, batch_size: int = 64) -> ClassStatistics:
    statistics = ClassStatistics(num_classes, features.shape[1])
    for rows, row_labels in zip(features.split(batch_size), labels.split(batch_size), strict=True):
        statistics.update(rows, row_labels)
    return statistics


def example(num_classes: int = 4, dim: int = 6, *, seed: int = 0, num: int = 101) -> tuple[Tensor, Tensor, Tensor]:
    """Imbalanced features around random means, and a classifier that has little to do with them."""
    stream = torch.Generator().manual_seed(seed)
    drawn = (torch.rand(num - num_classes, generator=stream).sqrt() * num_classes).long()
    labels = torch.cat([torch.arange(num_classes), drawn])
    features = 2 * normal(num_classes, dim, seed=seed + 1)[labels] + normal(num, dim, seed=seed + 2)
    return features, labels, normal(num_classes, dim, seed=seed + 3) + 0.3


def naive_collapse(features: Tensor, labels: Tensor, head: Tensor, *, center: Tensor | None = None) -> dict[str, float]:
    """Every field from its definition, with loops, torch.linalg.pinv and no shared code."""
    num_classes, num = len(head), len(features)
    groups = [features[labels == k] for k in range(num_classes)]
    mu = torch.stack([group.mean(dim=0) for group in groups])
    center = mu.mean(dim=0) if center is None else center
    m = mu - center
    wc = head - head.mean(dim=0)
    sigma_w = sum(torch.outer(h - mu[y], h - mu[y]) for h, y in zip(features, labels.tolist(), strict=True)) / num
    sigma_b = sum(torch.outer(row, row) for row in m) / num_classes
    pinv = torch.linalg.pinv(sigma_b, rtol=1e-12, hermitian=True)
    variance = [float(((group - mean) ** 2).sum(dim=1).mean()) for group, mean in zip(groups, mu, strict=True)]
    pairs = [(i, j) for i in range(num_classes) for j in range(i + 1, num_classes)]

    def cos(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm()))

    def angles(rows: Tensor) -> list[float]:
        return [cos(rows[i], rows[j]) + 1 / (num_classes - 1) for i, j in pairs]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def variation(rows: Tensor) -> float:
        norms = [float(row.norm()) for row in rows]
        return math.sqrt(mean([(norm - mean(norms)) ** 2 for norm in norms])) / mean(norms)

    e = torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes

    def to_simplex(g: Tensor) -> float:
        return float((g / g.norm() - e / e.norm()).norm())

    sizes = torch.linalg.svdvals(m)
    shares = [float(size / sizes.sum()) for size in sizes if size > 0]
    total = torch.cov(features.T, correction=0)
    nc1 = float(torch.trace(sigma_w @ pinv))
    nc3 = float((wc / wc.norm() - m / m.norm()).norm())
    return {
        "nc0_row_sum": float(sum(head).norm() ** 2 / head.norm() ** 2),
        "nc1_pinv": nc1 / num_classes,
        "nc1_pinv_sum": nc1,
        "nc1_trace": float(torch.trace(sigma_w) / torch.trace(sigma_b)),
        "nc1_cdnv": mean([(variance[i] + variance[j]) / (2 * float((mu[i] - mu[j]).norm()) ** 2) for i, j in pairs]),
        "nc2_equinorm_means": variation(m),
        "nc2_equinorm_weights": variation(wc),
        "nc2_equinorm_weights_uncentered": variation(head),
        "nc2_equiangular_means": mean([abs(angle) for angle in angles(m)]),
        "nc2_equiangular_weights": mean([abs(angle) for angle in angles(wc)]),
        "nc2_equiangular_weights_uncentered": mean([abs(angle) for angle in angles(head)]),
        "nc2_max_angle_means": max(angles(m)),
        "nc2_etf_means": to_simplex(m @ m.T),
        "nc2_etf_weights": to_simplex(wc @ wc.T),
        "nc3_duality": nc3,
        "nc3_duality_squared": nc3**2,
        "nc3_product": to_simplex(wc @ m.T),
        "nc3_alignment": 1 - mean([cos(w, row) for w, row in zip(wc, m, strict=True)]),
        "effective_rank": math.exp(-sum(share * math.log(share) for share in shares)),
        "participation": float(torch.trace(total) ** 2 / torch.trace(total @ total)),
    }


def assert_reports_agree(found: CollapseReport, expected: CollapseReport, *, rel: float = 1e-9) -> None:
    for name, value in expected.as_dict().items():
        if value is not None:
            assert found.as_dict()[name] == pytest.approx(value, rel=rel, abs=1e-11), name


def test_four_examples_by_hand() -> None:
    # Means (2, 0) and (0, 2), centre (1, 1): m = +-(1, -1). Every example is 1 from its mean.
    statistics = statistics_of(
        torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0, 1, 1]), 2
    )
    report = neural_collapse(statistics, torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    # Sigma_W = I/2, Sigma_B = [[1, -1], [-1, 1]] with pseudo-inverse Sigma_B / 4: trace of the product 1/4.
    assert report.nc1_pinv_sum == pytest.approx(0.25)
    assert report.nc1_pinv == pytest.approx(0.125)
    assert report.nc1_trace == pytest.approx(0.5)
    assert report.nc1_cdnv == pytest.approx((1 + 1) / (2 * 8))
    assert report.nc0_row_sum == pytest.approx(1)  # |(2, 1)|^2 / 5
    assert report.nc2_equinorm_weights_uncentered == pytest.approx(0.5 / 1.5)
    assert report.nc2_equiangular_weights_uncentered == pytest.approx(1)
    assert report.nc2_equinorm_weights == pytest.approx(0)
    assert report.nc2_equiangular_weights == pytest.approx(0)
    # Centred rows +-(1, -1/2) against +-(1, -1).
    cosine = 1.5 / math.sqrt(1.25 * 2)
    assert report.nc3_alignment == pytest.approx(1 - cosine)
    assert report.nc3_duality_squared == pytest.approx(2 - 2 * cosine)
    assert report.nc3_duality == pytest.approx(math.sqrt(2 - 2 * cosine))
    assert report.nc3_product == pytest.approx(0)
    assert report.effective_rank == pytest.approx(1)
    # Total covariance [[1.5, -1], [-1, 1.5]]: trace 3, squares 6.5.
    assert report.participation == pytest.approx(9 / 6.5)
    assert report.nc4_mismatch is None


@pytest.mark.parametrize(("num_classes", "dim"), [(2, 3), (4, 6), (3, 2), (6, 3), (10, 4), (5, 40)])
def test_every_field_agrees_with_its_definition(num_classes: int, dim: int) -> None:
    # (6, 3) and (10, 4): more classes than the features have room for a simplex.
    features, labels, head = example(num_classes, dim)
    found = neural_collapse(statistics_of(features, labels, num_classes), head).as_dict()
    expected = naive_collapse(features, labels, head)
    assert set(found) == {*expected, "nc4_mismatch"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-11), name


def test_imbalanced_data_have_two_centres_and_both_are_reachable() -> None:
    features, labels, head = example()
    statistics = statistics_of(features, labels, 4)
    default = neural_collapse(statistics, head)
    by_sample = neural_collapse(statistics, head, center=statistics.sample_mean)
    expected = naive_collapse(features, labels, head, center=features.mean(dim=0))
    for name, value in expected.items():
        assert getattr(by_sample, name) == pytest.approx(value, rel=1e-9, abs=1e-11), name
    assert abs(by_sample.nc1_pinv / default.nc1_pinv - 1) > 0.01
    explicit = neural_collapse(statistics, head, center=statistics.means.mean(dim=0))
    assert_reports_agree(explicit, default)
    assert by_sample.nc1_cdnv == default.nc1_cdnv  # no centre in it


def test_both_centres_agree_on_balanced_data() -> None:
    labels = torch.arange(4).repeat(20)
    features = 2 * normal(4, 6, seed=1)[labels] + normal(80, 6)
    statistics = statistics_of(features, labels, 4)
    head = normal(4, 6, seed=3)
    assert_reports_agree(
        neural_collapse(statistics, head, center=statistics.sample_mean), neural_collapse(statistics, head)
    )


def test_a_collapsed_network_reads_zero_everywhere() -> None:
    frame = simplex_etf(5, 8, scale=3.0, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5).repeat(4)
    report = neural_collapse(statistics_of(frame[labels] + 7, labels, 5), 0.2 * frame)
    rest = {"effective_rank": 4.0, "participation": 4.0, "nc4_mismatch": None}
    for name, value in report.as_dict().items():
        if name in rest:
            assert value == (None if rest[name] is None else pytest.approx(rest[name])), name
        else:
            assert abs(value) < 1e-12, name


def high_precision_nc1(statistics: ClassStatistics) -> float:
    """tr(Sigma_W pinv(Sigma_B)) / K = tr(Sw M^T (G^+)^2 M), with G^+ = (G + 11^T/K)^-1 - 11^T/K, in 60 digits."""
    with mpmath.workdps(60):
        num_classes = statistics.num_classes
        means = mpmath.matrix(statistics.means.tolist())
        for column in range(means.cols):
            middle = mpmath.fsum(means[:, column]) / num_classes
            for row in range(means.rows):
                means[row, column] -= middle
        within = mpmath.matrix(statistics.within.tolist()) / mpmath.mpf(statistics.num_examples)
        ones = mpmath.matrix(num_classes, num_classes) + mpmath.mpf(1) / num_classes
        inverse = (means * means.T + ones) ** -1 - ones
        left = inverse * means
        product = left * within * left.T
        return float(mpmath.fsum(product[k, k] for k in range(num_classes)))


@pytest.mark.parametrize("length", [1.0, 100.0])
def test_two_close_classes_of_ten_keep_six_digits(length: float) -> None:
    labels = torch.arange(10).repeat(30)
    means = length * normal(10, 16, seed=1)
    means[1] = means[0] + 0.003 * normal(16, seed=2) / normal(16, seed=2).norm()
    statistics = statistics_of(means[labels] + 0.01 * normal(300, 16), labels, 10)
    # Noise of 0.01 / sqrt(30) moves the two means; put them 0.003 apart again.
    gap = statistics.means[1] - statistics.means[0]
    statistics.means[1] = statistics.means[0] + 0.003 * gap / gap.norm()
    exact = high_precision_nc1(statistics)
    found = neural_collapse(statistics, normal(10, 16, seed=4)).nc1_pinv
    assert found == pytest.approx(exact, rel=1e-6)
    single = torch.linalg.pinv((statistics.means - statistics.means.mean(dim=0)).float())
    in_single = float(torch.trace(single.T @ statistics.within.float() @ single) / 300)
    if length == 100:
        assert abs(in_single / exact - 1) > 1e-4  # so the test can tell


def test_close_classes_and_a_large_mean_keep_cdnv() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    features = torch.tensor([[-0.001], [0.001], [0.002], [0.004], [8.0], [8.25]], dtype=torch.float64)
    shifted = statistics_of(features + 1000, labels, 3)
    plain = statistics_of(features, labels, 3)
    head = normal(3, 1)
    assert plain.means.flatten().tolist() == pytest.approx([0, 0.003, 8.125])
    assert neural_collapse(shifted, head).nc1_cdnv == pytest.approx(neural_collapse(plain, head).nc1_cdnv, rel=1e-8)


def test_the_last_rounding_direction_is_not_inverted() -> None:
    # Centred means have rank K - 1; a cut-off at 1e-15 would invert the K-th direction and gain a factor of 10^6.
    for seed in range(20):
        features, labels, head = example(10, 64, seed=seed, num=200)
        found = neural_collapse(statistics_of(features, labels, 10), head).nc1_pinv
        assert found == pytest.approx(naive_collapse(features, labels, head)["nc1_pinv"], rel=1e-8)


def test_numbers_ignore_rotation_shift_and_common_scale() -> None:
    features, labels, head = example()
    plain = neural_collapse(statistics_of(features, labels, 4), head)
    rotation = torch.linalg.qr(normal(6, 6, seed=9))[0]
    moved = statistics_of(5 * features @ rotation + 100 * normal(6, seed=8), labels, 4)
    assert_reports_agree(neural_collapse(moved, 0.1 * head @ rotation), plain)


def test_numbers_ignore_order_batch_size_and_class_names() -> None:
    features, labels, head = example()
    plain = neural_collapse(statistics_of(features, labels, 4), head)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    assert_reports_agree(neural_collapse(statistics_of(features[order], labels[order], 4, batch_size=9), head), plain)
    names = torch.tensor([2, 0, 3, 1])
    renamed_head = torch.empty_like(head)
    renamed_head[names] = head
    assert_reports_agree(neural_collapse(statistics_of(features, names[labels], 4), renamed_head), plain)


def test_a_common_shift_of_the_classifier_only_moves_the_uncentred_numbers() -> None:
    features, labels, head = example()
    statistics = statistics_of(features, labels, 4)
    plain, shifted = neural_collapse(statistics, head), neural_collapse(statistics, head + normal(6, seed=5))
    moved = {"nc0_row_sum", "nc2_equinorm_weights_uncentered", "nc2_equiangular_weights_uncentered"}
    for name, value in plain.as_dict().items():
        if name != "nc4_mismatch":
            is_equal = getattr(shifted, name) == pytest.approx(value, rel=1e-9, abs=1e-11)
            assert is_equal == (name not in moved), name


def test_report_lists_every_field_and_takes_nc4() -> None:
    features, labels, head = example()
    report = neural_collapse(statistics_of(features, labels, 4), head.float().requires_grad_(), torch.zeros(4))
    assert list(report.as_dict()) == [field.name for field in fields(CollapseReport)]
    assert all(isinstance(value, float) for name, value in report.as_dict().items() if name != "nc4_mismatch")
    assert replace(report, nc4_mismatch=0.25).as_dict()["nc4_mismatch"] == 0.25


def test_class_means_that_coincide_are_undefined_not_collapsed() -> None:
    labels = torch.arange(3).repeat(4)
    features = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0] * 2)[:, None].expand(12, 2)
    report = neural_collapse(statistics_of(features, labels, 3), normal(3, 2))
    assert math.isnan(report.nc1_pinv)
    assert report.nc1_trace == math.inf
    assert report.nc1_cdnv == math.inf
    assert math.isnan(report.nc3_duality)


def test_what_does_not_fit_is_named() -> None:
    statistics = ClassStatistics(4, 2)
    statistics.update(torch.zeros(2, 2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="statistics must hold an example of every class, got none of 1, 3"):
        neural_collapse(statistics, torch.zeros(4, 2))
    statistics.update(normal(2, 2), torch.tensor([1, 3]))
    with pytest.raises(ValueError, match=r"head_weight must have shape \(4, 2\), got \(2, 4\)"):
        neural_collapse(statistics, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"head_bias must have shape \(4,\), got \(4, 1\)"):
        neural_collapse(statistics, torch.ones(4, 2), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="head_weight must be finite"):
        neural_collapse(statistics, torch.full((4, 2), math.nan))
    with pytest.raises(ValueError, match=r"center must have shape \(2,\), got \(4,\)"):
        neural_collapse(statistics, torch.ones(4, 2), center=torch.zeros(4))
    with pytest.raises(ValueError, match="center must be finite"):
        neural_collapse(statistics, torch.ones(4, 2), center=torch.tensor([0.0, math.inf]))
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        neural_collapse(ClassStatistics(1, 2), torch.zeros(1, 2))


def naive_mismatch(features: Tensor, means: Tensor, head: Tensor, bias: Tensor) -> float:
    wrong = 0
    for h in features:
        nearest = min(range(len(means)), key=lambda k: float((h - means[k]).norm()))
        chosen = max(range(len(means)), key=lambda k: float(h @ head[k] + bias[k]))
        wrong += nearest != chosen
    return wrong / len(features)


def test_nc4_counts_disagreement_with_the_nearest_mean() -> None:
    features, means, head = normal(200, 5), normal(4, 5, seed=1), normal(4, 5, seed=2)
    bias = normal(4, seed=3)
    expected = naive_mismatch(features, means, head, bias)
    assert 0.2 < expected < 0.9
    assert nearest_class_mean_mismatch(features, means, head, bias) == expected
    counted = sum(count_nearest_mean_mismatches(rows, means, head, bias) for rows in features.split(33))
    assert counted == expected * 200


def test_the_nearest_mean_rule_written_as_a_classifier_needs_its_bias() -> None:
    features, means = normal(300, 5), 2 * normal(4, 5, seed=1) + 1
    bias = -means.square().sum(dim=1) / 2
    assert nearest_class_mean_mismatch(features, means, means, bias) == 0
    assert nearest_class_mean_mismatch(features, means, means) > 0.1


def test_nc4_keeps_its_digits_under_a_large_mean() -> None:
    # Class means 1e-6 apart at 1e6: |h|^2 - 2 h.mu + |mu|^2 has no digit left, distances after a shift do.
    means = 1e6 + torch.tensor([[0.0], [1e-6]], dtype=torch.float64)
    features = 1e6 + torch.tensor([[-1e-7], [1.1e-6]], dtype=torch.float64)
    head = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, -1e6 - 5e-7], dtype=torch.float64)
    assert nearest_class_mean_mismatch(features, means, head, bias) == 0
    assert nearest_class_mean_mismatch(features, means, -head, -bias) == 1


def test_nc4_names_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="features must hold at least one example, got 0"):
        nearest_class_mean_mismatch(torch.zeros(0, 2), torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="features must have the 2 columns of means, got 3"):
        nearest_class_mean_mismatch(torch.zeros(1, 3), torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"head_weight must have shape \(3, 2\), got \(4, 2\)"):
        nearest_class_mean_mismatch(torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="features must be finite"):
        nearest_class_mean_mismatch(torch.full((1, 2), math.nan), torch.zeros(3, 2), torch.zeros(3, 2))
