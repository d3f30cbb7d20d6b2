"""Checks of one draw of the random-feature model behind Liu et al. 2023: closed form, bound, modes, learning rate.

What each value is, is said by the claim that reads it, in `claims_features` and `claims_simulated`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar
from torch import Tensor

from mixscope.base.generators import named_generator, sample_beta
from mixscope.studies.engine.trial import Measured, Table
from mixscope.theory import (
    FeatureFlow,
    FeatureSetting,
    Pairs,
    SpanTeacher,
    SquaredRisk,
    TanhFeatures,
    TurningTimes,
    all_pairs,
    default_times,
    random_feature_flow,
    risk_bound,
    span_teacher,
    squared_risk,
    switched_parameters,
    tanh_features,
    turning_times,
    two_layer_teacher,
)

SMALL = FeatureSetting(num_examples=8, input_dim=5, num_features=30, num_test=2000)  # where solvers are fast
SETTING = FeatureSetting()  # 20 examples, 400 blends, 100 features
FEATURE_BOUND = 1.0  # |phi|^2 of tanh features
RATES = (0.1, 10.0)  # against a learning rate of 1
THINNING = 4  # of the curves that are kept


@dataclass(frozen=True)
class _World:
    """One draw of everything: features, teacher, examples, blends."""

    features: TanhFeatures
    teacher: SpanTeacher
    inputs: Tensor
    pairs: Pairs
    risk: SquaredRisk

    @property
    def blends(self) -> Tensor:
        return self.pairs.blend(self.inputs)

    @property
    def labels(self) -> Tensor:
        return self.teacher(self.inputs)

    def flow(self, learning_rate: float = 1.0) -> FeatureFlow:
        targets = self.pairs.blend(self.labels)
        return random_feature_flow(self.features(self.blends), targets, learning_rate=learning_rate).value


def _draw(setting: FeatureSetting, seed: int, draw_teacher: Callable[..., SpanTeacher]) -> _World:
    def stream(purpose: str) -> torch.Generator:
        return named_generator(seed, f"liu2023: {purpose}")

    def normal(rows: int, purpose: str) -> Tensor:
        return torch.randn(rows, setting.input_dim, dtype=torch.float64, generator=stream(purpose))

    features = tanh_features(setting.input_dim, setting.num_features, generator=stream("features"))
    teacher = draw_teacher(features, generator=stream("teacher"))
    weights = sample_beta(setting.alpha, setting.num_examples**2, generator=stream("weights"))
    test = normal(setting.num_test, "test")
    return _World(
        features,
        teacher,
        normal(setting.num_examples, "inputs"),
        all_pairs(weights),
        squared_risk(features(test), teacher(test)),
    )


def closed_form(seed: int) -> Measured:
    """Hold the closed form against an ODE solver, plain steps, the lemma's matrices, least squares after a switch."""
    world = _draw(SMALL, seed, span_teacher)
    matrix, targets = world.features(world.blends), world.pairs.blend(world.labels)
    start = torch.randn(SMALL.num_features, dtype=torch.float64, generator=named_generator(seed, "liu2023: start"))
    flow = random_feature_flow(matrix, targets, start=start).value
    times = torch.tensor([0.0, 3.0, 30.0, 300.0], dtype=torch.float64)
    path = flow.at(times)
    scale = float(path.norm(dim=1).max())
    examples = world.features(world.inputs)
    plain = random_feature_flow(examples, world.labels).value
    left_over = (world.labels - path @ examples.T).T
    after = path + torch.linalg.lstsq(examples, left_over, driver="gelsd").solution.T
    blended = world.pairs.blend(examples) @ world.teacher.coefficients
    errors = {
        "ode_error": _solver_path(matrix, targets, start, times) - path,
        "descent_error": _stepped(matrix, targets, start, 500) - flow.after(500),
        "lemma_error": _lemma_path(matrix, targets, world.teacher(world.blends), start, times) - path,
        "switch_error": after - switched_parameters(flow, plain, switch_times=times),
    }
    values = {name: float(difference.abs().max()) / scale for name, difference in errors.items()}
    return Measured(values | {"feature_noise": float((targets - blended).abs().max())})


def _solver_path(matrix: Tensor, targets: Tensor, start: Tensor, times: Tensor) -> Tensor:
    """Return gradient flow by a Runge-Kutta method."""
    a, y, num = matrix.numpy(), targets.numpy(), len(matrix)
    options = {"method": "DOP853", "t_eval": times.numpy(), "rtol": 1e-12, "atol": 1e-13}
    span = (0.0, float(times[-1]))
    solution = solve_ivp(lambda _, theta: a.T @ (y - a @ theta) / num, span, start.numpy(), **options)
    return torch.from_numpy(solution.y.T.copy())


def _stepped(matrix: Tensor, targets: Tensor, start: Tensor, num_steps: int) -> Tensor:
    """Return gradient descent at a learning rate of 1, step by step."""
    theta = start.clone()
    for _ in range(num_steps):
        theta = theta + (targets - matrix @ theta) @ matrix / len(matrix)
    return theta


