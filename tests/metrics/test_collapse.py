import math
from dataclasses import fields, replace

import mpmath
import pytest
import torch
from torch import Tensor

from mixscope.base.simplex import simplex_etf
from mixscope.metrics.class_statistics.statistics import ClassMoments, ClassStatistics
from mixscope.metrics.collapse.collapse_report import ClassGeometry, CollapseReport
from mixscope.metrics.collapse.neural_collapse import class_geometry, neural_collapse

NOT_MEASURED = ("nc4_mismatch", "nearest_mean_accuracy")


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
    assert set(found) == set(expected)
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
    assert by_sample.nc1_cdnv == pytest.approx(default.nc1_cdnv, rel=1e-12)  # no centre in it


def test_both_centres_agree_on_balanced_data() -> None:
    labels = torch.arange(4).repeat(20)
    features = 2 * normal(4, 6, seed=1)[labels] + normal(80, 6)
    statistics = statistics_of(features, labels, 4)
    head = normal(4, 6, seed=3)
    assert_reports_agree(
        neural_collapse(statistics, head, center=statistics.sample_mean), neural_collapse(statistics, head)
    )


def test_participation_of_balanced_classes_is_that_of_the_covariance() -> None:
    # More classes than dimensions: there it is taken from the means' products, unless the centre is another.
    labels = torch.arange(6).repeat(20)
    statistics = statistics_of(2 * normal(6, 3, seed=1)[labels] + normal(120, 3), labels, 6)
    covariance = statistics.total_covariance
    expected = float(covariance.trace() ** 2 / covariance.square().sum())
    head = normal(6, 3, seed=3)
    assert neural_collapse(statistics, head).participation == pytest.approx(expected, rel=1e-12)
    elsewhere = neural_collapse(statistics, head, center=torch.ones(3).double())
    assert elsewhere.participation == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("offset", [1e-8, 1e-4, 0.03, 0.04, 1.0, 30.0])  # FAR lies between 0.03 and 0.04
def test_duality_and_alignment_keep_their_digits_near_and_far(offset: float) -> None:
    labels = torch.arange(150) % 150
    statistics = statistics_of(normal(150, 20, seed=1), labels, 150)
    means = statistics.means - statistics.means.mean(dim=0)
    head = means + offset * normal(150, 20, seed=2)
    found = neural_collapse(statistics, head)
    left, right = (rows - rows.mean(dim=0) for rows in (head, means))
    duality = (left / left.norm() - right / right.norm()).square().sum()
    alignment = (left / left.norm(dim=1)[:, None] - right / right.norm(dim=1)[:, None]).square().sum(dim=1).mean() / 2
    # Near 0 the rounding of the head, 1e-16 of its size, is 1e-8 of the smallest offset.
    assert found.nc3_duality_squared == pytest.approx(float(duality), rel=1e-11 if offset > 1e-3 else 1e-6)
    assert found.nc3_alignment == pytest.approx(float(alignment), rel=1e-11 if offset > 1e-3 else 1e-6)


def test_a_collapsed_network_reads_zero_everywhere() -> None:
    frame = simplex_etf(5, 8, scale=3.0, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5).repeat(4)
    report = neural_collapse(statistics_of(frame[labels] + 7, labels, 5), 0.2 * frame)
    rest = {"effective_rank": 4.0, "participation": 4.0}
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
    state = statistics.state()
    gap = state["means"][1] - state["means"][0]
    state["means"][1] = state["means"][0] + 0.003 * gap / gap.norm()
    statistics = ClassStatistics.from_state(state)
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
        is_equal = getattr(shifted, name) == pytest.approx(value, rel=1e-9, abs=1e-11)
        assert is_equal == (name not in moved), name


def test_report_lists_every_field_and_takes_nc4() -> None:
    features, labels, head = example()
    report = neural_collapse(statistics_of(features, labels, 4), head.float().requires_grad_(), torch.zeros(4))
    assert {*report.as_dict(), *NOT_MEASURED} == {field.name for field in fields(CollapseReport)}
    assert all(isinstance(value, float) for value in report.as_dict().values())
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


