import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.nn.functional import cross_entropy

from mixscope.theory.peeled.flow import layer_peeled_flow
from mixscope.theory.peeled.loss import best_normalized_margin, log_peeled_loss, normalized_margin
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start, scaled, symmetric_start
from mixscope.theory.peeled.rates import HALF_POWER_SERIES, PREDICTED_RATES, collapse_rates, power_law_rate
from mixscope.theory.peeled.separation import separation_point, square_point
from mixscope.theory.peeled.separation_conditions import separation_kkt
from mixscope.theory.peeled.sphere import sphere_report
from mixscope.theory.solution import NotConvergedWarning

CENTERED = [name for name, rate in PREDICTED_RATES.items() if rate == -1]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def log_grid(low, high, count):
    return torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64)


def flow_to(start, *log_times):
    return layer_peeled_flow(start, log_times=torch.tensor(log_times, dtype=torch.float64)).value


@pytest.fixture(scope="module")
def long_flow():
    """A generic start followed to log t = 10,000: to t = exp(10,000)."""
    start = gaussian_start([5] * 4, dim=8, generator=seeded())
    return start, layer_peeled_flow(start, log_times=log_grid(1, 10_000, 80))


@pytest.fixture(scope="module")
def mild_flow():
    """The milder start of the published numbers' size: entries of standard deviation 0.4."""
    return flow_to(gaussian_start([5] * 4, dim=6, scale=0.4, generator=seeded(1)), 14.1, 45.5, 100, 145.9, 400)


def naive_flow(start, time):
    """The flow in ordinary time, by another solver and autograd."""
    num_classes, dim = start.head_weight.shape

    def slope(_, flat):
        stacked = torch.tensor(flat.reshape(-1, dim), requires_grad=True)
        logits = stacked[num_classes:] @ stacked[:num_classes].T
        cross_entropy(logits, start.labels, reduction="sum").backward()
        return -stacked.grad.numpy().ravel()

    flat = torch.cat([start.head_weight, start.features]).numpy().ravel()
    return solve_ivp(slope, (0, time), flat, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1].reshape(-1, dim)


@pytest.mark.parametrize("counts", [[2, 2, 2], [4, 1, 2], [3, 3]])
@pytest.mark.parametrize("scale", [0.1, 1.5])
def test_the_flow_agrees_with_a_solver_in_ordinary_time(counts, scale):
    start = gaussian_start(counts, dim=3, scale=scale, generator=seeded())
    record = flow_to(start, -3.0, 1.0, 3.0)
    for index, log_time in enumerate((-3.0, 1.0, 3.0)):
        expected = naive_flow(start, math.exp(log_time))
        found = torch.cat([record.head_weights[index], record.features[index]]).numpy()
        assert np.abs(found - expected).max() < 1e-7 * np.abs(expected).max()  # error per step 1e-10; seen 1.3e-9
        assert float(record.log_times[index]) == pytest.approx(log_time, abs=3e-9)


def test_the_conserved_quantity_and_the_mean_classifier_hold_to_log_time_ten_thousand(long_flow):
    start, solution = long_flow
    record = solution.value
    assert solution.is_converged
    assert solution.iterations < 10_000
    assert solution.residual < 1e-10  # asked 1e-6; seen 1e-12
    imbalance = start.head_weight.T @ start.head_weight - start.features.T @ start.features
    for weight, features in zip(record.head_weights, record.features, strict=True):
        drift = weight.T @ weight - features.T @ features - imbalance
        assert float(drift.norm() / imbalance.norm()) < 1e-10
    assert float(record.mean_classifier_drift.max()) < 1e-10  # nothing corrects this one; seen 3e-13
    assert float(record.log_losses[-1]) < -10_000  # exp of it has no float64


def test_records_are_where_they_were_asked_for_and_do_not_change_the_path(long_flow):
    start, solution = long_flow
    record = solution.value
    assert torch.allclose(record.log_times, log_grid(1, 10_000, 80), rtol=2e-9, atol=0)
    alone = flow_to(start, float(record.log_times[40]))
    assert torch.allclose(alone.features[0], record.features[40], rtol=1e-7, atol=1e-9)


def test_loss_norm_and_margin_follow_their_laws(long_flow):
    record = long_flow[1].value
    late = record.log_times >= 1000
    for law in (record.loss_law, record.norm_law, record.norm_ratio, record.margin_ratio):
        assert float((law[late] - 1).abs().max()) < 0.03
        assert abs(float(law[-1]) - 1) < 0.003
    # 1 - margin ratio, |norm ratio - 1| are of order 1 / log t
    for gap in (1 - record.margin_ratio[late], 1 - record.norm_ratio[late]):
        assert power_law_rate(record.log_times[late], gap).exponent == pytest.approx(-1, abs=0.05)


