"""Theory laid over the measured channel: a predicted curve (x1, x2) of the weight, fitted, and how far off it is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mixscope.base.checks import check_finite, check_ndim, check_same_length, nearest
from mixscope.base.kinds import checked

TOLERANCE = 1e-12  # of the fit, relative: in the parameters and the sum of squares
# Of a minimum, relative to the data: a parameter's share of the gradient over the length of its derivative. The
# tolerance above stops where a step would gain 1e-12 of the sum of squares, which leaves a share of sqrt(2e-12).
LARGEST_SHARE = 1e-5
NO_CHANGE = 1e-9  # of the curve by a parameter, relative to the data; less is lost in the rounding of its derivative:
ROUNDING = 1e-10
MAX_EVALUATIONS = 2000  # of the curve, besides those for its derivatives; the families fitted here need some tens


@checked
@dataclass(frozen=True)
class CurveFamily:
    """A predicted curve of the weight, with or without parameters to fit.

    Attributes:
        curve: curve(weights, *parameters) -> (x1, x2): (N,) float64 weights in [0, 1] to two (N,) tensors, in nats, the
            coordinates on the first and the second class as of `classifier_coordinates`. Smooth in the parameters.
        start: Name of each parameter, in the order `curve` takes them, to where the fit starts. Empty: nothing is
            fitted, and the curve is compared as it is.
        bounds: Name of a parameter to its (lowest, highest) value; a parameter without bounds may be anything.
    """

    curve: Callable[..., tuple[Tensor, Tensor]]
    start: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            if name not in self.start:
                raise ValueError(f"bounds must name parameters of start, got {name!r}{nearest(name, self.start)}")
            if not low < high:
                raise ValueError(f"bounds of {name!r} must be a lower and a higher value, got {low} and {high}")
        for name, value in self.start.items():
            low, high = self.bounds.get(name, (-float("inf"), float("inf")))
            if not (low <= value <= high and abs(value) < float("inf")):
                raise ValueError(f"start of {name!r} must be finite and lie in [{low}, {high}], got {value}")


@dataclass(frozen=True)
class OverlayFit:
    """A predicted curve beside N measured points; both residuals are defined here.

    Attributes:
        parameters: Fitted value of each parameter; empty where nothing was fitted.
        first: (N,) float64, the curve's x1 at each point's weight.
        second: (N,) float64, its x2.
        relative_residual: sqrt(sum |x - curve|^2 / sum |x|^2) over the points x = (x1, x2): root-mean-square distance
            from the curve over root-mean-square length. At least 0, low is good; a shift of all points changes it.
        variance_left: sum |x - curve|^2 / sum |x - mean x|^2: 1 minus the share of variance explained. At least 0, low
            is good, 1 is what a single point explains, and above 1 is worse than that. Ignores a shift of all points.
        is_converged: Whether the fit ended at a minimum that the data tell: not on a plateau, where a parameter no
            longer moves the curve. True where nothing was fitted.
        message: Why it ended, in words.
        at_bounds: Parameters that ended on a bound, where the data ask for more than was allowed.
        num_evaluations: How often the curve was computed, besides its derivatives.
    """

    parameters: dict[str, float]
    first: Tensor
    second: Tensor
    relative_residual: float
    variance_left: float
    is_converged: bool
    message: str
    at_bounds: tuple[str, ...]
    num_evaluations: int


@checked
def theory_residual(first: Tensor, second: Tensor, weights: Tensor, predictor: CurveFamily) -> OverlayFit:
    """Fit a predicted curve to measured coordinates of blends, and say how far off it is.

    Least squares over both coordinates of all points, each weighing the same, by scipy's trust-region method in float64
    with numerical derivatives. It finds the minimum near the start: a family with several needs a start near the right
    one. Measured coordinates come from `classifier_coordinates`.

    Args:
        first: (N,) float, x1 of each blend, in nats; N at least 1 and at least half the number of parameters.
        second: (N,) float, x2 of each blend.
        weights: (N,) float in [0, 1], the share of the first class.
        predictor: The curve and its parameters.

    Returns:
        The fit, its tensors on the device of `first`.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a weight is outside [0, 1], there are too few points,
            or the curve is not two finite (N,) tensors at the start.

    Example:
        >>> weights = torch.tensor([0.2, 0.5, 0.9])
        >>> family = CurveFamily(lambda w, scale: (scale * w, scale * (1 - w)), start={"scale": 1.0})
        >>> fit = theory_residual(3 * weights, 3 * (1 - weights), weights, family)
        >>> round(fit.parameters["scale"], 6), round(fit.relative_residual, 6), fit.is_converged
        (3.0, 0.0, True)
    """
    check_ndim(1, first=first, second=second, weights=weights)
    check_same_length(first=first, second=second, weights=weights)
    check_finite(first=first, second=second, weights=weights)
    if not len(first) or 2 * len(first) < len(predictor.start):
        raise ValueError(f"first must hold a point for every two parameters, got {len(first)} points")
    if not 0 <= float(weights.min()) <= float(weights.max()) <= 1:
        raise ValueError(f"weights must lie in [0, 1], got from {float(weights.min())} to {float(weights.max())}")
    measured = torch.stack([part.detach().to("cpu", torch.float64) for part in (first, second)])
    shares = weights.detach().to("cpu", torch.float64)
    start = tuple(float(value) for value in predictor.start.values())
    _check_curve(_evaluate(predictor, shares, start), predictor, start)
    parameters, is_converged, message, num_evaluations = start, True, "nothing was fitted", 1
    if start:
        parameters, is_converged, message, num_evaluations = _fit(measured, shares, predictor, start)
    fitted = _evaluate(predictor, shares, parameters)
    power = float((measured - fitted).square().sum())
    centered = measured - measured.mean(dim=1, keepdim=True)
    named = dict(zip(predictor.start, parameters, strict=True))
    return OverlayFit(
        parameters=named,
        first=fitted[0].to(first.device),
        second=fitted[1].to(first.device),
        relative_residual=_ratio(power, float(measured.square().sum())) ** 0.5,
        variance_left=_ratio(power, float(centered.square().sum())),
        is_converged=is_converged,
        message=message,
        at_bounds=tuple(name for name, value in named.items() if _is_on(value, predictor.bounds.get(name, ()))),
        num_evaluations=num_evaluations,
    )


def _fit(
    measured: Tensor, shares: Tensor, predictor: CurveFamily, start: tuple[float, ...]
) -> tuple[tuple[float, ...], bool, str, int]:
    import numpy as np
    from scipy.optimize import least_squares

    size = float(torch.linalg.vector_norm(measured)) or 1.0  # so that what is judged below is relative

    def residuals(parameters: Any) -> Any:
        return ((_evaluate(predictor, shares, tuple(parameters.tolist())) - measured) / size).flatten().numpy()

    limits = [predictor.bounds.get(name, (-float("inf"), float("inf"))) for name in predictor.start]
    try:
        result = least_squares(
            residuals,
            np.array(start),
            bounds=([low for low, _ in limits], [high for _, high in limits]),
            jac="3-point",
            x_scale="jac",
            ftol=TOLERANCE,
            xtol=TOLERANCE,
            gtol=np.finfo(np.float64).eps,  # absolute, per unit of a parameter whatever the unit: the least there is
            max_nfev=MAX_EVALUATIONS,
        )
    except (ValueError, np.linalg.LinAlgError) as error:  # a step to where the curve or its derivative is not finite
        return start, False, f"stopped at the start: {error}", 1
    parameters = tuple(float(value) for value in result.x)
    is_converged, message = result.status > 0 and bool(np.isfinite(result.fun).all()), str(result.message).rstrip(".")
    if is_converged and (doubt := _doubt(predictor, parameters, result)):
        is_converged, message = False, doubt
    return parameters, is_converged, message, int(result.nfev)


def _doubt(predictor: CurveFamily, parameters: tuple[float, ...], result: Any) -> str:
    """Say why the end of a fit is no minimum, or "": every parameter must move the curve, and none to a better one."""
    for name, value, column, slope in zip(predictor.start, parameters, result.jac.T, result.grad, strict=True):
        low, high = (_is_on(value, (bound,)) for bound in predictor.bounds.get(name, (-math.inf, math.inf)))
        if (low and slope >= 0) or (high and slope <= 0):
            continue  # the data ask for more than the bound allows: `at_bounds` says so
        change, unit = float((column**2).sum()) ** 0.5, max(1.0, abs(value))
        if change * unit <= NO_CHANGE:
            return f"stopped on a plateau: the curve does not move with {name} at {value:g}"
        if abs(slope) > LARGEST_SHARE * change + ROUNDING / unit:
            return f"stopped on a plateau: the distance still falls along {name} at {value:g}"
    return ""


def _evaluate(predictor: CurveFamily, shares: Tensor, parameters: tuple[float, ...]) -> Tensor:
    """Return (2, N) float64, the curve at the weights."""
    with torch.no_grad():
        pair = predictor.curve(shares, *parameters)
    if not isinstance(pair, tuple) or len(pair) != 2 or any(getattr(x, "shape", None) != shares.shape for x in pair):
        raise ValueError(f"predictor must give two tensors of shape {tuple(shares.shape)}, got {_describe(pair)}")
    return torch.stack([part.to("cpu", torch.float64) for part in pair])


def _check_curve(curve: Tensor, predictor: CurveFamily, parameters: tuple[float, ...]) -> None:
    if not bool(curve.isfinite().all()):
        at = ", ".join(f"{name}={value:g}" for name, value in zip(predictor.start, parameters, strict=True))
        count = int((~curve.isfinite()).sum())
        raise ValueError(
            f"predictor must be finite at its start ({at or 'no parameters'}), got {count} values that are not"
        )


def _describe(pair: Any) -> str:
    if isinstance(pair, tuple):
        return " and ".join(
            str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in pair
        )
    return f"shape {tuple(pair.shape)}" if isinstance(pair, Tensor) else type(pair).__name__


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan") if not numerator else float("inf")


def _is_on(value: float, bounds: tuple[float, ...]) -> bool:
    return any(math.isfinite(bound) and abs(value - bound) <= 1e-9 * max(1.0, abs(bound)) for bound in bounds)
