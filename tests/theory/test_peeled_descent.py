import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn.functional import cross_entropy

from mixscope.theory.peeled.decay import regularized_flow, regularized_optimum
from mixscope.theory.peeled.flow import layer_peeled_descent, layer_peeled_flow
from mixscope.theory.peeled.loss import stack, stacked_loss
from mixscope.theory.peeled.point import PeeledPoint, gaussian_start
from mixscope.theory.solution import NotConvergedWarning


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_descent_agrees_with_autograd_step_by_step():
    start = gaussian_start([2, 3, 1], dim=4, generator=seeded())
    weight, features = start.head_weight.clone().requires_grad_(), start.features.clone().requires_grad_()
    for _ in range(50):
        loss = cross_entropy(features @ weight.T, start.labels, reduction="sum")
        gradients = torch.autograd.grad(loss, (weight, features))
        with torch.no_grad():
            weight -= 0.1 * gradients[0]
            features -= 0.1 * gradients[1]
    record = layer_peeled_descent(start, learning_rate=0.1, record_steps=[7, 50]).value
    assert torch.allclose(record.head_weights[1], weight.detach(), rtol=1e-11)
    assert torch.allclose(record.features[1], features.detach(), rtol=1e-11)
    assert record.log_times.tolist() == pytest.approx([math.log(0.7), math.log(5.0)])


def test_descent_with_small_steps_follows_the_flow():
    start = gaussian_start([2, 2, 2], dim=4, scale=0.5, generator=seeded())
    flow = layer_peeled_flow(start, log_times=torch.tensor([math.log(2.0)], dtype=torch.float64)).value
    gaps = []
    for learning_rate in (1e-2, 1e-3):
        steps = [round(2.0 / learning_rate)]
        descent = layer_peeled_descent(start, learning_rate=learning_rate, record_steps=steps)
        gaps.append(float((descent.value.features - flow.features).norm()))
        assert descent.residual < learning_rate  # the conservation law, which descent breaks in proportion
    assert gaps[1] == pytest.approx(gaps[0] / 10, rel=0.1)  # first order


def test_descent_moves_the_geometry_by_little_and_the_mean_classifier_not_at_all():
    start = gaussian_start([5] * 4, dim=6, scale=0.4, generator=seeded())
    solution = layer_peeled_descent(start, learning_rate=0.1, record_steps=[100, 1000, 10_000])
    record = solution.value
    assert solution.is_converged
    assert float(record.mean_classifier_drift.max()) < 1e-6  # seen 1e-15
    assert solution.residual < 0.1
    for name in ("nc3_duality", "nc1_trace", "nc1_pinv"):
        assert bool((getattr(record, name).diff() < 0).all()), name
    assert float(record.nc3_duality[0] / record.nc3_duality[-1]) < 4  # a hundred times the steps


def test_descent_that_overflows_says_so():
    start = gaussian_start([2, 2, 2], dim=4, generator=seeded())
    with pytest.raises(ValueError, match="learning_rate must be small enough not to overflow by step 50, got 1e"):
        layer_peeled_descent(start, learning_rate=1e200, record_steps=[50])
    with pytest.warns(NotConvergedWarning, match="layer_peeled_descent did not converge: the residual nan"):
        solution = layer_peeled_descent(start, learning_rate=1e100, record_steps=[1, 50])
    assert not solution.is_converged
    assert len(solution.value.log_times) == 1


@pytest.mark.parametrize("steps", [[], [0, 1], [5, 5], [5, 2]])
def test_steps_that_make_no_sense_are_refused(steps):
    with pytest.raises(ValueError, match="record_steps must be increasing and at least 1, got"):
        layer_peeled_descent(gaussian_start([1, 1], dim=1, generator=seeded()), learning_rate=0.1, record_steps=steps)


def test_the_regularized_optimum_is_the_minimum_that_a_minimiser_finds():
    for num_classes, num_per_class, dim, weight_decay, feature_decay in (
        (3, 2, 2, 0.1, 0.02),
        (4, 3, 6, 0.01, 0.05),
        (2, 1, 1, 0.5, 0.5),
    ):
        start = gaussian_start([num_per_class] * num_classes, dim=dim, generator=seeded())
        loss, shape = stacked_loss(start), stack(start).shape
        decay = np.full(shape, feature_decay)
        decay[:num_classes] = weight_decay

        def objective(flat, loss=loss, shape=shape, decay=decay):
            log_loss, descent = loss.descent(flat.reshape(shape))
            size = math.exp(log_loss)
            slope = decay.ravel() * flat - size * descent.ravel()
            return size + 0.5 * float(decay.ravel() @ flat**2), slope

        found = minimize(
            objective, stack(start).ravel(), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-9}
        )
        solution = regularized_optimum(
            num_classes, num_per_class, weight_decay=weight_decay, feature_decay=feature_decay
        )
        optimum = solution.value
        assert solution.is_converged
        penalty = weight_decay * optimum.weight_squared_norm + feature_decay * optimum.feature_squared_norm
        assert math.exp(optimum.log_loss) + 0.5 * penalty == pytest.approx(found.fun, rel=1e-12)
        stacked = found.x.reshape(shape)
        assert float((stacked[:num_classes] ** 2).sum()) == pytest.approx(optimum.weight_squared_norm, rel=1e-5)
        assert float((stacked[num_classes:] ** 2).sum()) == pytest.approx(optimum.feature_squared_norm, rel=1e-5)


