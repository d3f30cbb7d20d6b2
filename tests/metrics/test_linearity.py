import math

import pytest
import torch
from torch import Tensor

from mixscope.base import generators
from mixscope.metrics.blends import blend_sums
from mixscope.metrics.blends.blend_sums import column_sums
from mixscope.metrics.blends.linearity import NonlinearityMeter, NonlinearityReport, nonlinearity


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shares(num: int, num_points: int = 2, *, alpha: float = 0.5, seed: int = 0) -> Tensor:
    return generators.sample_dirichlet(alpha, (num, num_points), generator=torch.Generator().manual_seed(seed))


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
    defect = sum(defects) / len(defects) / (sum(spreads) / len(spreads))
    return {**report, "relative_defect": defect, "left_out": 0.0}


def assert_reports_agree(found: NonlinearityReport, expected: NonlinearityReport, *, rel: float = 1e-10) -> None:
    for name, value in expected.as_dict().items():
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
    found, expected = nonlinearity(mixed, members, weights).as_dict(), naive_nonlinearity(mixed, members, weights)
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


@pytest.mark.parametrize(("size", "columns"), [(1, 1), (3 * 2 * 6, 6), (30, 2)])
def test_blocks_of_any_size_give_the_same_report(monkeypatch: pytest.MonkeyPatch, size: int, columns: int) -> None:
    mixed, members, weights = case()
    expected = nonlinearity(mixed, members, weights)
    monkeypatch.setattr(blend_sums, "CORE_BLOCK", size)
    monkeypatch.setattr(blend_sums, "MIN_COLUMNS", columns)
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