def _lemma_path(matrix: Tensor, targets: Tensor, clean: Tensor, start: Tensor, times: Tensor) -> Tensor:
    """Return the path as the paper's Lemma 5.1 has it: decay towards theta*, and noise that fades in."""
    inverse = torch.linalg.pinv(matrix)
    star, noise = inverse @ clean, inverse @ (targets - clean)
    decays = torch.linalg.matrix_exp(-times[:, None, None] * (matrix.T @ matrix / len(matrix)))
    identity = torch.eye(len(start), dtype=torch.float64)
    return star + decays @ (start - star) + (identity - decays) @ noise


def bound_and_modes(seed: int) -> Measured:
    """Check the risk bound, the turning time of every mode, and that the learning rate only rescales time."""
    world = _draw(SETTING, seed, span_teacher)
    flow, clean = world.flow(), world.teacher(world.blends)
    modes = turning_times(flow, clean)
    star = flow.with_targets(clean).end
    table: Table = {
        "curvature": modes.curvatures.tolist(),
        "exact": modes.exact.tolist(),
        "bound": modes.bound.tolist(),
        "turns": modes.is_turning.double().tolist(),
    }
    values, curves = _bound(world, flow, clean)
    values |= {
        "modes/turning_share": float(modes.is_turning.double().mean()),
        "modes/wrong": float((_is_u_shaped(flow, star, modes) != modes.is_turning).sum()),
        "modes/time_error": _turning_error(flow, star, modes),
    }
    return Measured(values | _rescaled(world, flow), {"modes": table, "bound": curves})


def outside_bound(seed: int) -> Measured:
    """Check the risk bound for a teacher that the features cannot express."""
    world = _draw(SETTING, seed, two_layer_teacher)
    return Measured(_bound(world, world.flow(), world.teacher(world.blends))[0])


def _bound(world: _World, flow: FeatureFlow, clean: Tensor) -> tuple[dict[str, float], Table]:
    times = default_times()[:-1]
    clean_risk = float(world.risk.of(flow.with_targets(clean).end))
    bound = risk_bound(flow, clean, times=times, feature_bound=FEATURE_BOUND, clean_risk=clean_risk)
    excess = world.risk.of(flow.at(times)) - clean_risk
    is_above = excess > 0
    values = {
        "bound/largest_share": float((excess / bound.total).max()),
        "bound/looseness": float((bound.total[is_above] / excess[is_above]).quantile(0.5)),
        "bound/time_share": float(times[bound.total.argmin()] / times[excess.argmin()]),
        "bound/known_noise_time_share": float(times[bound.known_noise.argmin()] / times[excess.argmin()]),
    }
    columns = {"time": times, "excess": excess, "bound": bound.total, "known_noise": bound.known_noise}
    return values, {name: column[::THINNING].tolist() for name, column in columns.items()}


def _is_u_shaped(flow: FeatureFlow, star: Tensor, modes: TurningTimes) -> Tensor:
    """Say of every mode whether its squared error falls and rises again, read off the path on a grid of its own."""
    units = torch.cat([torch.zeros(1), torch.logspace(-8, 1.7, 300)]).double()  # of 1 / mu
    shapes = []
    for index, pace in enumerate((flow.learning_rate * flow.curvatures).tolist()):
        errors = ((flow.at(units / pace) - star) @ flow.modes[index]).square()
        room = 1e-3 * torch.minimum(modes.offsets[index].square(), modes.noises[index].square())
        smallest = errors.min()
        shapes.append(bool(errors[0] > smallest + room) and bool(errors[-1] > smallest + room))
    return torch.tensor(shapes)


def _turning_error(flow: FeatureFlow, star: Tensor, modes: TurningTimes) -> float:
    """Return the largest relative error of the turning times against a bisection on the path itself."""
    turning = modes.is_turning
    directions, exact = flow.modes[turning], modes.exact[turning]

    def error(times: Tensor) -> Tensor:
        return ((flow.at(times) - star) * directions).sum(dim=1)

    low, high = torch.zeros_like(exact), 100 / (flow.learning_rate * flow.curvatures[turning])
    sign = error(low).sign()
    for _ in range(100):
        middle = (low + high) / 2
        is_before = error(middle).sign() == sign
        low, high = torch.where(is_before, middle, low), torch.where(is_before, high, middle)
    return float(((low + high) / 2 / exact - 1).abs().max()) if len(exact) else 0.0


def _rescaled(world: _World, flow: FeatureFlow) -> dict[str, float]:
    """Return how far other learning rates change the smallest risk, and the product of rate and time where it is."""
    time, smallest = _lowest(world.risk, flow)
    lows, products = [], []
    for rate in RATES:
        other_time, other_smallest = _lowest(world.risk, world.flow(rate))
        lows.append(abs(other_smallest / smallest - 1))
        products.append(abs(other_time * rate / time - 1))
    return {"rate/risk_change": max(lows), "rate/time_change": max(products)}


def _lowest(risk: SquaredRisk, flow: FeatureFlow) -> tuple[float, float]:
    """Return when the risk is smallest, and how small."""
    grid = default_times()[1:-1] / flow.learning_rate
    place = int(risk.of(flow.at(grid)).argmin())
    ends = (math.log(float(grid[max(place - 1, 0)])), math.log(float(grid[min(place + 1, len(grid) - 1)])))

    def height(log_time: float) -> float:
        return float(risk.of(flow.at(math.exp(log_time))))

    found = minimize_scalar(height, bounds=ends, method="bounded", options={"xatol": 1e-9})
    return math.exp(float(found.x)), float(found.fun)
