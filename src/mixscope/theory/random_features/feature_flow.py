"""Least squares on fixed features: gradient flow and descent in closed form at all times, and the mean error."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_finite,
    check_ndim,
    check_not_empty,
    check_positive,
    check_same_length,
    check_shape,
    naming,
)
from mixscope.base.kinds import checked, describe
from mixscope.theory.solution import Solution, solved

TOLERANCE = 1e-12  # of the residual: seen below 1e-14 for 10,000 rows and 500 features


@dataclass(frozen=True)
class FeatureFlow:
    """The path of theta under gradient flow or descent on |Phi theta - y|^2 / (2 M), from theta_0.

    theta_t = theta_0 + sum_k (1 - u_k) (limit_k - v_k theta_0) v_k with u_k = exp(-eta mu_k t), in the eigenvectors v_k
    of Phi^T Phi / M with eigenvalues mu_k. What of theta_0 no row of Phi sees stays where it is: the limit is the
    least-squares solution nearest to theta_0.

    Attributes:
        curvatures: (R,) float64, mu_k, positive and falling. R is the rank of Phi.
        modes: (R, D) float64, the rows v_k.
        left: (M, R) float64, left singular vectors u_k of Phi.
        limit: (R,) float64, v_k Phi^+ y, with Phi^+ the pseudo-inverse.
        start: (D,) float64, theta_0.
        targets: (M,) float64, y.
        learning_rate: eta.
    """

    curvatures: Tensor
    modes: Tensor
    left: Tensor
    limit: Tensor
    start: Tensor
    targets: Tensor
    learning_rate: float

    @property
    def end(self) -> Tensor:
        """(D,) float64: theta after infinite time."""
        return self.start + (self.limit - self.modes @ self.start) @ self.modes

    @checked
    def with_targets(self, targets: Tensor) -> "FeatureFlow":
        """Return the path for other labels of the same rows, (M,) float, at the cost of one product.

        Raises:
            ValueError: If the length is not M or a value is not finite.
        """
        check_shape((len(self.left),), of="the rows of the flow", targets=targets)
        check_finite(targets=targets)
        labels = targets.detach().to(self.left.device, torch.float64)
        limit = (labels @ self.left) / (self.curvatures * len(self.left)).sqrt()
        return replace(self, limit=limit, targets=labels)

    @checked
    def at(self, times: Tensor | float) -> Tensor:
        """Return the parameters of gradient flow, theta' = -eta gradient: (T, D) float64, or (D,) for a number.

        The times are (T,) float or a number, at least 0; infinity gives the limit.

        Raises:
            ValueError: If a time is negative or NaN.
        """
        return self.start + (self.progress(times) * (self.limit - self.modes @ self.start)) @ self.modes

    @checked
    def progress(self, times: Tensor | float) -> Tensor:
        """Return 1 - u_k of gradient flow, (T, R) or (R,) float64 in [0, 1], for times as in `at`."""
        moments = torch.as_tensor(times, dtype=torch.float64, device=self.start.device)
        if not bool((moments >= 0).all()):
            raise ValueError(f"times must be at least 0, got {float(moments.min())}")
        return -torch.expm1(-(self.learning_rate * moments[..., None]) * self.curvatures)

    @checked
    def after(self, steps: Tensor | int) -> Tensor:
        """Return the parameters of gradient descent: the flow's formula with u_k = (1 - eta mu_k)^t, exactly.

        The steps are (T,) integers or an integer, at least 0, of any size.

        Raises:
            ValueError: If a number of steps is negative or not an integer, or eta is 2 / mu_max or more, where descent
                does not settle.
        """
        counts = torch.as_tensor(steps, device=self.start.device)
        if counts.is_floating_point() or counts.is_complex() or counts.dtype is torch.bool or bool((counts < 0).any()):
            raise ValueError(f"steps must be integers of at least 0, got {describe(steps)}")
        shrink = self.learning_rate * self.curvatures
        if len(shrink) and not float(shrink[0]) < 2:
            most = 2 / float(self.curvatures[0])
            raise ValueError(f"learning_rate must be below 2 / mu_max = {most:.6g}, got {self.learning_rate}")
        # |1 - s| is 1 - min(s, 2 - s): log1p keeps the digits of a small s, and of an s close to 2.
        log_factor = torch.log1p(-torch.minimum(shrink, 2 - shrink))
        powers = counts[..., None] * log_factor
        powers = torch.where(counts[..., None] == 0, 0.0, powers)  # 0 steps at s = 1: 0 * -inf
        is_flipped = (shrink > 1) & (counts[..., None] % 2 == 1)
        progress = torch.where(is_flipped, 1 + powers.exp(), -torch.expm1(powers))
        return self.start + (progress * (self.limit - self.modes @ self.start)) @ self.modes


@checked
def random_feature_flow(
    features: Tensor, targets: Tensor, *, learning_rate: float = 1.0, start: Tensor | None = None
) -> Solution[FeatureFlow]:
    """Solve gradient flow and descent of least squares on fixed features, for all times at once.

    One singular value decomposition, then R D multiplications a time. Singular values below max(M, D) * 2.2e-16 times
    the largest count as 0. Source: after Liu et al. 2023, Lemma 5.1; derived here.

    Args:
        features: (M, D) float, Phi: a row phi(x) for each blend or example.
        targets: (M,) float, y.
        learning_rate: eta, positive. For the flow it only rescales time.
        start: (D,) float, theta_0; None is 0.

    Returns:
        The path. The residual is the largest error of the differential equation, taken with Phi itself at four times
        from 0 to infinity, relative to eta |Phi| (|Phi| |theta| + |y|) / M; tolerance 1e-12.

    Raises:
        ValueError: If shapes do not fit, there is no row, a value is not finite, or eta is not positive and finite.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
        >>> solution = random_feature_flow(features, torch.tensor([1.0, 1.5]), learning_rate=2.0)
        >>> solution.value.at(torch.tensor([0.0, 1.0, torch.inf])).round(decimals=4).tolist()
        [[0.0, 0.0], [0.6321, 0.6636], [1.0, 3.0]]
        >>> solution.value.after(1).round(decimals=12).tolist()
        [1.0, 0.75]
    """
    check_ndim(2, features=features)
    check_shape((len(features),), of="features", targets=targets)
    check_not_empty(features=features)
    check_positive(learning_rate=learning_rate)
    check_finite(features=features, targets=targets)
    matrix = features.detach().to(torch.float64)
    labels = targets.detach().to(matrix.device, torch.float64)
    origin = matrix.new_zeros(matrix.shape[1]) if start is None else start.detach().to(matrix.device, torch.float64)
    check_shape(tuple(matrix.shape[1:]), of="features", start=origin)
    check_finite(start=origin)

    left, singular, modes = torch.linalg.svd(matrix, full_matrices=False)
    rank = int((singular > max(matrix.shape) * torch.finfo(torch.float64).eps * singular[0]).sum())
    left, singular, modes = left[:, :rank], singular[:rank], modes[:rank]
    limit = (labels @ left) / singular
    flow = FeatureFlow(singular.square() / len(matrix), modes, left, limit, origin, labels, learning_rate)
    residual = _equation_error(flow, matrix)
    return solved(flow, residual=residual, iterations=1, tolerance=TOLERANCE, solver="random_feature_flow")


@checked
def switched_parameters(before: FeatureFlow, after: FeatureFlow, *, switch_times: Tensor) -> Tensor:
    """Return where training ends that follows one flow until a time tau, and another from there on for ever.

    (I - P) theta_tau + Phi^+ y, P the projector on the span of the second flow's rows: what the first one learned
    outside that span stays, so that a late switch from mixup to plain training repairs only a part.
    The times are (T,) float, infinity included; the result is (T, D) float64. The second flow's own start is not used.
    Source: the switch from mixup to plain training of Liu et al. 2023; the closed form is derived here.

    Raises:
        ValueError: If a time is negative or NaN, or the flows differ in their number of features.

    Example:
        >>> blends = random_feature_flow(torch.eye(2), torch.tensor([1.0, 5.0])).value
        >>> examples = random_feature_flow(torch.tensor([[1.0, 0.0]]), torch.tensor([2.0])).value
        >>> switched_parameters(blends, examples, switch_times=torch.tensor([0.0, torch.inf])).tolist()
        [[2.0, 0.0], [2.0, 5.0]]
    """
    if len(before.start) != len(after.start):
        sizes = f"{len(before.start)} and {len(after.start)}"
        raise ValueError(f"before and after must have the same number of features, got {sizes}")
    with naming("switch_times"):
        switched = before.at(switch_times).to(after.start.device)
    return switched + (after.limit - switched @ after.modes.T) @ after.modes


def _equation_error(flow: FeatureFlow, matrix: Tensor) -> float:
    """Return the largest relative error of theta' = -eta gradient, with the gradient taken without decomposition."""
    rate, size = flow.learning_rate, torch.linalg.matrix_norm(matrix)
    spread = flow.curvatures[[0, len(flow.curvatures) // 2]] if len(flow.curvatures) else flow.curvatures
    times = torch.cat([spread.new_zeros(1), 1 / (rate * spread), spread.new_full((1,), math.inf)])
    parameters = flow.at(times)
    left_over = (1 - flow.progress(times)) * (flow.limit - flow.modes @ flow.start)
    velocity = (rate * flow.curvatures * left_over) @ flow.modes
    force = (rate / len(matrix)) * (flow.targets - parameters @ matrix.T) @ matrix
    scale = rate * size * (size * parameters.norm(dim=1) + flow.targets.norm()) / len(matrix)
    errors = (velocity - force).norm(dim=1) / scale
    return float(torch.where(scale > 0, errors, 0.0).max())


@dataclass(frozen=True)
class SquaredRisk:
    """theta -> mean (phi(x) theta - y)^2 over N examples, at a cost that no longer depends on N.

    |R (theta, -1)|^2 / N, R the triangular factor of the examples [phi(x), y]: a sum of squares, which has no
    cancellation. Errors of 1e-30 are exact to rounding, where theta A theta - 2 b theta + c would give 1e-16.

    Attributes:
        factor: (at most D + 1, D + 1) float64, R.
        num_examples: N.
    """

    factor: Tensor
    num_examples: int

    @checked
    def of(self, parameters: Tensor) -> Tensor:
        """Return the mean squared error of every row of (..., D) float: (...) float64, at least 0; lower is better.

        Raises:
            ValueError: If the number of parameters is not D.
        """
        dim = self.factor.shape[1] - 1
        if not parameters.ndim or parameters.shape[-1] != dim:
            raise ValueError(f"parameters must have {dim} columns, got shape {tuple(parameters.shape)}")
        errors = parameters.to(torch.float64) @ self.factor[:, :dim].T - self.factor[:, dim]
        return errors.square().sum(dim=-1) / self.num_examples


@checked
def squared_risk(features: Tensor, targets: Tensor) -> SquaredRisk:
    """Prepare the mean squared error over a sample of features phi(x), (N, D) float, and targets, (N,) float.

    Raises:
        ValueError: If shapes do not fit, there are no examples, or a value is not finite.

    Example:
        >>> risk = squared_risk(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 1.0]))
        >>> risk.of(torch.tensor([[0.0], [1.0]])).round(decimals=12).tolist()
        [1.0, 0.5]
    """
    check_ndim(2, features=features)
    check_ndim(1, targets=targets)
    check_same_length(features=features, targets=targets)
    check_not_empty(features=features)
    check_finite(features=features, targets=targets)
    both = torch.cat([features.detach(), targets.detach()[:, None].to(features.device)], dim=1).to(torch.float64)
    return SquaredRisk(torch.linalg.qr(both, mode="r").R, len(both))
