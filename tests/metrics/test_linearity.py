import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from mixscope import _random
from mixscope.metrics import linearity
from mixscope.metrics.linearity import NonlinearityReport, nonlinearity


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shares(num: int, num_points: int = 2, *, alpha: float = 0.5, seed: int = 0) -> Tensor:
    return _random.sample_dirichlet(alpha, (num, num_points), generator=torch.Generator().manual_seed(seed))


def case(num: int = 40, num_points: int = 2, dim: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    members = normal(num, num_points, dim, seed=1) + 0.5
    weights = shares(num, num_points)
    return torch.einsum("np,npd->nd", weights, members).tanh(), members, weights


def naive_nonlinearity(mixed: Tensor, members: Tensor, weights: Tensor) -> dict[str, float]:
    """One blend at a time, with acos and Eq. 3 as printed."""
    columns: dict[str, list[float]] = {}
    defects, spreads = [], []
    centre = sum(f for row in members for f in row) / (members.shape[0] * members.shape[1])
    for f_mix, row, weight in zip(mixed, members, weights, strict=True):
        a = f_mix / f_mix.norm()
        v = sum(w * f / f.norm() for w, f in zip(weight, row, strict=True))
        r = float(v.norm())
        phi = math.acos(float(a @ v) / r)
        for name, value in (
            ("nonlinearity", float((a - v).norm())),
            ("floor", 1 - r),
            ("radial", (1 - r) ** 2),
            ("angular", 2 * r * (1 - math.cos(phi))),
            ("angle_degrees", math.degrees(phi)),
        ):
            columns.setdefault(name, []).append(value)
        defects.append(float((f_mix - sum(w * f for w, f in zip(weight, row, strict=True))).norm()))
        spreads.extend(float((f - centre).norm()) for f in row)
    report = {name: sum(values) / len(values) for name, values in columns.items()}
    return {**report, "relative_defect": sum(defects) / len(defects) / (sum(spreads) / len(spreads))}


def assert_reports_agree(found: NonlinearityReport, expected: NonlinearityReport, *, rel: float = 1e-10) -> None:
    for name, value in asdict(expected).items():
        assert getattr(found, name) == pytest.approx(value, rel=rel, abs=1e-14), name


def test_one_blend_by_hand() -> None:
    # u = (1, 0) and (0, 1), v = (0.5, 0.5), r = 1/sqrt(2); f(mix) along the first axis: phi = 45 degrees.
    members = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    report = nonlinearity(torch.tensor([[3.0, 0.0]]), members, torch.tensor([[0.5, 0.5]]))
    radius = math.sqrt(0.5)
    assert report.nonlinearity == pytest.approx(math.sqrt(0.5))
    assert report.floor == pytest.approx(1 - radius)
    assert report.radial == pytest.approx((1 - radius) ** 2)
    assert report.angular == pytest.approx(2 * radius * (1 - radius))
    assert report.angle_degrees == pytest.approx(45)
    # |(3, 0) - (1, 0.5)| over |(2, 0) - (1, 0.5)|, the same for both members.
    assert report.relative_defect == pytest.approx(math.sqrt(4.25 / 1.25))


@pytest.mark.parametrize("num_points", [1, 2, 4])
def test_every_field_agrees_with_its_definition(num_points: int) -> None:
    mixed, members, weights = case(num_points=num_points)
    found, expected = asdict(nonlinearity(mixed, members, weights)), naive_nonlinearity(mixed, members, weights)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_radial_and_angular_parts_add_up_for_every_blend() -> None:
    mixed, members, weights = case()
    for row in range(len(mixed)):
        one = slice(row, row + 1)
        report = nonlinearity(mixed[one], members[one], weights[one])
        assert report.radial + report.angular == pytest.approx(report.nonlinearity**2, rel=1e-12)
        assert report.nonlinearity >= report.floor


def test_identity_on_digits_is_affine_and_still_reads_above_zero() -> None:
    from sklearn.datasets import load_digits

    images = torch.tensor(load_digits().data)
    images = images - images.mean(dim=0)
    stream = torch.Generator().manual_seed(0)
    pairs = torch.randint(len(images), (4000, 2), generator=stream)
    members, weights = images[pairs], shares(4000, alpha=0.5)
    mixed = torch.einsum("np,npd->nd", weights, members)
    report = nonlinearity(mixed, members, weights)
    assert report.nonlinearity == pytest.approx(0.142, abs=0.01)
    assert report.relative_defect < 1e-14
    layer, offset = normal(64, 20, seed=2), 100 * normal(20, seed=3)
    affine = nonlinearity(mixed @ layer + offset, members @ layer + offset, weights)
    assert affine.relative_defect < 1e-13
    assert affine.nonlinearity < 0.2 * report.nonlinearity  # a large constant hides everything


def test_mean_floor_of_orthogonal_features() -> None:
    members = torch.eye(2, dtype=torch.float64).expand(20000, 2, 2)
    weights = shares(20000, alpha=0.5)
    report = nonlinearity(torch.einsum("np,npd->nd", weights, members), members, weights)
    assert report.floor == pytest.approx(0.140, abs=0.002)
    assert report.nonlinearity == pytest.approx(report.floor, rel=1e-12)  # linear, equal norms: nothing but the floor
    assert report.angle_degrees < 1e-6


def test_scale_and_rotation_of_the_features_do_not_matter() -> None:
    mixed, members, weights = case()
    expected = nonlinearity(mixed, members, weights)
    rotation = torch.linalg.qr(normal(6, 6, seed=5))[0]
    assert_reports_agree(nonlinearity(mixed @ rotation, members @ rotation, weights), expected)
    for factor in (1e-6, 1e6):
        assert_reports_agree(nonlinearity(factor * mixed, factor * members, weights), expected)


def test_order_of_blends_and_of_members_does_not_matter() -> None:
    mixed, members, weights = case(num_points=3)
    expected = nonlinearity(mixed, members, weights)
    order = torch.randperm(len(mixed), generator=torch.Generator().manual_seed(1))
    assert_reports_agree(nonlinearity(mixed[order], members[order], weights[order]), expected)
    assert_reports_agree(nonlinearity(mixed, members[:, [2, 0, 1]], weights[:, [2, 0, 1]]), expected)


def test_a_shift_leaves_the_defect_of_an_unnormalised_layer() -> None:
    mixed, members, weights = case()
    shift = 3 * normal(6, seed=9)
    plain, shifted = nonlinearity(mixed, members, weights), nonlinearity(mixed + shift, members + shift, weights)
    assert shifted.relative_defect == pytest.approx(plain.relative_defect, rel=1e-12)
    assert abs(shifted.nonlinearity / plain.nonlinearity - 1) > 0.1


def test_blocks_of_rows_give_the_same_report(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed, members, weights = case()
    expected = nonlinearity(mixed, members, weights)
    monkeypatch.setattr(linearity, "BLOCK_VALUES", 3 * 2 * 6)
    assert_reports_agree(nonlinearity(mixed, members, weights), expected)


def test_small_angles_keep_their_digits() -> None:
    # acos of 1 - 5e-17 is 0; the angle is 1e-8.
    members = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    mixed = torch.tensor([[1.0, 1e-8]], dtype=torch.float64)
    report = nonlinearity(mixed, members, torch.tensor([[0.5, 0.5]]))
    assert math.radians(report.angle_degrees) == pytest.approx(1e-8, rel=1e-6)
    assert report.angular == pytest.approx(1e-16, rel=1e-6)


def test_opposite_members_have_no_angle() -> None:
    members = torch.tensor([[[1.0], [-1.0]], [[1.0], [-1.0]]], dtype=torch.float64)
    mixed = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    weights = torch.tensor([[0.5, 0.5], [0.75, 0.25]], dtype=torch.float64)
    report = nonlinearity(mixed, members, weights)
    assert report.nonlinearity == pytest.approx((1 + 1.5) / 2)
    assert report.angular == pytest.approx((0 + 2 * 0.5 * 2) / 2)
    assert report.angle_degrees == pytest.approx(180)  # of the second blend, the only one with an angle


def test_members_all_alike_leave_the_defect_undefined() -> None:
    members = torch.ones(3, 2, 4)
    report = nonlinearity(members[:, 0], members, torch.full((3, 2), 0.5))
    assert report.nonlinearity == pytest.approx(0, abs=1e-12)
    assert math.isnan(report.relative_defect)


def test_float32_is_computed_in_float64_and_gradients_are_left_behind() -> None:
    mixed, members, weights = (part.float() for part in case())
    expected = nonlinearity(mixed.double(), members.double(), weights.double())
    assert nonlinearity(mixed.requires_grad_(), members.requires_grad_(), weights) == expected


def test_what_does_not_fit_is_named() -> None:
    mixed, members, weights = case()
    zeros = members.clone()
    zeros[:3, 1] = 0
    for arguments, message in (
        ((mixed, zeros, weights), "members must have features of non-zero length, got 3 rows of zeros"),
        ((0 * mixed, members, weights), "mixed must have features of non-zero length, got 40 rows of zeros"),
        ((mixed, members, 2 * weights), "weights must be at least 0 with rows that sum to 1, got a smallest weight"),
        ((mixed, members, weights * torch.tensor([-1, 1])), "weights must be at least 0"),
        ((mixed, members[:, :1], weights), r"members must have shape \(40, 2, 6\), got \(40, 1, 6\)"),
        ((mixed[:, :5], members, weights), r"members must have shape \(40, 2, 5\), got \(40, 2, 6\)"),
        ((mixed, members, weights[:, 0]), "weights must have 2 dimensions"),
        ((mixed[:3], members, weights), "mixed and members and weights must have the same length, got 3 and 40 and 40"),
        ((mixed[:0], members[:0], weights[:0]), "mixed must hold at least one blend, got 0"),
        ((mixed * math.nan, members, weights), "mixed must be finite, got 240 NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            nonlinearity(*arguments)
