"""Mixing that ends by itself: the over-training monitor, fed with what training says of every epoch."""

from typing import Any

from mixscope.metrics.overtraining.monitor import OvertrainingMonitor
from mixscope.metrics.training_cards import BLEND_ENTROPY, FLOOR_GAP
from mixscope.training.summary import EpochSummary


class MonitoredSwitchOff:
    """Ends mixing at the epoch at which the over-training monitor calls the turn.

    Its default rule goes by the training loss and its floor alone: no image is set aside, no pass is added.
    """

    def __init__(self) -> None:
        self.monitor = OvertrainingMonitor()

    def observe(self, summary: EpochSummary) -> bool:
        """Take in an epoch that was mixed; return whether it was the last one."""
        values = {FLOOR_GAP: summary.floor_gap, BLEND_ENTROPY: summary.blend_entropy}
        return self.monitor.update(summary.epoch, values).has_turned

    def state(self) -> dict[str, Any]:
        """Return all that it remembers, as plain values."""
        return self.monitor.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.monitor.load_state(state)
