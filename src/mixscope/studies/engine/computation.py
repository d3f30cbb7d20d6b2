"""Work that trains no network: simulations and checks of theory, named by the function that does them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from mixscope.studies.engine.trial import Measured

# Where the functions stand that records name.
HOMES = {
    "chaudhry2022_checks": "chaudhry2022.checks",
    "chaudhry2022_training": "chaudhry2022.training",
    "fisher2024_theory": "fisher2024.theory_checks",
    "ji2022_landscape": "ji2022.stationary_points",
    "ji2022_simulations": "ji2022.simulations",
    "liu2023_flow": "liu2023.one_draw",
    "liu2023_labels": "liu2023.label_checks",
    "liu2023_simulations": "liu2023.simulations",
}
REVISION = 1  # of what the record of a computation means; another number makes all be done anew


@dataclass(frozen=True)
class Computation:
    """A call of a function of ours with plain arguments.

    Attributes:
        function: "HOME:FUNCTION", for example "fisher2024_theory:joint_optimum": its home as in `HOMES`. It takes the
            arguments by name and returns `Measured`. Records are named by it: it stays as it is.
        arguments: Plain JSON values.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return everything the result depends on."""
        return {
            "kind": "computation",
            "revision": REVISION,
            "function": self.function,
            "arguments": dict(self.arguments),
        }

    def run(self) -> Measured:
        """Call it."""
        path, _, name = self.function.partition(":")
        measured = getattr(import_module(f"mixscope.studies.{HOMES[path]}"), name)(**self.arguments)
        assert isinstance(measured, Measured)
        return measured
