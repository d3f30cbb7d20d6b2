"""Objective of training: losses against soft targets, what an epoch saw of them, optimizer and schedule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from mixscope.base.checks import check_ndim
from mixscope.mixing.mixture import soft_cross_entropy
from mixscope.training.recipe import Recipe


def soft_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared distance of the logits to the targets, summed over classes, averaged over examples.

    Both are (N, K) float. Unlike cross-entropy it is not linear in the targets: the loss of a blended label is below
    the blend of the losses, by a constant that the gradient does not feel.
    """
    check_ndim(2, logits=logits, targets=targets)
    if logits.shape != targets.shape:
        raise ValueError(f"targets must have shape {tuple(logits.shape)}, got {tuple(targets.shape)}")
    return 0.5 * (logits - targets).square().sum(dim=1).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": soft_cross_entropy,
    "squared-error": soft_squared_error,
}


def mean_entropy(targets: Tensor) -> Tensor:
    """Return the mean entropy of (N, K) soft targets in nats, a scalar on their device; unchecked, for every step."""
    return torch.special.entr(targets).sum(dim=1).mean()


# The lowest value each loss can have on given soft targets: cross-entropy cannot fall below their entropy.
LOSS_FLOORS: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": mean_entropy,
    "squared-error": lambda targets: targets.new_zeros(()),
}


def smooth_targets(targets: Tensor, amount: float) -> Tensor:
    """Spread a share `amount` of each (N, K) target evenly over the K classes (Szegedy et al. 2016, Sec. 7)."""
    return targets if amount == 0 else targets * (1 - amount) + amount / targets.shape[1]


def build_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer over all parameters that take gradients, in torch's fused form."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = recipe.peak_learning_rate, recipe.weight_decay
    match recipe.optimizer:
        case "sgd":
            return SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay, fused=True)
        case "adam":
            return Adam(parameters, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            return AdamW(parameters, lr=rate, weight_decay=decay, fused=True)


def build_schedule(optimizer: Optimizer, recipe: Recipe, *, steps_per_epoch: int) -> LRScheduler:
    """Return the recipe's learning-rate schedule, to be stepped after every optimizer step."""
    num_steps = recipe.epochs * steps_per_epoch
    match recipe.schedule:
        case "constant":
            return ConstantLR(optimizer, factor=1.0, total_iters=0)
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=num_steps)
        case "multi-step":
            milestones = [round(share * num_steps) for share in recipe.milestones]
            return MultiStepLR(optimizer, milestones=milestones, gamma=recipe.gamma)
        case "one-cycle":
            # One step more than is taken: torch refuses the call after the last. The recipe's momentum stays.
            return OneCycleLR(
                optimizer, max_lr=recipe.peak_learning_rate, total_steps=num_steps + 1, cycle_momentum=False
            )


def has_convolutions(model: nn.Module) -> bool:
    """Return whether a module is a 2-D convolution, for which the channels-last layout is made."""
    return any(isinstance(module, torch.nn.Conv2d) for module in model.modules())


class NonFiniteLossError(ArithmeticError):
    """The training loss or a weight became NaN or infinite."""


def check_losses(losses: Sequence[Tensor], rates: Sequence[float], *, when: str, accelerator: Accelerator) -> None:
    """Raise, in every process alike, if a loss of this epoch's steps is not finite in any; `when` has a "{step}"."""
    finite = torch.isfinite(torch.stack(list(losses)))
    steps = torch.arange(len(losses), device=finite.device)
    first = torch.where(finite, len(losses), steps).min()
    first_of_all = int(accelerator.gather(first[None]).min())
    if first_of_all < len(losses):
        raise NonFiniteLossError(
            f"the training loss stopped being finite {when.format(step=first_of_all + 1)}, "
            f"at learning rate {rates[first_of_all]:.3g}; a lower learning rate usually helps"
        )


def check_weights(tensors: Sequence[Tensor], rates: Sequence[float], *, when: str) -> None:
    """Raise if the epoch's last step, which no loss has seen yet, left a weight that is not finite."""
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors])
    if not bool(torch.stack([norm.float() for norm in norms]).isfinite().all()):
        raise NonFiniteLossError(
            f"a weight stopped being finite {when.format(step=len(rates))}, "
            f"at learning rate {rates[-1]:.3g}; a lower learning rate usually helps"
        )


@dataclass(frozen=True)
class EpochSummary:
    """What one epoch of training saw: means over its examples."""

    epoch: int  # counted from 1
    step: int  # optimizer steps taken since the start of training
    learning_rate: float  # at the epoch's last step
    mixing_on: bool  # whether anything was mixed: not in plain training, nor after mixing is switched off
    loss: float  # the objective as trained on (blends, smoothed labels)
    loss_floor: float  # the lowest it could be on those labels: for cross-entropy their entropy, for squared error 0
    blend_entropy: float  # of the blended labels before smoothing, in nats; 0 where nothing is mixed
    accuracy_blends: float  # weight of the predicted class in the blended label, in [0, 1]; not that on real examples
    auxiliary: float | None = None  # before its weight, without steps of weight 0; no part of the loss

    @property
    def floor_gap(self) -> float:
        """How far the loss is above its floor, at least 0: rounding can leave it just below."""
        return max(0.0, self.loss - self.loss_floor)
