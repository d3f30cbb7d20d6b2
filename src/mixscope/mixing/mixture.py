"""Mixtures: a draw of partners and weights as data, and the pure functions that blend inputs and labels with it."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope.base.checks import check_floating, check_labels, check_ndim, check_numbers, check_size
from mixscope.base.kinds import checked

INPUT_SITE = "input"
INPUT_SUFFIX = ":input"  # "NAME:input" is what goes into the module NAME, "NAME" what comes out of it
SUM_TOLERANCE = 1e-4  # of a row of weights; float16 rounds to 1e-3 of a weight, float32 to 1e-7


@checked
@dataclass(frozen=True)
class Mixture:
    """Who is blended with whom, and by how much. Drawn once; everything after it is a pure function.

    What can be wrong with a draw is looked for here where its tensors are on the CPU, as draws are made: a few
    microseconds, and no wait for a device. On another device only shapes and types are looked at.

    Attributes:
        members: (b, P) int64, at least 0. Row r blends the rows members[r] of a batch of B examples; members[r, 0] is
            the row that keeps its place. A full draw has b = B and members[:, 0] = arange(B); `rows` takes a part.
        weights: (b, P) float in [0, 1], rows sum to 1 within 1e-4: the share of each member in the input.
        target_weights: (b, P) float or None: the share in the label; None means the same as `weights` (CutMix: the
            kept area).
        mask: (1 or b, 1, H, W) bool or None: pixels kept from member 0, the others come from member 1 (region mixing).
        site: "input", or the name of the module whose output is blended.

    Raises:
        ValueError: If shapes, types or devices do not fit one another, members are no rows of a batch with member 0 in
            its place, or weights are no shares.
    """

    members: Tensor
    weights: Tensor
    target_weights: Tensor | None = None
    mask: Tensor | None = None
    site: str = INPUT_SITE
    _last_member: ClassVar[int] = -1  # the largest of a draw's members; -1 where reading it would wait for a device

    def __post_init__(self) -> None:
        check_ndim(2, members=self.members)
        if self.members.dtype is not torch.int64 or not self.members.shape[1]:
            got = f"{self.members.dtype} of shape {tuple(self.members.shape)}"
            raise ValueError(f"members must be int64 of shape (b, P), P at least 1, got {got}")
        for name, shares in self._shares():
            if shares.shape != self.members.shape:
                shapes = f"{tuple(self.members.shape)} and {tuple(shares.shape)}"
                raise ValueError(f"members and {name} must have the same shape (b, P), got {shapes}")
            check_floating(**{name: shares})
        for name, tensor in (*self._shares(), ("mask", self.mask)):
            if tensor is not None and tensor.device != self.members.device:
                raise ValueError(f"{name} must be on the device of members, {self.members.device}, got {tensor.device}")
        if (mask := self.mask) is not None:
            num_rows, num_points = self.members.shape
            is_fitting = mask.ndim == 4 and len(mask) in (1, num_rows) and mask.shape[1] == 1 and num_points == 2
            if mask.dtype is not torch.bool or not is_fitting:
                got = f"{mask.dtype} of shape {tuple(mask.shape)} for {num_points}"
                raise ValueError(f"mask must be bool of shape (1 or {num_rows}, 1, H, W) for two members, got {got}")
        if self.members.is_cpu and len(self.members):
            object.__setattr__(self, "_last_member", self._check_values())

    def _shares(self) -> list[tuple[str, Tensor]]:
        named = [("weights", self.weights), ("target_weights", self.target_weights)]
        return [(name, shares) for name, shares in named if shares is not None]

    def _check_values(self) -> int:
        """Raise unless members are rows of a batch and weights are shares; return the largest member."""
        low, high = (int(end) for end in torch.aminmax(self.members))
        if low < 0:
            raise ValueError(f"members must be rows of the batch, at least 0, got {low}")
        own = self.members[:, 0]  # `blend` leaves it where it is
        if not torch.equal(own, torch.arange(len(own)) + own[:1]):
            raise ValueError(f"members[:, 0] must be consecutive rows, got {own[:8].tolist()}...")
        for name, shares in self._shares():
            # NaN fails every comparison.
            off = float((shares.sum(dim=1) - 1).abs().max())
            if not off <= SUM_TOLERANCE:
                raise ValueError(f"{name} must sum to 1 in every row, got rows that are off by {off:.2g}")
            if (smallest := float(shares.min())) < 0:
                raise ValueError(f"{name} must be at least 0, got {smallest:g}")
        return high

    @property
    def label_weights(self) -> Tensor:
        """(b, P) float: the share of each member in the label."""
        return self.weights if self.target_weights is None else self.target_weights

    @checked
    def rows(self, rows: slice) -> "Mixture":
        """Return the mixture of these rows only; `members` still index the whole batch."""
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[rows]
        target_weights = None if self.target_weights is None else self.target_weights[rows]
        members, weights = self.members[rows], self.weights[rows]
        new = replace(self, members=members, weights=weights, target_weights=target_weights, mask=mask)
        return self._handing_on(new)

    @checked
    def to(self, device: torch.device | str) -> "Mixture":
        """Return the same mixture with its tensors on `device`."""
        device = torch.device(device)
        if self.members.device == device:
            return self
        # Towards a GPU the host need not wait; back from one it must, or it would read what has not arrived.
        is_free = device.type != "cpu"
        tensors = {"members": self.members, "mask": self.mask, **dict(self._shares())}
        moved: Any = {name: x.to(device, non_blocking=is_free) for name, x in tensors.items() if x is not None}
        return self._handing_on(replace(self, **moved))

    def _handing_on(self, other: "Mixture") -> "Mixture":
        """Tell a part or a copy, where it must not look itself, up to which row its members go."""
        if not other.members.is_cpu:
            object.__setattr__(other, "_last_member", self._last_member)
        return other

    def check_fits(self, num_rows: int, *, name: str) -> None:
        """Raise if a member is not one of the `num_rows` rows of the argument `name`, without waiting for a device."""
        if self._last_member >= num_rows:
            rows = f"the rows that mixture blends, up to {self._last_member}"
            raise ValueError(f"{name} must hold {rows}, got {num_rows}")


@checked
def blend(values: Tensor, mixture: Mixture) -> Tensor:
    """Blend the examples of a batch, (B, ...) float inputs or activations of a hidden layer, which the members index.

    Two members are one `lerp`; more are one (b, B) weight matrix times the flattened batch, at the same cost for any P.
    The mixture may be on any device.

    Returns:
        (b, ...) of the dtype, device and memory format of `values`. Half-precision values are blended in float32, so
        that their share is the one the label has.

    Raises:
        ValueError: If values are not floating point or lack a row that is blended (as far as is known without waiting
            for a device), or a mask does not fit their size.
    """
    check_floating(values=values)
    if not values.ndim:
        raise ValueError("values must have one row per example, got a single number")
    mixture.check_fits(len(values), name="values")
    if values.dtype in (torch.bfloat16, torch.float16):
        return blend(values.float(), mixture).to(values.dtype)
    mixture = mixture.to(values.device)
    members = mixture.members
    num_points = members.shape[1]
    # A full draw keeps member 0 in its place, so its rows need no gathering.
    own = values if len(members) == len(values) else values[members[:, 0]]
    if num_points == 1:
        return own
    if mixture.mask is not None:
        if values.ndim != 4 or mixture.mask.shape[-2:] != values.shape[-2:]:
            sizes = f"{tuple(values.shape[-2:])}, got {tuple(mixture.mask.shape[-2:])}"
            raise ValueError(f"mixture.mask must have the images' size {sizes}, and values four dimensions")
        return torch.where(mixture.mask, own, values[members[:, 1]])
    weights = mixture.weights.to(values.dtype)
    if num_points == 2:
        partner = values[members[:, 1]]
        return torch.lerp(partner, own, weights[:, 0].view(-1, *[1] * (values.ndim - 1)))
    matrix = values.new_zeros(len(members), len(values)).scatter_add_(1, members, weights)
    if values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last):
        flat = matrix @ values.permute(0, 2, 3, 1).reshape(len(values), -1)
        channels, height, width = values.shape[1:]
        return flat.view(len(members), height, width, channels).permute(0, 3, 1, 2)
    return (matrix @ values.reshape(len(values), -1)).view(len(members), *values.shape[1:])


@checked
def blend_targets(labels: Tensor, mixture: Mixture, *, num_classes: int) -> Tensor:
    """Blend the labels of a batch, (B,) integers in [0, K), into one distribution over the K classes per row.

    The mixture may be on any device; its members index the B labels.

    Returns:
        (b, K) float of the dtype of the weights; rows sum to 1.

    Raises:
        ValueError: If labels are not one integer per example (soft labels are refused, never averaged) or lack a row
            that is blended; on the CPU also if they are not in [0, K).
    """
    check_size(1, num_classes=num_classes)
    check_numbers(len(mixture.members), num_classes, num_classes=num_classes)
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype is torch.bool:
        raise ValueError(f"labels must be integers of shape (B,), got {labels.dtype} of shape {tuple(labels.shape)}")
    mixture.check_fits(len(labels), name="labels")
    if labels.is_cpu:  # elsewhere the answer would make the host wait; there scatter stops what is out of range
        check_labels(labels, num_classes=num_classes, because=f"num_classes is {num_classes}")
    mixture = mixture.to(labels.device)
    weights = mixture.label_weights
    member_labels = labels.long()[mixture.members]
    return weights.new_zeros(len(weights), num_classes).scatter_add_(1, member_labels, weights)


@checked
def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of `targets` under softmax(`logits`), both (N, K) float, rows of targets sum to 1.

    It is linear in the targets: the loss of a blended label is the blend of the losses.

    Returns:
        Scalar, in nats, at least the mean entropy of the targets; lower is better.

    Raises:
        ValueError: If the shapes differ (integer labels are refused: they are no distribution).
    """
    check_ndim(2, logits=logits, targets=targets)
    check_floating(logits=logits)
    if targets.shape != logits.shape or not targets.is_floating_point():
        got = f"{targets.dtype} of shape {tuple(targets.shape)}"
        raise ValueError(f"targets must be float of shape {tuple(logits.shape)}, got {got}, for logits of that shape")
    return F.cross_entropy(logits, targets.to(logits.dtype))
