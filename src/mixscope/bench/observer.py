"""Observers of a run: progress, messages and epochs are told to them."""

from typing import Any


class Observer:
    """Is told how a run goes on, and here says nothing; the command line's progress display is another."""

    def loading(self, task: str, done: int, total: int | None) -> None:
        """Say how far reading or downloading data has come."""

    def note(self, message: str) -> None:
        """Say something the user should know."""

    def epoch_done(self, epoch: int, num_epochs: int, values: dict[str, Any]) -> None:
        """Say that an epoch is over; `values` holds its numbers, and the measured ones where it was measured."""


SILENT = Observer()
