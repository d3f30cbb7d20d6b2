"""Gradient of the full training loss, gathered over batches without touching the network."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mixscope.base.checks import naming, pair_of
from mixscope.base.kinds import checked, describe
from mixscope.capturing.sites import evaluation_mode

Loss = Callable[[Tensor, Tensor], Tensor]


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
            inputs, targets = (part.clone() if part.is_inference() else part for part in pair_of(batch))
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
