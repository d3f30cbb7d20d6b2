import math

import pytest
import torch
from torch import Tensor

from mixscope.base.simplex import simplex_etf
from mixscope.metrics.blends.channels import ChannelReport, classifier_coordinates, mixed_feature_geometry

NAN = math.nan


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def frame(num_classes: int, dim: int, *, scale: float = 1.0) -> Tensor:
    return simplex_etf(num_classes, dim, scale=scale, generator=torch.Generator().manual_seed(0))


def random_case(num: int = 120, num_classes: int = 5, dim: int = 8) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(11)
    labels = torch.randint(num_classes, (num, 2), generator=stream)
    means = 2 * normal(num_classes, dim, seed=1)
    members = means[labels] + 0.3 * normal(num, 2, dim, seed=2)
    weights = torch.rand(num, dtype=torch.float64, generator=stream)
    mixed = 1.4 * (weights[:, None] * members[:, 0] + (1 - weights[:, None]) * members[:, 1]) + normal(num, dim, seed=3)
    return {
        "mixed": mixed,
        "members": members,
        "weights": weights,
        "member_labels": labels,
        "class_means": means,
        "head_weight": means + normal(num_classes, dim, seed=4),
    }


SHARED = ("class_means", "head_weight")


def measure(case: dict[str, Tensor]) -> ChannelReport:
    return mixed_feature_geometry(
        case["mixed"],
        case["members"],
        weights=case["weights"],
        member_labels=case["member_labels"],
        class_means=case["class_means"],
        head_weight=case["head_weight"],
    )


def assert_reports_agree(found: ChannelReport, expected: ChannelReport, *, abs_: float = 1e-10) -> None:
    for name, value in expected.as_dict().items():
        assert getattr(found, name) == pytest.approx(value, abs=abs_, nan_ok=True), name


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else NAN


def naive_geometry(case: dict[str, Tensor]) -> dict[str, float]:
    """One blend at a time, from the definitions; the projection by least squares on the classifier rows."""
    head = case["head_weight"] - case["head_weight"].mean(dim=0)
    middle = case["class_means"].mean(dim=0)
    num_classes = len(head)
    projector = torch.linalg.pinv(head, rtol=1e-10) @ head

    def project(h: Tensor) -> Tensor:
        return projector @ (h - middle)

    def cos(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm()))

    unit = mean([float(project(mu).norm()) for mu in case["class_means"]])
    groups: dict[str, list[float]] = {}
    for h, ends, weight, pair in zip(
        case["mixed"], case["members"], case["weights"].tolist(), case["member_labels"].tolist(), strict=True
    ):
        i, j = pair
        h, linear = project(h), weight * project(ends[0]) + (1 - weight) * project(ends[1])
        kind = "same" if i == j else "different"
        share = min(weight, 1 - weight)
        band = "low" if share < 0.1 else "high" if share > 0.3 else "middle"
        deviation = float((h - linear).norm()) / unit
        groups.setdefault(f"deviation_{kind}", []).append(deviation)
        if band == "high":
            groups.setdefault(f"deviation_{kind}_middle", []).append(deviation)
        if i == j:
            groups.setdefault("cos_same", []).append(cos(h, head[i]))
            groups.setdefault("norm_same", []).append(float(h.norm()))
            continue
        if band == "high":
            groups.setdefault("norm_middle", []).append(float(h.norm()))
            groups.setdefault("norm_line", []).append(float(linear.norm()))
            first, second = (project(case["class_means"][k]) for k in pair)
            line = weight * first + (1 - weight) * second
            groups.setdefault("along_means", []).append(float(h @ line))
            groups.setdefault("square_means", []).append(float(line @ line))
            groups.setdefault("cos_channel", []).append(cos(h, head[i] + head[j]))
        z = [float(h @ row) for row in head]
        others = mean([z[k] for k in range(num_classes) if k not in pair])
        x1, x2 = z[i] - others, z[j] - others
        groups.setdefault(f"order_{band}", []).append((x1 + x2) / 2)
        for across, share_ in ((x1 - x2, weight), (x2 - x1, 1 - weight)):
            groups.setdefault("across", []).append(across)
            groups.setdefault("logit", []).append(math.log(share_ / (1 - share_)))
    across, logit = torch.tensor(groups["across"]), torch.tensor(groups["logit"])
    table = torch.stack([across, logit])
    return {
        "amplification": mean(groups["norm_middle"]) / mean(groups["norm_line"]),
        "amplification_means": mean(groups["along_means"]) / mean(groups["square_means"]),
        **{name: mean(groups[name]) for name in groups if name.startswith(("deviation", "order"))},
        "alignment_same": mean(groups["cos_same"]),
        "alignment_channel": mean(groups["cos_channel"]),
        "logit_slope": float(torch.cov(table)[0, 1] / torch.cov(table)[1, 1]),
        "logit_correlation": float(torch.corrcoef(table)[0, 1]),
        "ratio_middle_to_same": mean(groups["norm_middle"]) / mean(groups["norm_same"]),
    }


