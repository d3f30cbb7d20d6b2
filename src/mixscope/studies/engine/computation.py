"""Work that trains no network: simulations and checks of theory, named as records have them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mixscope.studies.engine.trial import Measured

REVISION = 1  # of what the record of a computation means; another number makes all be done anew


@dataclass(frozen=True)
class Computation:
    """A call of a function of ours with plain arguments.

    Attributes:
        name: Of the function, for example "fisher2024_theory:joint_optimum". Records are named by it: it stays as it
            is, wherever the function stands.
        function: Of this package, taking the arguments by name.
        arguments: Plain JSON values.
    """

    name: str
    function: Callable[..., Measured]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return everything the result depends on."""
        given = {"function": self.name, "arguments": dict(self.arguments)}
        return {"kind": "computation", "revision": REVISION, **given}

    def run(self) -> Measured:
        """Call it."""
        return self.function(**self.arguments)


def computation(home: str, function: Callable[..., Measured], **arguments: Any) -> Computation:
    """Return a call that records know by `home` and the function's own name: both stay as they are."""
    return Computation(f"{home}:{function.__name__}", function, arguments)
