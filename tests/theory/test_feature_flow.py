import math

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from mixscope.theory.random_features.feature_flow import (
    FeatureFlow,
    random_feature_flow,
    squared_risk,
    switched_parameters,
)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=stream(seed))


def rotation(dim: int) -> Tensor:
    return torch.linalg.qr(normal(dim, dim, seed=9)).Q


def problem(name: str) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return features, labels, start and learning rate."""
    tall, labels, start = normal(30, 6, seed=1), normal(30, seed=2), normal(6, seed=3)
    return {
        "tall": (tall, labels, start, 0.4),
        "shifted": (tall + 2.0, labels - 7.0, start + 5.0, 0.05),
        "scaled": (1e3 * tall, 1e-2 * labels, 1e-5 * start, 0.4e-6),
        "rotated": (tall @ rotation(6), labels, start @ rotation(6), 0.4),
        "wide": (tall[:4], labels[:4], start, 0.2),
        "dependent": (tall[:, [0, 1, 2, 0, 1, 2]], labels, start, 0.2),
        "one row": (tall[:1], labels[:1], start, 0.1),
    }[name]


NAMES = ["tall", "shifted", "scaled", "rotated", "wide", "dependent", "one row"]


def gradient(features: Tensor, targets: Tensor, parameters: Tensor) -> Tensor:
    return features.T @ (features @ parameters - targets) / len(features)


@pytest.mark.parametrize("name", NAMES)
def test_flow_agrees_with_an_integrator_of_the_differential_equation(name: str) -> None:
    features, targets, start, rate = problem(name)
    flow = random_feature_flow(features, targets, learning_rate=rate, start=start).value
    times = torch.tensor([0.0, 0.3, 2.0, 20.0], dtype=torch.float64)
    path = solve_ivp(
        lambda _, theta: (-rate * gradient(features, targets, torch.from_numpy(theta))).numpy(),
        (0, 20),
        start.numpy(),
        t_eval=times.numpy(),
        method="DOP853",
        rtol=1e-12,
        atol=1e-12 * float(start.abs().max()),
    )
    gap = (flow.at(times) - torch.from_numpy(path.y.T)).norm(dim=1) / flow.at(times).norm(dim=1)
    assert float(gap.max()) < 1e-8  # the integrator's tolerance, gathered over its steps; seen 1e-11


@pytest.mark.parametrize("name", NAMES)
def test_descent_is_the_loop_of_steps(name: str) -> None:
    features, targets, start, rate = problem(name)
    flow = random_feature_flow(features, targets, learning_rate=rate, start=start).value
    parameters, path = start.clone(), [start.clone()]
    for _ in range(200):
        parameters = parameters - rate * gradient(features, targets, parameters)
        path.append(parameters)
    found = flow.after(torch.arange(201))
    assert float((found - torch.stack(path)).norm(dim=1).max() / found.norm(dim=1).max()) < 1e-12  # seen 1e-14


def test_descent_with_steps_beyond_the_minimum_swings_as_the_loop_does() -> None:
    features, targets = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64)), torch.tensor([1.0, 1.0])
    flow = random_feature_flow(features, targets, learning_rate=0.9).value  # eta mu is 1.8 and 0.45
    progress = [[1 - (-0.8) ** step, 1 - 0.55**step] for step in range(6)]
    expected = torch.tensor(progress, dtype=torch.float64) * torch.tensor([0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(flow.after(torch.arange(6)), expected, rtol=1e-14, atol=1e-14)


def test_descent_in_one_step_to_the_minimum_stays_there() -> None:
    flow = random_feature_flow(torch.eye(2), torch.tensor([3.0, -1.0]), learning_rate=2.0).value  # eta mu = 1
    torch.testing.assert_close(
        flow.after(torch.tensor([0, 1, 2, 10**15])),
        torch.tensor([[0.0, 0.0], [3.0, -1.0], [3.0, -1.0], [3.0, -1.0]], dtype=torch.float64),
        rtol=1e-15,
        atol=1e-15,
    )


def test_descent_keeps_its_digits_over_a_million_million_steps() -> None:
    # (1 - 1e-12)^(1e12) = exp(-1 - 5e-13); a power of the rounded 1 - 1e-12 is off by 2e-5.
    features = torch.diag(torch.tensor([1.0, 1e-6], dtype=torch.float64))
    flow = random_feature_flow(features, torch.tensor([1.0, 1e-6], dtype=torch.float64), learning_rate=2.0).value
    assert float(flow.after(10**12)[1]) == pytest.approx(-math.expm1(-1 - 5e-13), rel=1e-12)
    assert float(flow.after(2**62)[1]) == pytest.approx(1.0, rel=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_limit_is_the_least_squares_solution_nearest_to_the_start(name: str) -> None:
    features, targets, start, rate = problem(name)
    flow = random_feature_flow(features, targets, learning_rate=rate, start=start).value
    inverse = torch.linalg.pinv(features, rtol=1e-13)
    expected = inverse @ targets + start - inverse @ features @ start
    for found in (flow.end, flow.at(math.inf), flow.after(2**62)):
        assert float((found - expected).norm() / expected.norm()) < 1e-12  # condition numbers below 100


def test_part_of_the_start_that_no_row_sees_never_moves() -> None:
    features, targets, start, rate = problem("wide")
    flow = random_feature_flow(features, targets, learning_rate=rate, start=start).value
    unseen = torch.eye(6, dtype=torch.float64) - torch.linalg.pinv(features) @ features
    paths = flow.at(torch.tensor([0.1, 10.0, math.inf])) @ unseen
    torch.testing.assert_close(paths, (unseen @ start).expand(3, -1), rtol=1e-12, atol=1e-13)
    assert len(flow.curvatures) == 4


def test_flow_has_the_form_of_the_lemma_with_one_matrix_exponential_per_time() -> None:
    # theta_t - theta* = exp(-eta t Phi^T Phi / M) (theta_0 - theta*) + (I - exp(...)) theta_noise.
    features, given, start, rate = problem("shifted")
    true = given + normal(30, seed=8)
    flow = random_feature_flow(features, given, learning_rate=rate, start=start).value
    star, end = (torch.linalg.lstsq(features, labels).solution for labels in (true, given))
    for time in (0.2, 3.0, 50.0):
        decay = torch.linalg.matrix_exp(-rate * time / 30 * features.T @ features)
        expected = star + decay @ (start - star) + (torch.eye(6, dtype=torch.float64) - decay) @ (end - star)
        torch.testing.assert_close(flow.at(time), expected, rtol=1e-11, atol=1e-11)


def test_learning_rate_only_rescales_time() -> None:
    features, targets, start, _ = problem("tall")
    slow, fast = (random_feature_flow(features, targets, learning_rate=rate, start=start).value for rate in (0.01, 7.0))
    times = torch.logspace(-2, 4, 60, dtype=torch.float64)
    torch.testing.assert_close(slow.at(times * 700), fast.at(times), rtol=1e-12, atol=1e-13)
    risk = squared_risk(normal(200, 6, seed=5), normal(200, seed=6))
    smallest = [float(risk.of(flow.at(grid)).min()) for flow, grid in ((slow, times * 700), (fast, times))]
    assert smallest[0] == pytest.approx(smallest[1], rel=1e-12)


def test_flow_follows_rotation_order_shift_and_scale() -> None:
    features, targets, start, rate = problem("tall")
    times = torch.tensor([0.0, 1.0, 30.0, math.inf])

    def path(matrix: Tensor, labels: Tensor, origin: Tensor, learning_rate: float = rate) -> Tensor:
        return random_feature_flow(matrix, labels, learning_rate=learning_rate, start=origin).value.at(times)

    expected, turn, order = path(features, targets, start), rotation(6), torch.randperm(30, generator=stream(4))
    added = normal(6, seed=7)
    torch.testing.assert_close(path(features @ turn, targets, start @ turn) @ turn.T, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(path(features[order], targets[order], start), expected, rtol=1e-12, atol=1e-12)
    moved = path(features, targets + features @ added, start + added) - added
    torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)
    stretched = path(1e4 * features, targets, 1e-4 * start, 1e-8 * rate)
    torch.testing.assert_close(1e4 * stretched, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_certificate_is_at_rounding(name: str) -> None:
    features, targets, start, rate = problem(name)
    solution = random_feature_flow(features, targets, learning_rate=rate, start=start)
    assert solution.is_converged
    assert solution.residual < 1e-14


def test_certificate_holds_on_features_of_condition_number_ten_million() -> None:
    shares = torch.logspace(0, -7, 6, dtype=torch.float64)
    features = torch.linalg.qr(normal(30, 6)).Q * shares @ rotation(6)
    flow = random_feature_flow(features, features @ torch.ones(6, dtype=torch.float64)).value
    # The eigenvalues of Phi^T Phi span 1e14: taken from that matrix the smallest would be off by 1%.
    torch.testing.assert_close(flow.curvatures, shares.square() / 30, rtol=1e-8, atol=0)
    torch.testing.assert_close(flow.end, torch.ones(6, dtype=torch.float64), rtol=1e-8, atol=1e-8)


def test_other_labels_of_the_same_rows_need_no_new_decomposition() -> None:
    features, targets, start, rate = problem("dependent")
    other = normal(30, seed=11)
    flow = random_feature_flow(features, targets, learning_rate=rate, start=start).value
    again = random_feature_flow(features, other, learning_rate=rate, start=start).value
    times = torch.tensor([0.5, 5.0, math.inf])
    torch.testing.assert_close(flow.with_targets(other).at(times), again.at(times), rtol=1e-12, atol=1e-13)


def test_features_that_are_all_zero_teach_nothing() -> None:
    solution = random_feature_flow(torch.zeros(3, 2), torch.ones(3), start=torch.tensor([1.0, 2.0]))
    assert solution.value.at(math.inf).tolist() == solution.value.after(5).tolist() == [1.0, 2.0]
    assert solution.is_converged


def switch_pair() -> tuple[FeatureFlow, FeatureFlow, Tensor, Tensor]:
    blends, examples = normal(40, 8, seed=1), normal(5, 8, seed=2)
    labels = normal(5, seed=4)
    before = random_feature_flow(blends, normal(40, seed=3)).value
    return before, random_feature_flow(examples, labels).value, examples, labels


def test_switch_keeps_what_the_second_data_do_not_see() -> None:
    before, after, examples, labels = switch_pair()
    times = torch.tensor([0.0, 0.7, 30.0, math.inf])
    inverse = torch.linalg.pinv(examples)
    outside = torch.eye(8, dtype=torch.float64) - inverse @ examples
    expected = before.at(times) @ outside + inverse @ labels  # (I - P) theta_tau + Phi^+ y
    torch.testing.assert_close(switched_parameters(before, after, switch_times=times), expected, rtol=1e-12, atol=1e-12)


def test_risk_is_the_mean_squared_error() -> None:
    features, targets, parameters = normal(50, 4, seed=1), normal(50, seed=2), normal(7, 4, seed=3)
    expected = (parameters @ features.T - targets).square().mean(dim=1)
    whole = squared_risk(features, targets)
    torch.testing.assert_close(whole.of(parameters), expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(whole.of(parameters[0]), expected[0], rtol=1e-13, atol=0)


def test_risk_of_the_right_answer_is_zero_to_the_square_of_rounding() -> None:
    features, teacher = normal(5000, 20, seed=1), normal(20, seed=2)
    risk = squared_risk(features, features @ teacher)
    assert float(risk.of(teacher)) < 1e-27  # theta A theta - 2 b theta + c would leave 1e-15
    nearby = teacher + 1e-9 * normal(20, seed=3)
    expected = float((features @ (nearby - teacher)).square().mean())
    assert float(risk.of(nearby)) == pytest.approx(expected, rel=1e-5)  # 1e-15 of a label against errors of 1e-9


@pytest.mark.parametrize(
    ("features", "targets", "options", "message"),
    [
        (torch.ones(3), torch.ones(3), {}, r"features must have 2 dimensions, got shape \(3,\)"),
        (torch.ones(3, 2), torch.ones(4), {}, "targets must have shape \\(3,\\), got \\(4,\\)"),
        (torch.ones(0, 2), torch.ones(0), {}, "features must hold at least one example, got 0"),
        (torch.ones(2, 0), torch.ones(2), {}, "features must hold at least one example, got 0"),
        (torch.full((3, 2), math.nan), torch.ones(3), {}, "features must be finite, got 6 NaN or infinite values"),
        (torch.ones(3, 2), torch.ones(3), {"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        (torch.ones(3, 2), torch.ones(3), {"start": torch.ones(3)}, r"start must have shape \(2,\), got \(3,\)"),
        (torch.ones(1, 1), torch.ones(1), {"start": torch.tensor([math.inf])}, "start must be finite, got 1 NaN or"),
    ],
)
def test_flow_says_what_is_wrong(features: Tensor, targets: Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        random_feature_flow(features, targets, **options)


def test_paths_say_what_is_wrong() -> None:
    flow = random_feature_flow(torch.eye(2), torch.ones(2), learning_rate=4.0).value
    with pytest.raises(ValueError, match=r"^times must be at least 0, got -1.0$"):
        flow.at(torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"^times must be at least 0, got nan$"):
        flow.at(math.nan)
    with pytest.raises(ValueError, match=r"^learning_rate must be below 2 / mu_max = 4, got 4.0$"):
        flow.after(3)
    with pytest.raises(ValueError, match=r"^steps must be a torch.Tensor or an integer, got 0.5$"):
        flow.after(0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^steps must be integers of at least 0, got -1$"):
        flow.after(-1)
    with pytest.raises(
        ValueError, match=r"^targets must have shape \(2,\), got \(3,\) \(to fit the rows of the flow\)$"
    ):
        flow.with_targets(torch.ones(3))
    other = random_feature_flow(torch.ones(1, 1), torch.ones(1)).value
    with pytest.raises(ValueError, match=r"^before and after must have the same number of features, got 2 and 1$"):
        switched_parameters(flow, other, switch_times=torch.zeros(1))
    with pytest.raises(ValueError, match=r"^parameters must have 2 columns, got shape \(3, 1\)$"):
        squared_risk(torch.eye(2), torch.ones(2)).of(torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"^features must hold at least one example, got 0"):
        squared_risk(torch.ones(0, 2), torch.ones(0))
