"""Results of a study: numbers by setting, method and seed, as samples that claims are judged by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixscope.base.errors import UserError
from mixscope.records.claims import Sample, paired, paired_ratio
from mixscope.studies.engine.trial import Outcome, Table, Trial, find_records, read_outcome

Number = Callable[[Outcome], float]


@dataclass(frozen=True)
class Results:
    """The trials of a study with what they gave.

    Attributes:
        trials: All that belong to the study at its scale.
        outcomes: By a trial's digest; those that were not run are missing.
    """

    trials: Sequence[Trial]
    outcomes: Mapping[str, Outcome]

    def of(self, setting: str, method: str) -> dict[str, Outcome]:
        """Return the outcomes of one method by "seed N"; those not run are left out."""
        found = [(trial, self.outcomes.get(trial.digest)) for trial in self._chosen(setting, method)]
        return {f"seed {trial.seed}": outcome for trial, outcome in found if outcome is not None}

    def methods(self, setting: str) -> list[str]:
        """Return the methods of a setting, in the order of the trials."""
        return list(dict.fromkeys(trial.method for trial in self.trials if trial.setting == setting))

    def sample(self, setting: str, method: str, number: str | Number) -> Sample:
        """Return one number per seed: a key of the values at the end, or a function of the outcome.

        Runs with a problem are excluded by name, runs not done are missing by name; a key that a run lacks is NaN.
        """
        values, missing, excluded = {}, [], {}
        for trial in self._chosen(setting, method):
            outcome, seed = self.outcomes.get(trial.digest), f"seed {trial.seed}"
            if outcome is None:
                missing.append(seed)
            elif outcome.problem:
                excluded[seed] = f"{method}: {outcome.problem}"
            else:
                values[seed] = read_number(outcome, number)
        return Sample(values, missing=tuple(missing), excluded=excluded)

    def difference(self, setting: str, first: str, second: str, number: str | Number) -> Sample:
        """Return first - second, seed by seed."""
        return paired(self.sample(setting, first, number), self.sample(setting, second, number))

    def ratio(self, setting: str, first: str, second: str, number: str | Number) -> Sample:
        """Return first / second, seed by seed."""
        return paired_ratio(self.sample(setting, first, number), self.sample(setting, second, number))

    def curves(self, setting: str, method: str, table: str, key: str) -> tuple[list[float], list[list[float]]]:
        """Return the epochs of a table and one curve per seed, without runs that have a problem.

        Raises:
            UserError: If the runs were looked at after different epochs, as where a record was changed by hand.
        """
        epochs: list[float] = []
        curves: list[list[float]] = []
        for outcome in self.of(setting, method).values():
            columns = outcome.tables.get(table, {})
            if outcome.problem or key not in columns:
                continue
            own = column(outcome, table, "epoch")
            if curves and own != epochs:
                raise UserError(f"{outcome.path} must hold tables.{table}.epoch as the method's other runs do")
            epochs = own
            curves.append(column(outcome, table, key))
        return epochs, curves

    def _chosen(self, setting: str, method: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.setting == setting and trial.method == method]


def read_results(trials: Sequence[Trial], folder: Path) -> Results:
    """Read the records of the trials that were run."""
    records = find_records(folder)
    digests = {trial.digest for trial in trials}
    return Results(trials, {digest: read_outcome(records[digest]) for digest in digests if digest in records})


def read_number(outcome: Outcome, number: str | Number) -> float:
    """Return a number of an outcome; NaN where it has none."""
    if not isinstance(number, str):
        return number(outcome)
    value = outcome.values.get(number)
    return float("nan") if value is None else float(value)


def numbers(column: Sequence[float | None]) -> list[float]:
    """Return a column with NaN where it has no number."""
    return [float("nan") if value is None else float(value) for value in column]


class Columns(dict[str, list[float]]):
    """The columns of an outcome's table by name; one that is not there is the user's error, not ours."""

    def __init__(self, outcome: Outcome, table: str) -> None:
        columns: Table = outcome.tables.get(table, {})
        super().__init__({name: numbers(column) for name, column in columns.items()})
        self.place = f"{outcome.path} must hold tables.{table}"

    def __missing__(self, key: str) -> list[float]:
        raise UserError(f"{self.place}.{key}, but it is not there")


def column(outcome: Outcome, table: str, key: str) -> list[float]:
    """Return a column of an outcome's table; a `UserError` if there is none, as where a record was changed by hand."""
    return Columns(outcome, table)[key]


def aligned(tables: Sequence[Columns], key: str) -> list[list[float]]:
    """Return a column of every run's table; a `UserError` if one is shorter or longer than the first, likewise."""
    length = len(tables[0][key])
    if odd := [table for table in tables if len(table[key]) != length]:
        raise UserError(f"{odd[0].place}.{key} in the length of other runs, {length}, got {len(odd[0][key])}")
    return [table[key] for table in tables]


def picture(outcome: Outcome, name: str) -> Any:
    """Return what a figure is drawn from; a `UserError` if it is not there, as where a record was changed by hand."""
    if name not in outcome.pictures:
        raise UserError(f"{outcome.path} must hold pictures.{name}, but it is not there")
    return outcome.pictures[name]
