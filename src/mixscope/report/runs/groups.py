"""Runs grouped by method, and what is read off a group: curves over seeds, final values, where mixing stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mixscope.records.store import Run
from mixscope.report.runs.method_options import split_by_options
from mixscope.report.runs.spread import Curve, Spread, finite

SQUARED_ERROR = "squared-error"  # of the option --training.loss


@dataclass(frozen=True)
class Method:
    """The runs of one method; they differ in their seed.

    Attributes:
        index: Its place on the page, which fixes its colour.
        runs: The runs that every mean is taken over.
        left_out: Runs that did not finish, left out because others of the method did.
    """

    name: str
    index: int
    runs: tuple[Run, ...]
    left_out: tuple[Run, ...] = ()

    @cached_property
    def rows(self) -> tuple[dict[int, dict[str, Any]], ...]:
        """The measurements of each run by epoch; of an epoch written twice the later."""
        return tuple(
            {int(row["epoch"]): row for row in run.metrics if finite(row.get("epoch")) is not None} for run in self.runs
        )

    @cached_property
    def final_epoch(self) -> int | None:
        """The last epoch that every run measured; None where there is none (measure-only runs)."""
        common = set.intersection(*(set(rows) for rows in self.rows))
        return max(common, default=None)

    @cached_property
    def is_measured(self) -> bool:
        """Whether the runs only measured checkpoints that were trained elsewhere."""
        return all(run.record.get("kind") == "measure" for run in self.runs)

    @property
    def noun(self) -> str:
        """What one of the runs is: a seed, or a checkpoint."""
        return "checkpoint" if self.is_measured else "seed"

    @cached_property
    def is_untrained(self) -> bool:
        """Whether nothing but the network before training was measured."""
        return self.final_epoch == 0 and not self.is_measured

    @property
    def data(self) -> Mapping[str, Any]:
        """What the first run's record says of the data."""
        return self.runs[0].record.get("data") or {}

    @cached_property
    def num_classes(self) -> int | None:
        """The number of classes of the data, or None where the record does not say."""
        count = self.data.get("num_classes")
        return count if isinstance(count, int) else None

    @cached_property
    def final_rows(self) -> tuple[dict[str, Any], ...]:
        """Each run's measurements at the final epoch; without epochs, its last ones."""
        if self.final_epoch is not None:
            return tuple(rows[self.final_epoch] for rows in self.rows)
        return tuple(run.metrics[-1] if run.metrics else {} for run in self.runs)

    def final(self, key: str) -> Spread | None:
        """Return the key's final values over the seeds that have it, or None if none has."""
        values = tuple(value for row in self.final_rows if (value := finite(row.get(key))) is not None)
        return Spread(values) if values else None

    def curve(self, key: str) -> Curve:
        """Return the key against epochs, over the runs that measured it; only epochs that each of them measured."""
        series = [
            {epoch: value for epoch, row in rows.items() if (value := finite(row.get(key))) is not None}
            for rows in self.rows
        ]
        series = [values for values in series if values]
        if not series:
            return Curve((), ())
        epochs = tuple(sorted(set.intersection(*(set(values) for values in series))))
        return Curve(epochs, tuple(Spread(tuple(values[epoch] for values in series)) for epoch in epochs))

    @cached_property
    def switched_off(self) -> tuple[int, int] | None:
        """The last epoch measured with mixing on and the next one without, in the first run; None if it stayed on."""
        last_on: int | None = None
        for epoch, row in sorted(self.rows[0].items()):
            if row.get("mixing_on") is False and last_on is not None:
                return last_on, epoch
            if row.get("mixing_on") is True:
                last_on = epoch
        return None

    @cached_property
    def monitored_epochs(self) -> tuple[int | None, ...]:
        """Where the over-training monitor ended mixing: after which epoch, of each run; None where it never did.

        Empty where it was not asked.
        """
        records = [run.record for run in self.runs if "mixing_off_after" in run.record]
        return tuple(epoch if isinstance(epoch := record["mixing_off_after"], int) else None for record in records)

    @cached_property
    def never_mixed(self) -> bool:
        """Whether the runs were trained, and mixing was off in every epoch (plain training)."""
        trained = [row for rows in self.rows for epoch, row in rows.items() if epoch > 0]
        states = [row["mixing_on"] for row in trained if "mixing_on" in row]
        return bool(states) and not any(state is True for state in states)

    @cached_property
    def is_squared_loss(self) -> bool:
        """Whether the runs were trained with the squared error."""
        options = (run.record.get("description", {}).get("training") for run in self.runs)
        return any(isinstance(training, dict) and training.get("loss") == SQUARED_ERROR for training in options)

    def pictures(self, name: str) -> list[Mapping[str, Any]]:
        """Return a picture of every run that has it."""
        return [run.pictures[name] for run in self.runs if run.pictures.get(name)]

    def picture(self, name: str) -> Mapping[str, Any] | None:
        """Return a picture of the first run that has it, the lowest seed's, or None."""
        return next(iter(self.pictures(name)), None)

    def pictured(self, name: str) -> str:
        """Return whose picture that is, as in 'mixup, seed 0, epoch 200', leaving out what is not known."""
        run = next((run for run in self.runs if run.pictures.get(name)), self.runs[0])
        seed, epoch = run.seed, run.pictures.get("epoch")
        parts = [self.name, "" if seed is None else f"seed {seed}", "" if epoch is None else f"epoch {epoch}"]
        return ", ".join(part for part in parts if part)


def group_runs(runs: Sequence[Run]) -> list[Method]:
    """Group runs by method, in the order in which the methods first appear; seeds in rising order.

    Unfinished runs count only where no run of the method finished. Where a method has both trained and measured-only
    runs, the latter stand apart as 'NAME (measured)'. Runs of one label whose options differ by more than the seed are
    different methods: the options that differ stand behind the name; of measured checkpoints the folder is the name. No
    two methods have the same name.

    Raises:
        ValueError: If there are no runs.
    """
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    trained = {run.method for run in runs if run.record.get("kind") != "measure"}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        is_apart = run.record.get("kind") == "measure" and run.method in trained
        groups.setdefault(f"{run.method} (measured)" if is_apart else run.method, []).append(run)
    methods = []
    used: set[str] = set()
    named = [pair for group in groups.items() for pair in _named_parts(split_by_options(*group))]
    for index, (name, members) in enumerate(named):
        ordered = sorted(members, key=lambda run: (finite(run.seed) is None, finite(run.seed) or 0.0))
        finished = tuple(run for run in ordered if run.record.get("status") == "finished")
        left_out = tuple(run for run in ordered if run.record.get("status") != "finished") if finished else ()
        methods.append(Method(_unused(name, used), index, finished or tuple(ordered), left_out))
    return methods


def _named_parts(parts: Sequence[tuple[str, list[Run]]]) -> Sequence[tuple[str, list[Run]]]:
    """Name measured checkpoints that share a label ("best.pt" of two runs) by their folders, where these differ."""
    folders = [run.name for _, runs in parts for run in runs]
    is_measured = all(run.record.get("kind") == "measure" for _, runs in parts for run in runs)
    if len(parts) > 1 and is_measured and len(set(folders)) == len(parts) == len(folders):
        return [(folder, runs) for folder, (_, runs) in zip(folders, parts, strict=True)]
    return parts


def _unused(name: str, used: set[str]) -> str:
    """Return the name, numbered if it is already used, and mark it as used."""
    candidates = (name, *(f"{name} [{number}]" for number in range(2, len(used) + 3)))
    chosen = next(candidate for candidate in candidates if candidate not in used)
    used.add(chosen)
    return chosen