def test_missing_classes_are_named_but_not_all_of_a_thousand() -> None:
    statistics = ClassStatistics(1000, 2)
    with pytest.raises(ValueError, match=r"got none of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 990 more$"):
        neural_collapse(statistics, torch.zeros(1000, 2))


@pytest.mark.parametrize(("num_classes", "dim"), [(700, 12), (300, 299), (290, 320)])
def test_many_classes_in_several_tiles_agree_with_full_matrices(num_classes: int, dim: int) -> None:
    labels = torch.arange(2 * num_classes) % num_classes
    features = normal(num_classes, dim, seed=1)[labels] + 0.3 * normal(2 * num_classes, dim)
    statistics, head = statistics_of(features, labels, num_classes), normal(num_classes, dim, seed=2) + 0.1
    report = neural_collapse(statistics, head)
    means = statistics.means - statistics.means.mean(dim=0)
    weight = head - head.mean(dim=0)
    first, second = torch.triu_indices(num_classes, num_classes, offset=1)
    simplex = torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes

    def angles(rows: Tensor) -> Tensor:
        unit = rows / rows.norm(dim=1, keepdim=True)
        return (unit @ unit.T)[first, second] + 1 / (num_classes - 1)

    def to_simplex(product: Tensor) -> float:
        return float((product / product.norm() - simplex / simplex.norm()).norm())

    variances = statistics.scatter / statistics.counts
    expected = {
        "nc1_cdnv": ((variances[first] + variances[second]) / (2 * torch.pdist(means).square())).mean(),
        "nc1_pinv": torch.trace(statistics.within @ torch.linalg.pinv(means.T @ means, rtol=1e-11, hermitian=True))
        / statistics.num_examples,
        "nc2_equiangular_means": angles(means).abs().mean(),
        "nc2_equiangular_weights": angles(weight).abs().mean(),
        "nc2_equiangular_weights_uncentered": angles(head).abs().mean(),
        "nc2_max_angle_means": angles(means).max(),
        "nc2_etf_means": to_simplex(means @ means.T),
        "nc2_etf_weights": to_simplex(weight @ weight.T),
        "nc3_product": to_simplex(weight @ means.T),
        "nc3_alignment": 1 - torch.nn.functional.cosine_similarity(weight, means).mean(),
    }
    for name, value in expected.items():
        # (300, 299) is as good as singular: the pseudo-inverse has fewer digits there in any program.
        assert getattr(report, name) == pytest.approx(float(value), rel=1e-6 if name == "nc1_pinv" else 1e-9), name


def test_two_close_classes_among_many_keep_six_digits() -> None:
    labels = torch.arange(600) % 300
    centers = 100 * normal(300, 8, seed=1)
    centers[299] = centers[3] + 0.003 * normal(8, seed=2) / normal(8, seed=2).norm()
    features = centers[labels] + torch.where(torch.arange(600) < 300, 0.001, -0.001)[:, None]
    statistics = statistics_of(features, labels, 300)
    variances = statistics.scatter / statistics.counts
    first, second = torch.triu_indices(300, 300, offset=1)
    gaps = (statistics.means[first] - statistics.means[second]).square().sum(dim=1)
    expected = float(((variances[first] + variances[second]) / (2 * gaps)).mean())
    assert class_geometry(statistics).nc1_cdnv == pytest.approx(expected, rel=1e-10)
    means = statistics.means - statistics.means.mean(dim=0)
    squares = means.square().sum(dim=1)
    short = squares[3] + squares[299] - 2 * means[3] @ means[299]
    assert abs(float(short / (means[3] - means[299]).square().sum()) - 1) > 1e-8  # so the test can tell


