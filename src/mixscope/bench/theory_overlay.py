"""Theory laid over what was measured: the curve that the unconstrained model predicts, fitted to a network's blends."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixscope.bench.options import TrainOptions
from mixscope.theory.channel.curve_fit import ChannelFit, fit_mixup_channel, fit_squared_loss_line, fit_unmixed_line
from mixscope.theory.solution import NotConvergedWarning, Solution

EVERY = 2  # of the 101 points of a fitted curve: enough for a smooth line


@dataclass(frozen=True)
class Expectation:
    """What theory expects of blends of two classes: a name in words, and what fits its curve to (x1, x2, weights)."""

    name: str
    fit: Callable[..., Solution[ChannelFit]]


MIXUP = Expectation("unconstrained model, mixup", fit_mixup_channel)
PLAIN = Expectation("straight line between the classes", fit_unmixed_line)
SQUARED = Expectation("unconstrained model, squared error: a straight line", fit_squared_loss_line)


def expectation_of(options: TrainOptions) -> Expectation:
    """Return what theory expects of a network trained like this.

    Plain training never sees a blend, nor does mixing of labels alone, so theory says nothing of where it puts one: the
    straight line is drawn as what a linear network would do. Mixing switched off later is compared with mixup all the
    same.
    """
    if options.training.loss == "squared-error":
        return SQUARED
    if options.mixing.mixing in ("none", "label-mixup") or options.training.mixing_off == 0:
        return PLAIN
    return MIXUP


def draw_expectation(
    expectation: Expectation, first: Tensor, second: Tensor, weights: Tensor, *, num_classes: int
) -> dict[str, Any] | None:
    """Fit the expected curve to x1 and x2 of N blends of two classes in nats, (N,) float, weights of the first class.

    Returns:
        The curve for a figure with its relative residual and gain; None where there is nothing to fit or the fit did
        not come to an end.
    """
    measured = torch.stack([first, second])
    if not bool(measured.isfinite().all() and measured.any()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        solution = expectation.fit(first, second, weights, num_classes=num_classes)
    fit = solution.value
    if not solution.is_converged:
        return None
    return {
        "name": expectation.name,
        "weight": fit.curve_weights[::EVERY].tolist(),
        "x1": fit.curve_x1[::EVERY].tolist(),
        "x2": fit.curve_x2[::EVERY].tolist(),
        "residual": fit.relative_residual,
        "gain": fit.gain if math.isfinite(fit.gain) else None,
    }