def test_margins_never_fall_once_the_loss_is_below_log_two(long_flow):
    record = long_flow[1].value
    assert bool(record.is_separated[-1])
    assert bool((record.margin_ratio[record.is_separated].diff() > 0).all())
    assert bool((record.smoothed_margin_ratio[record.is_separated].diff() > 0).all())
    assert bool((record.margin_ratio <= 1).all())


def test_the_published_size_of_margins_norms_and_laws_is_met(mild_flow):
    # Another draw of the start, so within a few percent. Published: .9439 .9857 - .9953 .9982 and so on.
    for found, expected, tolerance in (
        (mild_flow.margin_ratio, [0.944, 0.986, 0.992, 0.995, 0.998], 0.02),
        (mild_flow.norm_law, [1.468, 1.166, 1.08, 1.059, 1.024], 0.04),
        (mild_flow.loss_law, [0.743, 0.887, 0.94, 0.955, 0.981], 0.02),
        (mild_flow.norm_ratio, [0.890, 0.955, 0.97, 0.984, 0.994], 0.06),
    ):
        assert found.tolist() == pytest.approx(expected, rel=tolerance)
    assert float(mild_flow.margin_ratio[2]) >= 0.98
    assert 1 <= float(mild_flow.norm_law[2]) <= 1.1
    assert 0.9 <= float(mild_flow.loss_law[2]) <= 1


def test_measured_rates_are_the_predicted_ones(long_flow):
    rates = collapse_rates(long_flow[1].value, first_log_time=100)
    for name, predicted in PREDICTED_RATES.items():
        estimate = rates[name]
        assert estimate.low < estimate.exponent < estimate.high
        # Seen within 0.03. A fit of one power and its first correction to three e-folds.
        assert estimate.exponent == pytest.approx(predicted, abs=0.05), name


def test_slopes_at_moderate_times_are_as_published(mild_flow):
    start = gaussian_start([5] * 4, dim=6, scale=0.4, generator=seeded(1))
    record = layer_peeled_flow(start, log_times=log_grid(30, 300, 30)).value
    for name in CENTERED:
        slope = power_law_rate(record.log_times, getattr(record, name)).exponent
        assert -1.3 <= slope <= -0.8, name
    for name in HALF_POWER_SERIES | {"nc3_duality_uncentered"}:
        slope = power_law_rate(record.log_times, getattr(record, name)).exponent
        assert -0.65 <= slope <= -0.35, name
    assert power_law_rate(record.log_times, record.nc1_pinv).exponent <= -2.5


def test_centred_geometry_collapses_and_the_frozen_mean_holds_the_uncentred_back(long_flow):
    record = long_flow[1].value
    for name in CENTERED:
        assert float(getattr(record, name)[-1]) < 2e-3, name
    assert float(record.nc2_equiangular_weights_uncentered[-1]) > 1e-3
    assert float(record.nc3_duality_uncentered[-1]) > 10 * float(record.nc3_duality[-1])


@pytest.mark.parametrize("seed", [0, 3])
def test_a_symmetric_start_has_no_frozen_mode_and_collapses_like_a_power_of_time(seed):
    symmetric = flow_to(symmetric_start(4, 5, dim=6, generator=seeded(seed)), 25, 50, 100, 400)
    generic = flow_to(gaussian_start([5] * 4, dim=6, generator=seeded(seed)), 25, 50, 100, 400)
    for name in ("nc2_equinorm_means", "nc2_equiangular_means", "nc3_duality"):
        values, others = getattr(symmetric, name), getattr(generic, name)
        assert float(values[0]) < float(others[0]) / 10, name
        assert float(values[-1]) < 1e-14, name  # rounding
        assert float(others[-1]) > 1e-4, name
        # A power of t: more digits from log t = 50 to 100 than from 25 to 50; a power of log t would give as many.
        assert math.log(values[1] / values[2]) > 1.25 * math.log(values[0] / values[1]), name


def test_a_balanced_start_alone_does_not_unfreeze_the_geometry():
    # W^T W = H H^T, but a mean classifier: an orthogonal matrix times W, rows shared out over the examples.
    weight = torch.randn(4, 6, dtype=torch.float64, generator=seeded())
    turn, _ = torch.linalg.qr(torch.randn(20, 20, dtype=torch.float64, generator=seeded(1)))
    start = PeeledPoint(weight, turn[:, :4] @ weight, torch.arange(4).repeat_interleave(5))
    record = layer_peeled_flow(start, log_times=log_grid(100, 1000, 20)).value
    slope = power_law_rate(record.log_times, record.nc3_duality).exponent
    assert -1.1 < slope < -0.85