@pytest.mark.parametrize(("num_classes", "dim"), [(10, 9), (10, 30), (300, 299)])
@pytest.mark.parametrize("size", [1e-5, 1e-10])
def test_what_is_left_near_collapse_keeps_its_digits(num_classes: int, dim: int, size: float) -> None:
    # Perturb a simplex by `size`: distances are linear in it, so those at 1e-5 and 1e-10 must be those at 1e-3 scaled.
    frame = simplex_etf(num_classes, dim, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(num_classes)
    noise, other = normal(num_classes, dim, seed=1), normal(num_classes, dim, seed=2)

    def measure(step: float) -> CollapseReport:
        moved = frame + step * noise
        return neural_collapse(statistics_of(moved, labels, num_classes), 0.2 * (frame + step * other))

    found, reference = measure(size), measure(1e-4)
    for name in ("nc2_etf_means", "nc2_etf_weights", "nc3_product", "nc3_duality", "nc2_equiangular_means"):
        value = getattr(found, name) / size
        # First order: the reference is off by its own step 1e-4 or so; rounding by 1e-16 * sqrt(K) / 1e-10.
        assert value == pytest.approx(getattr(reference, name) / 1e-4, rel=5e-3), name
    if size == 1e-5:  # squares of 1e-10 are below the rounding of the means themselves
        assert found.nc3_alignment / size**2 == pytest.approx(reference.nc3_alignment / 1e-8, rel=5e-3)


def test_more_classes_than_room_take_the_short_way_only_where_it_keeps_the_digits() -> None:
    # Class means 1e-6 wide in one direction: M^T M has lost that direction's digits, the singular values have not.
    labels = torch.arange(60) % 20
    squeeze = torch.tensor([1.0, 1.0, 1e-6], dtype=torch.float64)
    features = (normal(20, 3, seed=1)[labels] + 0.1 * normal(60, 3)) * squeeze
    found = neural_collapse(statistics_of(features, labels, 20), normal(20, 3, seed=3))
    # tr(Sigma_W pinv(Sigma_B)) of a Sigma_B of full rank ignores any linear map of the features.
    expected = neural_collapse(statistics_of(features / squeeze, labels, 20), normal(20, 3, seed=3))
    assert found.nc1_pinv == pytest.approx(expected.nc1_pinv, rel=1e-8)


def test_moments_give_every_number_that_needs_no_matrix() -> None:
    features, labels, head = example()
    moments = ClassMoments(4, 6)
    moments.update(features, labels)
    center = normal(6, seed=7)
    for middle in (None, center):
        report = neural_collapse(statistics_of(features, labels, 4), head, center=middle).as_dict()
        found = class_geometry(moments, center=middle).as_dict()
        assert set(found) == {field.name for field in fields(ClassGeometry)}
        for name, value in found.items():
            assert value == pytest.approx(report[name], rel=1e-10, abs=1e-13), name


def test_geometry_names_what_does_not_fit() -> None:
    moments = ClassMoments(3, 2)
    moments.update(normal(2, 2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="statistics must hold an example of every class, got none of 1"):
        class_geometry(moments)
    moments.update(normal(1, 2), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"center must have shape \(2,\), got \(3,\)"):
        class_geometry(moments, center=torch.zeros(3))


def test_a_classifier_with_a_large_common_part_keeps_its_uncentred_angles() -> None:
    # One row all but vanishes once the common part is there: its inner products must be taken from the rows themselves.
    head = 1e4 + normal(5, 6)
    head[2] = 1e-4 * normal(6, seed=1)
    features, labels, _ = example(5, 6)
    found = neural_collapse(statistics_of(features, labels, 5), head).nc2_equiangular_weights_uncentered
    assert found == pytest.approx(
        naive_collapse(features, labels, head)["nc2_equiangular_weights_uncentered"], rel=1e-10
    )


def test_statistics_without_the_scatter_matrix_are_refused_with_what_takes_them() -> None:
    from mixscope.metrics.class_statistics.statistics import ClassMoments

    with pytest.raises(ValueError, match=r"statistics must be a ClassStatistics, got a ClassMoments: .*class_geometry"):
        neural_collapse(ClassMoments(2, 2), torch.eye(2))  # type: ignore[arg-type]
