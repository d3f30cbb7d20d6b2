"""Runs grouped by method, and what is read off a group: curves over seeds, final values, where mixing stopped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mixscope.records.store import Run


def finite(value: object) -> float | None:
    """Return the number as a float, or None for anything missing, not a number, NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Spread:
    """One number over the seeds of a method.

    Attributes:
        values: One per seed, at least one, finite.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return math.fsum(self.values) / len(self.values)

    @property
    def low(self) -> float:
        """The smallest seed's value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest seed's value."""
        return max(self.values)

    @property
    def num_seeds(self) -> int:
        """How many seeds."""
        return len(self.values)


@dataclass(frozen=True)
class Curve:
    """A number against epochs, over the seeds of a method; only epochs that every seed measured.

    Attributes:
        epochs: Rising.
        spreads: One per epoch, the same seeds in the same order.
    """

    epochs: tuple[int, ...]
    spreads: tuple[Spread, ...]

    @property
    def num_seeds(self) -> int:
        """How many seeds; 0 for an empty curve."""
        return self.spreads[0].num_seeds if self.spreads else 0

    @property
    def turn(self) -> int:
        """The place (not the epoch) where the mean is lowest; the first of equals."""
        return min(range(len(self.spreads)), key=lambda place: self.spreads[place].mean)

    @property
    def window(self) -> int:
        """How many measurements span a twentieth of the curve: an odd number, 1 for a curve of fewer than 40."""
        return 2 * (len(self.epochs) // 40) + 1

    def smoothed(self) -> "Curve":
        """Return the running mean over `window` measurements, seed by seed; at the ends the window stays inside."""
        width, count = self.window, len(self.epochs)
        starts = [min(max(0, place - width // 2), count - width) for place in range(count)]
        spreads = []
        for start in starts:
            rows = [spread.values for spread in self.spreads[start : start + width]]
            spreads.append(Spread(tuple(math.fsum(values) / width for values in zip(*rows, strict=True))))
        return Curve(self.epochs, tuple(spreads))


@dataclass(frozen=True)
class Method:
    """The runs of one method; they differ in their seed.

    Attributes:
        name: The method's name as shown.
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
    def never_mixed(self) -> bool:
        """Whether the runs were trained, and mixing was off in every epoch (plain training)."""
        states = [
            row["mixing_on"] for rows in self.rows for epoch, row in rows.items() if epoch > 0 and "mixing_on" in row
        ]
        return bool(states) and not any(state is True for state in states)

    @cached_property
    def is_squared_loss(self) -> bool:
        """Whether the runs' description names a squared loss as the objective."""
        return any(
            {"loss", "objective"} & set(path.split("."))
            and any(word in str(value).lower() for word in ("squared", "mse"))
            for run in self.runs
            for path, value in flatten(run.record.get("description") or {})
        )


def group_runs(runs: Sequence[Run]) -> list[Method]:
    """Group runs by method, in the order in which the methods first appear; seeds in rising order.

    Unfinished runs count only where no run of the method finished. Where a method has both trained and measured-only
    runs, the latter stand apart as 'NAME (measured)'. Runs of one label whose options differ by more than the seed are
    different methods: the options that differ stand behind the name.

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
    for index, (name, members) in enumerate(pair for group in groups.items() for pair in _told_apart(*group)):
        ordered = sorted(members, key=lambda run: (finite(run.seed) is None, finite(run.seed) or 0.0))
        finished = tuple(run for run in ordered if run.record.get("status") == "finished")
        left_out = tuple(run for run in ordered if run.record.get("status") != "finished") if finished else ()
        methods.append(Method(name, index, finished or tuple(ordered), left_out))
    return methods


# Options in which the seeds of one method may differ: they say where and when it was looked at, not what was trained.
INCIDENTAL = ("seed", "label", "device", "data.data_dir")


def _told_apart(name: str, runs: list[Run]) -> list[tuple[str, list[Run]]]:
    """Split runs of one label by their options, and name each part by the options in which the parts differ."""
    parts: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        pairs = flatten(run.record.get("description") or {})
        kept = [(path, str(value)) for path, value in pairs if path not in INCIDENTAL and "measuring." not in path]
        parts.setdefault(tuple(sorted(kept)), []).append(run)
    if len(parts) == 1:
        return [(name, runs)]
    shared = set.intersection(*(set(part) for part in parts))
    named = []
    for part, members in parts.items():
        differing = [f"{path.rpartition('.')[2]} {value}" for path, value in part if (path, value) not in shared]
        named.append((f"{name} ({', '.join(differing)})", members))
    return named


def flatten(options: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested options as ('outer.inner', value) pairs, in their own order."""
    pairs: list[tuple[str, Any]] = []
    for key, value in options.items():
        path = f"{prefix}{key}"
        pairs += flatten(value, f"{path}.") if isinstance(value, dict) and value else [(path, value)]
    return pairs