def test_every_field_agrees_with_its_definition() -> None:
    case = random_case()
    found, expected = measure(case).as_dict(), naive_geometry(case)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name  # corrcoef of Python floats is float32


def test_features_on_the_straight_line_are_not_amplified() -> None:
    case = random_case()
    share = case["weights"][:, None]
    case["mixed"] = share * case["members"][:, 0] + (1 - share) * case["members"][:, 1]
    report = measure(case)
    assert report.amplification == pytest.approx(1)
    line = torch.lerp(*case["class_means"][case["member_labels"].flip(1)].unbind(dim=1), share)
    scatter = normal(*line.shape, seed=5)
    # Scatter lengthens features but leaves their mean on the line: it cancels when each blend has its mirror image.
    mirrored = {name: torch.cat([value, value]) for name, value in case.items() if name not in SHARED}
    mirrored["mixed"] = torch.cat([line + scatter, line - scatter])
    assert measure(mirrored | {name: case[name] for name in SHARED}).amplification_means == pytest.approx(1)
    for value in (report.deviation_same, report.deviation_different, report.deviation_different_middle):
        assert value == pytest.approx(0, abs=1e-12)


def test_the_cross_entropy_optimum_by_hand() -> None:
    # h = a (x1 w_i + x2 w_j) with a = (K-1)/K for a simplex of length 1 gives logits x1, x2 above the others.
    num_classes, delta = 4, 6.0
    head = frame(num_classes, 7)
    factor = (num_classes - 1) / num_classes
    means = factor * delta * head
    labels = torch.tensor([[0, 1], [2, 3], [1, 0], [0, 0], [3, 3]])
    weights = torch.tensor([0.5, 0.35, 0.62, 0.2, 0.9], dtype=torch.float64)
    logit = torch.logit(weights)[:3]
    height = torch.tensor([5.0, 4.0, 4.5], dtype=torch.float64)
    x1, x2 = height + logit / 2, height - logit / 2
    different = factor * (x1[:, None] * head[labels[:3, 0]] + x2[:, None] * head[labels[:3, 1]])
    mixed = torch.cat([different, means[labels[3:, 0]]])
    report = mixed_feature_geometry(
        mixed, means[labels], weights=weights, member_labels=labels, class_means=means, head_weight=head
    )
    assert report.alignment_same == pytest.approx(1)
    assert report.deviation_same == pytest.approx(0, abs=1e-12)
    assert report.logit_slope == pytest.approx(1)
    assert report.logit_correlation == pytest.approx(1)
    assert report.order_high == pytest.approx(4.5)
    assert math.isnan(report.order_low)
    # The first blend alone: |5 (w_0 + w_1)| over |6 (w_0 + w_1) / 2|, and |w_0 + w_1|^2 = 2 - 2/3.
    first = mixed_feature_geometry(
        mixed[[0, 3]],
        means[labels[[0, 3]]],
        weights=weights[[0, 3]],
        member_labels=labels[[0, 3]],
        class_means=means,
        head_weight=head,
    )
    assert first.amplification == pytest.approx(5 / 3)
    assert first.alignment_channel == pytest.approx(1)
    assert first.deviation_different_middle == pytest.approx((5 - 3) * math.sqrt(4 / 3) / 6)
    assert first.ratio_middle_to_same == pytest.approx(5 * math.sqrt(4 / 3) / 6)


