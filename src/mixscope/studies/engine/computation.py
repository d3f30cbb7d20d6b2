"""Work that trains no network: simulations and checks of theory, named by the function that does them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from mixscope.studies.engine.trial import Measured

REVISION = 1  # of what the record of a computation means; another number makes all be done anew


@dataclass(frozen=True)
class Computation:
    """A call of a function of ours with plain arguments.

    Attributes:
        function: "STUDY_MODULE:FUNCTION", for example "fisher2024_theory:joint_optimum" for that function of
            `mixscope.studies.fisher2024.theory_checks`. It takes the arguments by name and returns `Measured`. Records are
            named by it: it stays as it is.
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
        module = path.replace("_", ".", 1)
        measured = getattr(import_module(f"mixscope.papers.{module}"), name)(**self.arguments)
        assert isinstance(measured, Measured)
        return measured