def test_with_k_minus_one_dimensions_nothing_within_classes_freezes():
    record = flow_to(gaussian_start([5] * 4, dim=3, scale=0.4, generator=seeded()), 120, 1000)
    assert float(record.nc1_trace[0]) < 1e-6
    assert float(record.nc1_pinv[0]) < 1e-6
    assert float(record.nc1_trace[1]) < 1e-25
    assert 1e-5 < float(record.nc3_duality[1]) < 1e-2  # still 1 / log t


@pytest.mark.parametrize("seed", [0, 1])
def test_a_flow_in_a_plane_stays_there_and_ends_at_the_square(seed):
    drawn = gaussian_start([5] * 4, dim=6, generator=seeded(seed))

    def squeezed(extent):
        factors = torch.tensor([1, 1] + [extent] * 4, dtype=torch.float64)
        return PeeledPoint(drawn.head_weight * factors, drawn.features * factors, drawn.labels)

    flat = flow_to(squeezed(0.0), 50.0, 1000.0)
    assert float(flat.features[:, :, 2:].abs().max()) < 1e-9
    assert float(flat.margin_ratio[-1]) == pytest.approx(0.75, abs=0.002)
    assert float(flat.nc2_equiangular_means[-1]) == pytest.approx(4 / 9, abs=1e-3)
    assert float(flow_to(squeezed(0.3), 50.0).margin_ratio[0]) > 0.95
    end = PeeledPoint(flat.head_weights[-1], flat.features[-1], flat.labels)
    report = separation_kkt(end)
    assert report.residual < 0.02  # of order 1 / log t
    assert report.value == pytest.approx(4 * math.sqrt(5), rel=0.01)
    assert report.curvature == pytest.approx(-2, abs=0.1)


def test_the_escape_from_the_square_grows_with_the_norm_and_so_like_the_root_of_log_time():
    square = scaled(square_point(5, dim=3), squared_norm=600.0)
    report = sphere_report(square)
    start = PeeledPoint(
        square.head_weight + 1e-6 * report.escape_weight, square.features + 1e-6 * report.escape_features, square.labels
    )
    record = layer_peeled_flow(start, log_times=log_grid(50, 1000, 20)).value
    assert float((record.margin_ratio - 0.75).abs().max()) < 1e-6  # it is still there
    away = torch.cat([record.head_weights, record.features], dim=1)[:, :, 2].norm(dim=1) / record.squared_norms.sqrt()
    # Derived: d log|away| / d tau = 2 lam, d log rho / d tau = lam, so relative to rho it grows as rho.
    assert power_law_rate(record.squared_norms.sqrt(), away).exponent == pytest.approx(1, abs=0.02)


def test_the_limit_is_a_kkt_point_of_the_separation_problem(long_flow):
    record = long_flow[1].value
    residuals = []
    for index in (40, 60, 79):
        residuals.append(
            separation_kkt(PeeledPoint(record.head_weights[index], record.features[index], record.labels)).residual
        )
    assert residuals[0] > residuals[1] > residuals[2]
    assert residuals[2] < 0.03


def test_imbalanced_classes_approach_their_own_optimum():
    record = flow_to(gaussian_start([8, 2, 1], dim=5, scale=0.5, generator=seeded()), 100.0, 1000.0)
    assert float(record.margin_ratio[1]) > 0.99
    assert float(record.norm_law[1]) == pytest.approx(1, abs=0.02)
    assert float(record.nc2_equinorm_weights[1]) > 0.1  # no simplex frame


def test_rotating_the_start_rotates_the_flow_and_relabelling_permutes_it():
    start = gaussian_start([2, 2, 2], dim=4, generator=seeded())
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=seeded(1)))
    record = flow_to(start, 200.0)
    turned = flow_to(PeeledPoint(start.head_weight @ turn, start.features @ turn, start.labels), 200.0)
    assert torch.allclose(turned.features[0], record.features[0] @ turn, rtol=0, atol=1e-6)
    order = torch.tensor([2, 0, 1])
    relabelled = flow_to(PeeledPoint(start.head_weight[order], start.features, order.argsort()[start.labels]), 200.0)
    assert torch.allclose(relabelled.head_weights[0], record.head_weights[0][order], rtol=0, atol=1e-6)


def test_a_start_that_errs_badly_is_followed_and_its_loss_reported():
    collapsed = separation_point([3] * 4, dim=5, generator=seeded())
    noise = gaussian_start([3] * 4, dim=5, scale=0.05, generator=seeded(1))
    start = PeeledPoint(
        -3 * collapsed.head_weight + noise.head_weight, collapsed.features + noise.features, noise.labels
    )
    assert log_peeled_loss(start) > math.log(12 * math.log(4))  # worse than chance
    record = flow_to(start, -5.0, 0.0, 50.0)
    assert record.is_separated.tolist() == [False, False, True]