def batch(num: int = 60, num_points: int = 3, dim: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blends of the rows of one batch: mixed, clean, members, weights."""
    clean, weights = normal(num, dim, seed=1) + 0.5, shares(num, num_points)
    stream = torch.Generator().manual_seed(4)
    members = torch.stack(
        [torch.arange(num), *(torch.randperm(num, generator=stream) for _ in range(num_points - 1))], 1
    )
    return torch.einsum("np,npd->nd", weights, clean[members]).tanh(), clean, members, weights


def meter_of(*parts: tuple[Tensor, Tensor, Tensor, Tensor], mean: Tensor) -> NonlinearityMeter:
    meter = NonlinearityMeter(mean)
    for mixed, clean, members, weights in parts:
        meter.update(mixed, clean, members, weights)
    return meter


def test_a_meter_gives_the_report_of_all_blends_at_once() -> None:
    mixed, clean, members, weights = batch()
    expected = nonlinearity(mixed, clean[members], weights)
    meter = meter_of((mixed, clean, members, weights), mean=clean.mean(dim=0))
    assert meter.num_blends == 60
    assert_reports_agree(meter.report(), expected)


def test_any_split_order_and_merge_of_blends_gives_the_same_numbers() -> None:
    mixed, clean, members, weights = batch()
    mean = clean.mean(dim=0)
    expected = meter_of((mixed, clean, members, weights), mean=mean).report()
    for size in (1, 7, 59):
        parts = [
            (part, clean, rows, share)
            for part, rows, share in zip(mixed.split(size), members.split(size), weights.split(size), strict=True)
        ]
        assert_reports_agree(meter_of(*parts, mean=mean).report(), expected)
        whole, half = meter_of(*parts[::2], mean=mean), meter_of(*reversed(parts[1::2]), mean=mean)
        before = half.sums.clone()
        whole.merge(half)
        assert_reports_agree(whole.report(), expected)
        assert torch.equal(half.sums, before)
    summed = NonlinearityMeter(mean)
    summed.sums = sum(part.sums for part in (meter_of(*parts[:1], mean=mean), meter_of(*parts[1:], mean=mean)))
    assert_reports_agree(summed.report(), expected)


def test_which_mean_is_given_changes_the_defect_alone() -> None:
    mixed, clean, members, weights = batch()
    plain = meter_of((mixed, clean, members, weights), mean=clean.mean(dim=0)).report().as_dict()
    other = meter_of((mixed, clean, members, weights), mean=torch.zeros(7)).report().as_dict()
    spread = (clean - clean.mean(dim=0)).norm(dim=1).mean() / clean.norm(dim=1).mean()
    assert other.pop("relative_defect") == pytest.approx(plain.pop("relative_defect") * float(spread))
    assert other == plain


def test_blends_without_a_direction_are_left_out_and_counted() -> None:
    mixed, clean, members, weights = batch(num_points=2)
    is_dead = torch.zeros(60, dtype=torch.bool)
    is_dead[[3, 40]] = True
    clean = torch.where(is_dead[:, None], 0.0, clean)
    has_dead = is_dead[members].any(dim=1)
    has_dead[17] = True
    mixed[17] = 0
    mean = clean.mean(dim=0)
    found = meter_of((mixed, clean, members, weights), mean=mean).report().as_dict()
    living = meter_of((mixed[~has_dead], clean, members[~has_dead], weights[~has_dead]), mean=mean).report().as_dict()
    assert found.pop("left_out") == pytest.approx(int(has_dead.sum()) / 60)
    assert living.pop("left_out") == 0
    defect = (mixed - torch.einsum("np,npd->nd", weights, clean[members])).norm(dim=1).mean()
    spread = (clean[members] - mean).norm(dim=2).mean()
    assert found.pop("relative_defect") == pytest.approx(float(defect / spread))
    del living["relative_defect"]
    assert found == pytest.approx(living)


def test_a_dead_layer_has_no_numbers_and_raises_nothing() -> None:
    report = nonlinearity(torch.zeros(4, 3), torch.zeros(4, 2, 3), torch.full((4, 2), 0.5)).as_dict()
    assert report.pop("left_out") == 1
    assert all(math.isnan(value) for value in report.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_compared_in_float64(dtype: torch.dtype) -> None:
    mixed, clean, members, weights = batch()
    mixed, clean = mixed.to(dtype), clean.to(dtype)
    mean = clean.double().mean(dim=0)
    expected = meter_of((mixed.double(), clean.double(), members, weights), mean=mean).report()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert meter_of((mixed, clean, members, weights), mean=mean).report() == expected


def test_features_far_from_zero_keep_their_digits() -> None:
    _, clean, members, weights = batch(num_points=2)
    near, far = 1e-3 * clean, 1e3 + 1e-3 * clean
    defect = 1e-5 * normal(60, 7, seed=8)
    expected = meter_of((blend_rows(near, members, weights) + defect, near, members, weights), mean=near.mean(dim=0))
    found = meter_of((blend_rows(far, members, weights) + defect, far, members, weights), mean=far.mean(dim=0))
    # 1e3 in float64 has a spacing of 1e-13: 1e-8 of a defect of 1e-5.
    assert found.report().relative_defect == pytest.approx(expected.report().relative_defect, rel=1e-7)


def blend_rows(clean: Tensor, members: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("np,npd->nd", weights, clean[members])


def test_column_sums_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = normal(50, 4).float()
    expected = rows.double().sum(dim=0)
    torch.testing.assert_close(column_sums(rows), expected)
    monkeypatch.setattr(blend_sums, "CORE_BLOCK", 7)
    torch.testing.assert_close(column_sums(rows), expected)
    assert column_sums(rows[:0]).tolist() == [0, 0, 0, 0]


def test_a_meter_names_what_does_not_fit_and_stays_as_it_was() -> None:
    mixed, clean, members, weights = batch()
    meter = meter_of((mixed, clean, members, weights), mean=clean.mean(dim=0))
    before = meter.sums.clone()
    broken = clean.clone()
    broken[5, 2] = math.inf
    for arguments, message in (
        ((mixed[:, :5], clean, members, weights), "mixed must be float with the 7 columns of feature_mean, got"),
        (
            (mixed, clean.long(), members, weights),
            "clean must be float with the 7 columns of feature_mean, got torch.int64",
        ),
        ((mixed, clean, members.float(), weights), "members must be integers, got torch.float32"),
        ((mixed, clean, members + 1, weights), r"members must lie in \[0, 60\), got values from 1 to 60 \(the rows"),
        ((mixed, clean, members, weights[:, :2]), r"weights must have shape \(60, 3\), got .*to fit members"),
        ((mixed, clean, members, 2 * weights), "weights must be at least 0 with rows that sum to 1"),
        ((mixed, clean, members, weights * math.nan), "weights must be finite, got 180 NaN"),
        ((mixed * math.nan, clean, members, weights), "mixed must be finite, got 420 NaN"),
        ((mixed, broken, members, weights), "clean must be finite, got 1 NaN or infinite values"),
        ((mixed, 1e200 * clean, members, weights), "must have squares that float64 can hold, got an overflow"),
        ((mixed[:3], clean, members, weights), "mixed and members and weights must have the same length, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            meter.update(*arguments)
        assert torch.equal(meter.sums, before)
    meter.update(mixed[:0], clean, members[:0], weights[:0])
    assert torch.equal(meter.sums, before)
    with pytest.raises(ValueError, match="other must have the same feature_mean"):
        meter.merge(NonlinearityMeter(clean.mean(dim=0) + 0.5))
    with pytest.raises(
        ValueError, match=r"other must have the same feature_mean, got \(6,\) numbers that differ from \(7,\)"
    ):
        meter.merge(NonlinearityMeter(torch.zeros(6)))
    with pytest.raises(ValueError, match="must be updated with at least one blend first, got 0"):
        NonlinearityMeter(torch.zeros(6)).report()
    for mean, message in (
        (torch.zeros(2, 3), "feature_mean must have 1 dimensions"),
        (torch.zeros(2, dtype=torch.int64), r"feature_mean must be float of shape \(D,\), got torch.int64"),
        (torch.full((2,), math.nan), "feature_mean must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            NonlinearityMeter(mean)


def test_what_does_not_fit_is_named() -> None:
    mixed, members, weights = case()
    for arguments, message in (
        ((mixed, members * math.nan, weights), "members must be finite, got 480 NaN"),
        ((mixed, members, 2 * weights), "weights must be at least 0 with rows that sum to 1, got a smallest weight"),
        ((mixed, members, weights * torch.tensor([-1, 1])), "weights must be at least 0"),
        ((mixed, members[:, :1], weights), r"members must have shape \(40, 2, 6\), got \(40, 1, 6\)"),
        ((mixed[:, :5], members, weights), r"members must have shape \(40, 2, 5\), got \(40, 2, 6\)"),
        ((mixed, members, weights[:, 0]), "weights must have 2 dimensions"),
        ((mixed[:3], members, weights), "mixed and members and weights must have the same length, got 3 and 40 and 40"),
        ((mixed[:0], members[:0], weights[:0]), "mixed must hold at least one example, got 0"),
        ((mixed * math.nan, members, weights), "mixed must be finite, got 240 NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            nonlinearity(*arguments)
