"""Consistency on unlabelled images: unsupervised mixing of K points (Chaudhry et al. 2022; Verma et al. 2019b)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mixscope.base.checks import (
    check_at_least,
    check_floating,
    check_ndim,
    check_not_negative,
    check_numbers,
    check_positive,
    check_size,
)
from mixscope.base.kinds import checked
from mixscope.mixing.mixture import Mixture, blend
from mixscope.mixing.mixup import Mixup, draw_mixture

Teacher = Literal["same", "same-detached", "ema"]
Space = Literal["logits", "softmax", "late-softmax"]


@checked
@dataclass(frozen=True)
class Consistency:
    """ICT[K]: outputs for a blend of unlabelled images are pulled to the blend of the outputs for its members.

    The weight of this loss runs linearly from 0 to its peak over the first part of training, as in Chaudhry et al.
    2022, whose alpha is 0.5 on CIFAR and 0.1 on SVHN. The variants lead to different ends: Eq. 2 of Chaudhry et al.
    2022 as printed ("same", "logits") makes layers linear; the same with its targets detached collapses to a constant;
    a moving average compared by its softmax, as in Verma et al. 2019b, can raise the accuracy and need not.

    Attributes:
        num_points: K, the images in one blend, at least 2.
        alpha: Concentration of the symmetric Dirichlet law of the weights, drawn anew for every blend.
        teacher: Who says what the members' outputs are: "same", the network itself, trained through both terms;
            "same-detached", the network itself, its answers taken as given; "ema", a moving average of its weights.
        space: What is compared: "logits"; "softmax", blended probabilities with those for the blend; "late-softmax",
            the softmax of blended logits with that for the blend.
        peak_weight: Weight of this loss beside the supervised one after the ramp, at least 0.
        ramp_share: Share of all steps over which the weight rises, in [0, 1]; 0 is the peak from the first step.
        ema_decay: Of the moving average, in [0, 1); 0.999 as in the code of Verma et al. 2019b.

    Raises:
        ValueError: If a number is out of its range or a word is unknown.

    Example:
        >>> consistency = Consistency(num_points=3)
        >>> [consistency.weight_at(step, num_steps=1000) for step in (0, 200, 400, 999)]
        [0.0, 50.0, 100.0, 100.0]
    """

    num_points: int = 2
    alpha: float = 0.5
    teacher: Teacher = "same"
    space: Space = "logits"
    peak_weight: float = 100.0
    ramp_share: float = 0.4
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        check_size(2, num_points=self.num_points)
        check_positive(alpha=self.alpha)
        check_not_negative(peak_weight=self.peak_weight)
        if not 0 <= self.ramp_share <= 1:
            raise ValueError(f"ramp_share must be in [0, 1], got {self.ramp_share}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")

    @checked
    def weight_at(self, step: int, num_steps: int) -> float:
        """Return the weight of this loss at a step, counted from 0 over all `num_steps` of the training.

        0 at step 0 (unless there is no ramp), half the peak at half the ramp, the peak from its end on.
        """
        check_at_least(0, step=step)
        check_at_least(1, num_steps=num_steps)
        ramp = self.ramp_share * num_steps
        return self.peak_weight * (min(1.0, step / ramp) if ramp > 0 else 1.0)

    @checked
    def draw(self, num_images: int, *, generator: torch.Generator) -> Mixture:
        """Draw partners and weights, (B, K) on the CPU, for B unlabelled images: one row of weights for each blend."""
        check_at_least(0, num_images=num_images)
        check_numbers(num_images, self.num_points, num_images=num_images, num_points=self.num_points)
        return draw_mixture(num_images, Mixup(self.alpha, self.num_points, per_example=True), generator=generator)

    @checked
    def loss(self, outputs: Tensor, member_outputs: Tensor, mixture: Mixture) -> Tensor:
        """Return how far the outputs for blends are from the blended outputs for their members.

        The mean over blends and classes of the squared difference, in the space that is compared; 0 on "logits" and
        "late-softmax" for every network that is affine between the images, a linear classifier or a constant, and on
        "softmax" for a constant.

        Source: Chaudhry et al. 2022, Eq. 2. Not known: they write "L2 distance", and say neither whether it is squared
        nor whether it is divided by the number of classes. Both are done here, as in the code of Verma et al. 2019b,
        from where a peak weight of 100 is. That code blends logits before the softmax ("late-softmax").

        Args:
            outputs: (B, K) float, logits for the blends.
            member_outputs: (B, K) float, logits for the images themselves.
            mixture: The draw the images were blended with.

        Returns:
            Scalar, float32, at least 0.
        """
        check_ndim(2, outputs=outputs, member_outputs=member_outputs)
        check_floating(outputs=outputs, member_outputs=member_outputs)
        if outputs.shape != member_outputs.shape:
            shapes = f"{tuple(outputs.shape)} and {tuple(member_outputs.shape)}"
            raise ValueError(f"outputs and member_outputs must have the same shape, got {shapes}")
        outputs, member_outputs = outputs.float(), member_outputs.float()
        match self.space:
            case "logits":
                difference = outputs - blend(member_outputs, mixture)
            case "softmax":
                difference = outputs.softmax(dim=1) - blend(member_outputs.softmax(dim=1), mixture)
            case "late-softmax":
                difference = outputs.softmax(dim=1) - blend(member_outputs, mixture).softmax(dim=1)
        return difference.square().mean()
