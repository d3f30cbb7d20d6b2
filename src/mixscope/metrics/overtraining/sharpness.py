"""Sharpness of trained weights: how much the loss rises around them, and the length of its gradient there."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixscope.base.batch_pairs import parts_of
from mixscope.base.checks import check_at_most, check_positive, check_size, naming
from mixscope.base.kinds import checked, describe
from mixscope.capturing.sites import evaluation_mode
from mixscope.metrics.overtraining.loss_slices import LARGEST_STEP, Evaluate, filter_normalised_direction, loss_slice
from mixscope.stats.intervals import Interval, student_interval

Loss = Callable[[Tensor, Tensor], Tensor]
RADIUS, NUM_DIRECTIONS = 0.3, 10  # Ours: every filter moves by 0.3 of its length, far enough to leave the flat bottom.


@dataclass(frozen=True)
class SharpnessReport:
    """How much the loss rises around the weights.

    Attributes:
        increase: Mean rise of the loss at the radius over the random directions, with Student's 95% interval over them;
            in the loss's unit. Low is flat.
        loss: The loss at the weights themselves.
        increases: (R,) float64, the rise along each direction.
    """

    increase: Interval
    loss: float
    increases: Tensor


@checked
def sharpness(
    model: nn.Module,
    evaluate: Evaluate,
    *,
    generator: torch.Generator,
    radius: float = RADIUS,
    num_directions: int = NUM_DIRECTIONS,
    include_vectors: bool = False,
    statistics_batches: Sequence[Tensor] | None = None,
) -> SharpnessReport:
    """Measure how much the loss rises at a distance from the weights, in random filter-normalised directions.

    Per direction (L(theta + r d) + L(theta - r d)) / 2 - L(theta): d is as likely as -d, and the two together leave
    out the slope. Compare networks on the same `evaluate`, radius and seed only. Source: directions of Li et al. 2018;
    the number is defined here.

    Args:
        model: Left as it was, bit for bit, also after an exception.
        evaluate: The loss of the network as it stands; it must not change it, and must draw nothing at random.
        generator: A CPU generator, for the directions.
        radius: r, positive, in units of the length of each filter.
        num_directions: R, at least 2.
        include_vectors: As in `filter_normalised_direction`.
        statistics_batches: As in `loss_slice`.

    Returns:
        The mean rise with its interval, and its parts. 2 R + 1 evaluations.

    Raises:
        ValueError: As `loss_slice`; if radius or num_directions is out of range, or a loss is not finite.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> nn.init.constant_(model.weight, 2.0).item()  # a step of 0.3 moves it by 0.6
        2.0
        >>> stream = torch.Generator().manual_seed(0)
        >>> report = sharpness(model, lambda net: net.weight.item() ** 2, generator=stream)
        >>> [round(rise, 5) for rise in report.increases.tolist()[:2]]  # ((2.6 ** 2 + 1.4 ** 2) / 2 - 4)
        [0.36, 0.36]
    """
    check_positive(radius=radius)
    check_at_most(LARGEST_STEP, radius=radius)
    check_size(2, num_directions=num_directions)
    loss = loss_slice(model, evaluate, direction={}, steps=(0.0,), statistics_batches=statistics_batches).item()
    increases = []
    for _ in range(num_directions):
        direction = filter_normalised_direction(model, generator=generator, include_vectors=include_vectors)
        ends = loss_slice(
            model, evaluate, direction=direction, steps=(-radius, radius), statistics_batches=statistics_batches
        )
        increases.append(float(ends.mean()) - loss)
    rises = torch.tensor(increases, dtype=torch.float64)
    if not torch.isfinite(rises).all():
        raise ValueError(f"evaluate must return finite losses at radius {radius}, got rises {increases[:4]}")
    increase = Interval(float(rises.mean()), *student_interval(increases), num_samples=num_directions)
    return SharpnessReport(increase=increase, loss=loss, increases=rises)


@checked
def gradient_norm(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, loss: Loss) -> float:
    """Return the length of the gradient of the mean loss over all examples, with respect to all trained parameters.

    Batches count by their number of examples, so how they are cut does not matter (to float32 rounding, 1e-6
    relative). The network runs in evaluation mode: batch norm uses its trained statistics, dropout is off; otherwise
    the loss of an example would depend on its batch and no "full" loss would exist. Weight decay is no part of it.
    At a minimum it is 0. Under plain training of a network that fits its images it tends to 0; under mixup it does
    not, as one set of weights cannot meet all blended labels. Source: after Liu et al. 2023.

    Args:
        model: Takes a batch of inputs. Its gradients, buffers and modes are left as they were.
        batches: Pairs of inputs (B, ...) and targets as the loss takes them, on the model's device: blends and their
            labels for the loss under mixing, images and labels for that of plain training. Draw the blends once to
            compare epochs.
        loss: Mean loss of a batch, (outputs, targets) to a scalar, such as `soft_cross_entropy`.

    Returns:
        In the loss's unit per unit of weight, at least 0; computed in the weights' precision, summed in float64.

    Raises:
        ValueError: If there are no examples, nothing is trained, or the loss is no scalar or not finite.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> nn.init.constant_(model.weight, 2.0).item()
        2.0
        >>> batches = [(torch.tensor([[1.0]]), torch.tensor([[5.0]])), (torch.tensor([[3.0]]), torch.tensor([[6.0]]))]
        >>> gradient_norm(model, batches, loss=nn.functional.mse_loss)  # ((2 - 5) 1 + (6 - 6) 3) 2 / 2 = -3
        3.0
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("model must have a parameter that requires a gradient, got none")
    num_examples = 0
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        sums = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in parameters]
        for batch in batches:
            # Tensors made in inference mode cannot be saved for a gradient; their copies can.
            inputs, targets = (part.clone() if part.is_inference() else part for part in parts_of(batch))
            with naming("batches"):
                value = loss(model(inputs), targets)
            if not isinstance(value, Tensor) or value.ndim != 0 or not torch.isfinite(value):
                got = value.detach().flatten()[:4].tolist() if isinstance(value, Tensor) else describe(value)
                raise ValueError(f"loss must be a finite scalar, got {got} for one of the batches")
            if not value.requires_grad:
                raise ValueError("loss must depend on the parameters of model, got one that does not")
            # Not `backward`: what the caller has gathered in `.grad` stays.
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            for total, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient.detach().to(torch.float64), alpha=len(inputs))
            num_examples += len(inputs)
        if not num_examples:
            raise ValueError("batches must hold at least one example, got 0")
        return float(torch.stack([total.square().sum() for total in sums]).sum().sqrt()) / num_examples
