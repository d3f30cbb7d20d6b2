"""Monitor of over-training: fed every epoch, it says when it has set in, and how sure it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixscope.base.kinds import checked, describe
from mixscope.metrics.overtraining.turn_rules import FloorGapRule, TurnEstimate, TurnRule


@dataclass(frozen=True)
class MonitorReading(TurnEstimate):
    """What the monitor says after an epoch: the rule's estimate, but once the turn has been called it stays.

    Attributes:
        epoch: The last epoch seen.
        turned_epoch: The epoch at which the turn was called; None before.
    """

    epoch: int
    turned_epoch: int | None


class OvertrainingMonitor:
    """Is fed the values of every epoch and says, online, whether over-training has set in.

    What it says is a function of the values it was fed, so a run that goes on from `state()` is told what an unbroken
    one is told. When it calls the turn, switch mixing off and train on (Liu et al. 2023 find the decay gone then).

    Attributes:
        rule: What it goes by; its `needs` name the values. Left out: the training loss's distance to its floor.

    Example:
        >>> monitor = OvertrainingMonitor(FloorGapRule(share=0.5))
        >>> for epoch in range(1, 101):
        ...     gap = 1.0 / epoch + 0.01 * (epoch % 2)
        ...     verdict = monitor.update(epoch, {"train/loss_floor_gap": gap, "train/blend_entropy": 0.1})
        >>> verdict.has_turned, verdict.turned_epoch, verdict.confidence > 0.999
        (True, 29, True)
    """

    @checked
    def __init__(self, rule: TurnRule | None = None) -> None:
        self.rule: TurnRule = FloorGapRule() if rule is None else rule
        self._epochs: list[int] = []
        self._values: dict[str, list[float]] = {name: [] for name in self.rule.needs}
        self._turned_epoch: int | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the values `update` is to be given."""
        return self.rule.needs

    @checked
    def update(self, epoch: int, values: Mapping[str, float]) -> MonitorReading:
        """Add an epoch and judge. When it raises, nothing has changed.

        Args:
            epoch: Larger than all before; they need not be consecutive.
            values: At least those the rule needs, finite; others are not looked at.

        Raises:
            ValueError: If a value is missing or not finite, or the epoch is not new.
        """
        missing = [name for name in self.needs if name not in values]
        if missing:
            raise ValueError(f"values must hold {', '.join(self.rule.needs)}, got {', '.join(values) or 'nothing'}")
        numbers = {name: float(values[name]) for name in self.rule.needs}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise ValueError(f"values[{name!r}] must be finite, got {number}")
        if self._epochs and epoch <= self._epochs[-1]:
            raise ValueError(f"epoch must be larger than the last one, {self._epochs[-1]}, got {epoch}")
        epochs = [*self._epochs, int(epoch)]
        past = {name: [*self._values[name], number] for name, number in numbers.items()}
        judgement = self.rule.judge(epochs, past)  # a rule of the caller's own may raise
        self._epochs, self._values = epochs, past
        if judgement.has_turned and self._turned_epoch is None:
            self._turned_epoch = int(epoch)
        return MonitorReading(
            epoch=int(epoch),
            has_turned=self._turned_epoch is not None,
            turned_epoch=self._turned_epoch,
            confidence=judgement.confidence,
            best_epoch=judgement.best_epoch,
        )

    def state(self) -> dict[str, Any]:
        """Return all it has been fed, as plain lists, numbers and names; the lists are copies."""
        values = {name: list(numbers) for name, numbers in self._values.items()}
        return {"epochs": list(self._epochs), "values": values, "turned_epoch": self._turned_epoch}

    @checked
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. When it raises, nothing has changed.

        Raises:
            ValueError: If it is no state of a monitor, or holds other values than the rule needs.
        """
        try:
            epochs = [int(epoch) for epoch in state["epochs"]]
            values = {str(name): [float(number) for number in numbers] for name, numbers in state["values"].items()}
            turned_epoch = None if state["turned_epoch"] is None else int(state["turned_epoch"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            got = describe(dict(state))
            raise ValueError(f"state must be what state() of a monitor returned, got {got}") from error
        if set(values) != set(self.rule.needs) or any(len(numbers) != len(epochs) for numbers in values.values()):
            held = {name: len(numbers) for name, numbers in values.items()}
            raise ValueError(f"state must hold {len(epochs)} values of {', '.join(self.rule.needs)}, got {held}")
        self._epochs, self._values = epochs, values
        self._turned_epoch = turned_epoch