def test_which_example_is_called_the_first_does_not_matter() -> None:
    case = random_case()
    swapped = dict(case)
    chosen = torch.arange(len(case["weights"])) % 2 == 0
    swapped["weights"] = torch.where(chosen, 1 - case["weights"], case["weights"])
    swapped["members"] = torch.where(chosen[:, None, None], case["members"].flip(1), case["members"])
    swapped["member_labels"] = torch.where(chosen[:, None], case["member_labels"].flip(1), case["member_labels"])
    assert_reports_agree(measure(swapped), measure(case))


def test_geometry_ignores_rotation_shift_order_and_class_names() -> None:
    case = random_case()
    expected = measure(case)
    rotation, shift = torch.linalg.qr(normal(8, 8, seed=5))[0], 10 * normal(8, seed=6)
    moved = {name: case[name] @ rotation + shift for name in ("mixed", "members", "class_means")}
    assert_reports_agree(measure({**case, **moved, "head_weight": case["head_weight"] @ rotation}), expected)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    rows = {name: case[name][order] for name in ("mixed", "members", "weights", "member_labels")}
    assert_reports_agree(measure({**case, **rows}), expected)
    names = torch.tensor([4, 2, 0, 1, 3])
    renamed = {
        name: torch.empty_like(case[name]).index_copy_(0, names, case[name]) for name in ("class_means", "head_weight")
    }
    assert_reports_agree(measure({**case, **renamed, "member_labels": names[case["member_labels"]]}), expected)
    shifted_head = {"head_weight": case["head_weight"] + normal(8, seed=7)}
    assert_reports_agree(measure({**case, **shifted_head}), expected)


def test_scale_of_the_features_only_scales_the_coordinates() -> None:
    case = random_case()
    plain = measure(case).as_dict()
    grown = measure({**case, **{name: 3 * case[name] for name in ("mixed", "members", "class_means")}}).as_dict()
    for name, value in plain.items():
        factor = 3 if name in ("logit_slope", "order_low", "order_middle", "order_high") else 1
        assert grown[name] == pytest.approx(factor * value), name


def test_what_the_classifier_cannot_see_is_left_out() -> None:
    case = random_case()
    _, _, directions = torch.linalg.svd(case["head_weight"] - case["head_weight"].mean(dim=0))
    unseen = directions[4:]  # rank K - 1 = 4
    noisy = case["mixed"] + normal(120, 4, seed=8) @ unseen
    assert_reports_agree(measure({**case, "mixed": noisy}), measure(case))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_on_an_edge_fall_into_the_same_bin_from_both_sides(dtype: torch.dtype) -> None:
    head = frame(3, 2)
    labels = torch.tensor([[0, 1]] * 8)
    weights = torch.tensor([0.1, 0.9, 0.3, 0.7, 0.05, 0.99, 0.31, 0.5], dtype=dtype)
    heights = torch.tensor([2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 3.0, 3.0], dtype=torch.float64)
    mixed = heights[:, None] * (head[0] + head[1]) / (3 / 2)  # z_i - z_other = w_0.(w_0 + w_1) - ... = 3/2
    report = mixed_feature_geometry(
        mixed, head[labels], weights=weights, member_labels=labels, class_means=head, head_weight=head
    )
    assert [report.order_low, report.order_middle, report.order_high] == pytest.approx([1, 2, 3])


def test_groups_without_a_blend_are_undefined() -> None:
    head = frame(3, 2)
    labels = torch.tensor([[1, 1]])
    report = mixed_feature_geometry(
        head[[1]], head[labels], weights=torch.tensor([0.2]), member_labels=labels, class_means=head, head_weight=head
    ).as_dict()
    assert report.pop("deviation_same") == pytest.approx(0, abs=1e-12)
    assert report.pop("alignment_same") == pytest.approx(1)
    assert all(math.isnan(value) for value in report.values())


