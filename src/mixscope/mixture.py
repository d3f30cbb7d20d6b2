"""A draw of partners and weights as data, and the two pure functions that blend inputs and labels with it."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope._checks import check_labels, check_ndim, check_same_length

INPUT_SITE = "input"
INPUT_SUFFIX = ":input"  # "NAME:input" is what goes into the module NAME, "NAME" what comes out of it
SUM_TOLERANCE = 1e-4  # of a row of weights; float16 rounds to 1e-3 of a weight, float32 to 1e-7


@dataclass(frozen=True)
class Mixture:
    """Who is blended with whom, and by how much. Drawn once; everything after it is a pure function.

    Attributes:
        members: (b, P) int64. Row r blends the rows members[r] of a batch of B examples; members[r, 0] is the row that
            keeps its place. A full draw has b = B and members[:, 0] = arange(B); `rows` takes a part of it.
        weights: (b, P) float, at least 0, rows sum to 1: the share of each member in the input.
        target_weights: (b, P) float or None: the share in the label; None means the same as `weights` (CutMix: the
            kept area).
        mask: (1 or b, 1, H, W) bool or None: pixels kept from member 0, the others come from member 1 (region mixing).
        site: "input", or the name of the module whose output is blended.
    """

    members: Tensor
    weights: Tensor
    target_weights: Tensor | None = None
    mask: Tensor | None = None
    site: str = INPUT_SITE

    def __post_init__(self) -> None:
        check_ndim(2, members=self.members, weights=self.weights)
        for name, shares in (("weights", self.weights), ("target_weights", self.target_weights)):
            if shares is not None and shares.shape != self.members.shape:
                shapes = f"{tuple(self.members.shape)} and {tuple(shares.shape)}"
                raise ValueError(f"members and {name} must have the same shape (b, P), got {shapes}")
        # `blend` leaves member 0 where it is. Draws are made on the CPU, where looking costs microseconds and no wait.
        own = self.members[:, 0]
        if self.members.device.type != "cpu":
            return
        if not torch.equal(own, torch.arange(len(own)) + own[:1]):
            raise ValueError(f"members[:, 0] must be consecutive rows, got {own[:8].tolist()}...")
        off = float((self.label_weights.sum(dim=1) - 1).abs().max()) if len(own) else 0.0
        if not off <= SUM_TOLERANCE:
            raise ValueError(f"weights must sum to 1 in every row, got rows that are off by {off:.2g}")
        if len(own) and (low := float(self.label_weights.min())) < 0:
            raise ValueError(f"weights must be at least 0, got {low:g}")

    @property
    def label_weights(self) -> Tensor:
        """(b, P) float: the share of each member in the label."""
        return self.weights if self.target_weights is None else self.target_weights

    def rows(self, rows: slice) -> "Mixture":
        """Return the mixture of these rows only; `members` still index the whole batch."""
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[rows]
        target_weights = None if self.target_weights is None else self.target_weights[rows]
        return replace(
            self, members=self.members[rows], weights=self.weights[rows], target_weights=target_weights, mask=mask
        )

    def to(self, device: torch.device | str) -> "Mixture":
        """Return the same mixture with its tensors on `device`."""
        if self.members.device == torch.device(device):
            return self
        # Towards a GPU the host need not wait; back from one it must, or it would read what has not arrived.
        is_free = torch.device(device).type != "cpu"
        return replace(
            self,
            members=self.members.to(device, non_blocking=is_free),
            weights=self.weights.to(device, non_blocking=is_free),
            target_weights=None
            if self.target_weights is None
            else self.target_weights.to(device, non_blocking=is_free),
            mask=None if self.mask is None else self.mask.to(device, non_blocking=is_free),
        )


def blend(values: Tensor, mixture: Mixture) -> Tensor:
    """Blend the examples of a batch.

    Two members are one `lerp`; more are one (b, B) weight matrix times the flattened batch, at the same cost for any P.

    Args:
        values: (B, ...) float: inputs, or activations of a hidden layer.
        mixture: The draw, on any device; its members index the B rows.

    Returns:
        (b, ...) of the dtype, device and memory format of `values`. Half-precision values are blended in float32, so
        that their share is the one the label has.

    Raises:
        ValueError: If values are not floating point, or a mask does not fit their size.
    """
    if not values.is_floating_point():
        raise ValueError(f"values must be floating point, got {values.dtype}")
    if values.dtype in (torch.bfloat16, torch.float16):
        return blend(values.float(), mixture).to(values.dtype)
    mixture = mixture.to(values.device)
    members = mixture.members
    num_points = members.shape[1]
    if num_points == 1:
        return values if len(members) == len(values) else values[members[:, 0]]
    # A full draw keeps member 0 in its place, so its rows need no gathering.
    own = values if len(members) == len(values) else values[members[:, 0]]
    if mixture.mask is not None:
        if mixture.mask.shape[-2:] != values.shape[-2:]:
            sizes = f"{tuple(values.shape[-2:])}, got {tuple(mixture.mask.shape[-2:])}"
            raise ValueError(f"mixture.mask must have the images' size {sizes}")
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


def blend_targets(labels: Tensor, mixture: Mixture, *, num_classes: int) -> Tensor:
    """Blend the labels of a batch into one distribution over the classes per row.

    Args:
        labels: (B,) integers in [0, num_classes).
        mixture: The draw, on any device; its members index the B labels.
        num_classes: K.

    Returns:
        (b, K) float of the dtype of the weights; rows sum to 1.

    Raises:
        ValueError: If labels are not one integer per example (soft labels are refused, never averaged).
    """
    # Range is left to scatter, which checks it without waiting for the device.
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype is torch.bool:
        raise ValueError(f"labels must be integers of shape (B,), got {labels.dtype} of shape {tuple(labels.shape)}")
    mixture = mixture.to(labels.device)
    weights = mixture.label_weights
    member_labels = labels.long()[mixture.members]
    return weights.new_zeros(len(weights), num_classes).scatter_add_(1, member_labels, weights)


def one_hot(labels: Tensor, *, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return (N, K) rows with a single 1, after checking the labels.

    Raises:
        ValueError: If labels are not (N,) integers in [0, num_classes).
    """
    check_labels(labels, num_classes=num_classes)
    return F.one_hot(labels.long(), num_classes).to(dtype)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of `targets` under softmax(`logits`).

    It is linear in the targets: the loss of a blended label is the blend of the losses.

    Args:
        logits: (N, K) float.
        targets: (N, K) float, rows at least 0 and summing to 1.

    Returns:
        Scalar, in nats, at least the mean entropy of the targets; lower is better.

    Raises:
        ValueError: If the shapes differ (integer labels are refused: use `one_hot`).
    """
    check_ndim(2, logits=logits, targets=targets)
    check_same_length(logits=logits, targets=targets)
    if targets.shape != logits.shape or not targets.is_floating_point():
        raise ValueError(
            f"targets must be float of shape {tuple(logits.shape)}, got {targets.dtype} of shape {tuple(targets.shape)}"
        )
    return F.cross_entropy(logits, targets.to(logits.dtype))
