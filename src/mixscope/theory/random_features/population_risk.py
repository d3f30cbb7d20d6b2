"""Mean squared error of linear predictors over a large sample, as one triangular factor of (D + 1)^2 numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim, check_not_empty, check_same_length
from mixscope.base.kinds import checked


@dataclass(frozen=True)
class SquaredRisk:
    """theta -> mean (phi(x) theta - y)^2 over N examples, at a cost that no longer depends on N.

    The examples [phi(x), y] are replaced by the triangular factor R of their QR decomposition: the error is
    |R (theta, -1)|^2 / N. A sum of squares, it has no cancellation: errors of 1e-30 are exact to rounding, where
    theta A theta - 2 b theta + c would give 1e-16.

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