def test_blends_of_weight_one_have_no_logit() -> None:
    case = random_case()
    expected = measure(case)
    ends = {
        "mixed": torch.cat([case["mixed"], 50 * case["members"][:2, 0]]),
        "members": torch.cat([case["members"], case["members"][:2]]),
        "weights": torch.cat([case["weights"], torch.tensor([1.0, 0.0], dtype=torch.float64)]),
        "member_labels": torch.cat([case["member_labels"], torch.tensor([[0, 1], [2, 1]])]),
    }
    report = measure({**case, **ends})
    assert report.logit_slope == pytest.approx(expected.logit_slope)
    assert report.logit_correlation == pytest.approx(expected.logit_correlation)
    assert report.deviation_different > expected.deviation_different


def test_coordinates_by_hand() -> None:
    logits = torch.tensor([[5.0, 2.0, 1.0, -1.0]] * 3)
    x1, x2 = classifier_coordinates(logits, torch.eye(4), torch.tensor([[0, 1], [3, 0], [1, 1]]))
    # Others: (1 - 1)/2 = 0, then (2 + 1)/2, then (5 + 1 - 1)/3.
    assert x1.tolist() == pytest.approx([5, -2.5, 2 - 5 / 3])
    assert x2.tolist() == pytest.approx([2, 3.5, 2 - 5 / 3])
    assert x1.dtype is torch.float64


def test_coordinates_recover_the_combination_of_two_simplex_rows() -> None:
    head = frame(6, 9, scale=2.0)
    s1, s2 = normal(10), normal(10, seed=1)
    x1, x2 = classifier_coordinates(s1[:, None] * head[2] + s2[:, None] * head[4], head, torch.tensor([[2, 4]] * 10))
    size = 4 * 6 / 5  # |w|^2 K / (K - 1)
    torch.testing.assert_close(x1, size * s1)
    torch.testing.assert_close(x2, size * s2)


def test_two_classes_use_the_mean_of_both_logits() -> None:
    x1, x2 = classifier_coordinates(torch.tensor([[3.0, 1.0]]), torch.eye(2), torch.tensor([[0, 1]]))
    assert (x1.item(), x2.item()) == pytest.approx((1, -1))


def test_coordinates_ignore_a_shift_of_all_classifiers() -> None:
    features, head, labels = normal(9, 5), normal(4, 5, seed=1), torch.tensor([[0, 3]] * 9)
    plain = classifier_coordinates(features, head, labels)
    shifted = classifier_coordinates(features, head + normal(5, seed=2), labels)
    torch.testing.assert_close(shifted, plain)


def test_what_does_not_fit_is_named() -> None:
    case = random_case()
    for name, value, message in (
        ("members", case["members"][:, :1], r"members must have shape \(120, 2, 8\), got \(120, 1, 8\)"),
        ("weights", case["weights"][:, None], r"weights must have shape \(120,\), got \(120, 1\)"),
        ("weights", case["weights"] + 1, r"weights must lie in \[0, 1\], got values from 1.0"),
        ("weights", case["weights"][:3], "mixed and members and weights and member_labels must have the same length"),
        ("member_labels", case["member_labels"] + 1, r"member_labels must lie in \[0, 5\), got values from 1 to 5"),
        ("member_labels", case["member_labels"][:, :1], r"member_labels must have shape \(120, 2\), got \(120, 1\)"),
        ("class_means", case["class_means"][:4], r"class_means must have shape \(5, 8\), got \(4, 8\)"),
        ("head_weight", case["head_weight"][:, :4], r"must have shape \(5, 8\), got \(5, 4\)|\(5, 4\)"),
        ("mixed", case["mixed"] * NAN, "mixed must be finite, got 960 NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            measure({**case, name: value})
    with pytest.raises(ValueError, match=r"labels_pair must lie in \[0, 2\), got values from 0 to 2"):
        classifier_coordinates(torch.zeros(1, 2), torch.eye(2), torch.tensor([[0, 2]]))
    with pytest.raises(ValueError, match=r"labels_pair must have shape \(1, 2\), got \(1, 3\)"):
        classifier_coordinates(torch.zeros(1, 2), torch.eye(2), torch.tensor([[0, 1, 0]]))
    with pytest.raises(ValueError, match=r"head_weight must have shape \(3, 2\), got \(3, 3\)"):
        classifier_coordinates(torch.zeros(1, 2), torch.eye(3), torch.tensor([[0, 1]]))