def test_the_flow_with_decay_ends_at_the_optimum_centred_or_not():
    start = gaussian_start([5] * 4, dim=6, generator=seeded())
    times = torch.tensor([10.0, 1000.0, 20_000.0])
    solution = regularized_flow(start, times=times, weight_decay=1e-3, feature_decay=2e-3)
    record = solution.value
    optimum = regularized_optimum(4, 5, weight_decay=1e-3, feature_decay=2e-3).value
    assert solution.is_converged
    assert float(record.squared_norms[-1]) == pytest.approx(
        optimum.weight_squared_norm + optimum.feature_squared_norm, rel=1e-6
    )
    assert float(record.log_losses[-1]) == pytest.approx(optimum.log_loss, rel=1e-6)
    for name in ("nc3_duality", "nc3_duality_uncentered", "nc1_trace", "nc2_equiangular_weights_uncentered"):
        assert float(getattr(record, name)[-1]) < 1e-6, name


def test_under_decay_the_mean_classifier_and_the_imbalance_fall_exponentially():
    start = gaussian_start([3, 1, 2], dim=4, generator=seeded())
    record = regularized_flow(start, times=torch.tensor([5.0, 50.0]), weight_decay=0.02, feature_decay=0.02).value

    def imbalance(weight, features):
        return weight.T @ weight - features.T @ features

    for index, time in enumerate((5.0, 50.0)):
        weight, features = record.head_weights[index], record.features[index]
        assert torch.allclose(weight.mean(dim=0), start.head_weight.mean(dim=0) * math.exp(-0.02 * time), atol=1e-8)
        expected = imbalance(start.head_weight, start.features) * math.exp(-0.04 * time)
        assert torch.allclose(imbalance(weight, features), expected, atol=1e-6)


def test_too_strong_a_decay_collapses_everything_to_zero():
    optimum = regularized_optimum(3, 4, weight_decay=2.0, feature_decay=2.0).value
    assert optimum.margin == optimum.weight_squared_norm == optimum.feature_squared_norm == 0
    assert math.exp(optimum.log_loss) == pytest.approx(12 * math.log(3))
    below = regularized_optimum(3, 4, weight_decay=1.99, feature_decay=1.99).value
    assert 0 < below.margin < 0.05
    start = gaussian_start([4, 4, 4], dim=3, generator=seeded())
    record = regularized_flow(start, times=torch.tensor([30.0]), weight_decay=3.0, feature_decay=3.0).value
    assert float(record.squared_norms) < 1e-12


def test_without_decay_the_two_flows_agree():
    start = gaussian_start([2, 1, 2], dim=3, generator=seeded())
    ordinary = regularized_flow(start, times=torch.tensor([4.0]), weight_decay=0.0, feature_decay=0.0).value
    logarithmic = layer_peeled_flow(start, log_times=torch.tensor([math.log(4.0)], dtype=torch.float64)).value
    assert torch.allclose(ordinary.features, logarithmic.features, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": torch.tensor([0.0])}, "times must be positive, got"),
        ({"times": torch.tensor([])}, "times must be increasing and at least one, got"),
        ({"times": torch.tensor([2.0, 1.0])}, "times must be increasing and at least one, got"),
        ({"times": torch.tensor([math.nan])}, "times must be finite, got 1 NaN or infinite values"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"feature_decay": math.inf}, "feature_decay must be at most 1e\\+100, got inf"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"max_steps": 2}, "max_steps must reach the first of times, got 2, which end at"),
    ],
)
def test_options_out_of_range_are_refused(change, message):
    start = gaussian_start([1, 1], dim=2, generator=seeded())
    options = {"times": torch.tensor([100.0]), "weight_decay": 0.1, "feature_decay": 0.1} | change
    with pytest.raises(ValueError, match=message):
        regularized_flow(start, **options)


def test_a_zero_start_and_decay_without_an_optimum_are_refused_and_steps_may_run_out():
    zero = PeeledPoint(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="start must not be zero"):
        regularized_flow(zero, times=torch.tensor([1.0]), weight_decay=0.1, feature_decay=0.1)
    with pytest.raises(ValueError, match="feature_decay must be positive and finite, got 0"):
        regularized_optimum(2, 1, weight_decay=0.1, feature_decay=0.0)
    start = gaussian_start([1, 1], dim=2, generator=seeded())
    with pytest.warns(NotConvergedWarning, match="20 steps end at t = .*, before 100000"):
        solution = regularized_flow(
            start, times=torch.tensor([0.01, 1e5]), weight_decay=0.1, feature_decay=0.1, max_steps=20
        )
    assert len(solution.value.log_times) == 1


def test_a_start_with_a_slope_that_no_float64_holds_is_refused():
    start = gaussian_start([1, 1], dim=2, scale=1e100, generator=seeded())
    with pytest.raises(ValueError, match="start must have a slope that float64 can hold, got one of length inf"):
        regularized_flow(start, times=torch.tensor([1.0]), weight_decay=0.1, feature_decay=0.1)