def test_tiny_and_huge_starts_are_followed():
    tiny = flow_to(gaussian_start([1, 1], dim=2, scale=1e-9, generator=seeded()), 50.0)
    huge = flow_to(gaussian_start([1, 1], dim=2, scale=1e3, generator=seeded(3)), 50.0)
    for record in (tiny, huge):
        assert bool(torch.isfinite(record.squared_norms).all())
        assert float(record.conserved_drift) < 1e-6
    assert float(tiny.margin_ratio) == pytest.approx(1, abs=1e-6)


def test_records_long_before_the_first_step_are_met():
    start = gaussian_start([2, 2], dim=2, generator=seeded())
    record = flow_to(start, -60.0, -20.0)
    assert record.log_times.tolist() == pytest.approx([-60.0, -20.0], abs=1e-6)
    assert torch.allclose(record.features[0], start.features, rtol=1e-14)


def test_the_record_measures_what_its_names_say(mild_flow):
    point = PeeledPoint(mild_flow.head_weights[1], mild_flow.features[1], mild_flow.labels)
    weight, features, labels = point.head_weight, point.features, point.labels
    means = torch.stack([features[labels == k].mean(dim=0) for k in range(4)])
    centered, weight_centered = means - means.mean(dim=0), weight - weight.mean(dim=0)
    within = sum(torch.outer(h - means[y], h - means[y]) for h, y in zip(features, labels, strict=True)) / 20
    between = sum(torch.outer(m, m) for m in centered) / 4
    naive = {
        "nc1_trace": within.trace() / between.trace(),
        "nc1_pinv": (within @ torch.linalg.pinv(between, rtol=1e-12)).trace() / 4,
        "nc3_duality": (weight_centered / weight_centered.norm() - centered / centered.norm()).norm(),
        "nc3_duality_uncentered": (weight / weight.norm() - centered / centered.norm()).norm(),
        "norm_ratio": (weight.norm() / features.norm()) ** 2,
        "margin_ratio": normalized_margin(point) / best_normalized_margin(4, 5),
        "log_losses": log_peeled_loss(point),
    }
    for suffix, rows in (("means", centered), ("weights", weight_centered), ("weights_uncentered", weight)):
        lengths = rows.norm(dim=1)
        cosines = [rows[i] @ rows[j] / lengths[i] / lengths[j] for i in range(4) for j in range(i)]
        naive[f"nc2_equinorm_{suffix}"] = ((lengths - lengths.mean()) ** 2).mean().sqrt() / lengths.mean()
        naive[f"nc2_equiangular_{suffix}"] = sum(abs(cosine + 1 / 3) for cosine in cosines) / 6
    for name, value in naive.items():
        assert float(getattr(mild_flow, name)[1]) == pytest.approx(float(value), rel=1e-9), name


def test_running_out_of_steps_is_said_once_and_keeps_what_was_reached():
    start = gaussian_start([2, 2, 2], dim=4, generator=seeded())
    with pytest.warns(NotConvergedWarning, match="200 steps end at log t = .*, before 100000"):
        solution = layer_peeled_flow(start, log_times=torch.tensor([5.0, 1e5]), max_steps=200)
    assert not solution.is_converged
    assert "200 steps end at log t" in solution.reason
    assert len(solution.value.log_times) == 1


@pytest.mark.parametrize(
    ("log_times", "message"),
    [
        (torch.tensor([]), "log_times must be increasing and at least one, got"),
        (torch.tensor([2.0, 1.0]), "log_times must be increasing and at least one, got"),
        (torch.tensor([[1.0]]), r"log_times must have 1 dimensions, got shape \(1, 1\)"),
        (torch.tensor([1.0, math.inf]), "log_times must be finite, got 1 NaN or infinite values"),
    ],
)
def test_times_that_make_no_sense_are_refused(log_times, message):
    with pytest.raises(ValueError, match=message):
        layer_peeled_flow(gaussian_start([1, 1], dim=1, generator=seeded()), log_times=log_times)


def test_starts_and_limits_that_make_no_sense_are_refused():
    zero = PeeledPoint(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="start must not be zero: the flow would stay there"):
        layer_peeled_flow(zero, log_times=torch.tensor([1.0]))
    start = gaussian_start([1, 1], dim=1, generator=seeded())
    with pytest.raises(ValueError, match="max_steps must be at least 1, got 0"):
        layer_peeled_flow(start, log_times=torch.tensor([1.0]), max_steps=0)
    with pytest.raises(ValueError, match="max_steps must reach the first of log_times, got 5, which end at"):
        layer_peeled_flow(start, log_times=torch.tensor([1000.0]), max_steps=5)
