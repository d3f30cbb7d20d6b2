"""Table of the mixing schemes: name, class, options and label. Loads no torch.

The command line's choices, the checks of its options, the building of a scheme, the labels on reports and the contract
tests all read it: a new scheme is a class with `draw` and a row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mixscope.mixing.mixture import Mixture


@runtime_checkable
class MixingScheme(Protocol):
    """Anything that draws a mixture for a batch: the contract every scheme in `SCHEMES` is tested against."""

    def draw(self, inputs: "Tensor", labels: "Tensor", *, generator: "torch.Generator") -> "Mixture":
        """Draw partners and weights for a batch of any size from 1 up; nothing else is touched or depended on.

        Args:
            inputs: (B, ...) float; only their shape is looked at.
            labels: (B,) integers; only their form is looked at.
            generator: A CPU generator; the same state gives the same draw.

        Returns:
            A mixture on the CPU with (B, P) members and weights in [0, 1], whose rows sum to 1.

        Raises:
            ValueError: If labels are not one integer per input.
        """
        ...


@dataclass(frozen=True)
class SchemeRow:
    """What is known of a scheme before its class is loaded."""

    home: str  # "module:Class" in `mixscope.mixing`
    label: str  # in reports
    # Of the command line. What the user leaves out is left to the class, but `mixing_sites`, its argument `sites`: then
    # it gets the input and the network's first two.
    options: tuple[str, ...] = ()

    def load(self) -> Callable[..., MixingScheme]:
        """Return the scheme's class."""
        module, _, name = self.home.partition(":")
        scheme: Callable[..., MixingScheme] = getattr(import_module(f"mixscope.mixing.{module}"), name)
        return scheme


SCHEMES: Mapping[str, SchemeRow] = {
    "none": SchemeRow("mixup:NoMixing", "ERM"),
    "mixup": SchemeRow("mixup:Mixup", "mixup", ("alpha", "num_points", "per_example")),
    "label-mixup": SchemeRow("mixup:LabelMixup", "mixup of labels alone", ("alpha",)),
    "cutmix": SchemeRow("cutmix:CutMix", "CutMix", ("alpha",)),
    "manifold-mixup": SchemeRow("manifold:ManifoldMixup", "manifold mixup", ("alpha", "mixing_sites")),
}
