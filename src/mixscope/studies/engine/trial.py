"""Runs of a study: what one is made from, what it gives, the record that keeps both; grids of methods and seeds."""

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from mixscope.base.errors import UserError
from mixscope.records.environment import SCHEMA, describe_environment
from mixscope.records.form import read_record
from mixscope.records.forms import TRIAL
from mixscope.records.json_numbers import finite_or_none, from_json, mapped, to_json
from mixscope.records.store import write_json

DIGITS = 6  # significant ones of a number of a picture; what verdicts read, values and tables, is kept whole
HASH_LENGTH = 12
OUTCOME = ("pictures", "problem", "environment", "wall_seconds", "started", "data", "name", "description")

Table = dict[str, list[float | None]]


@dataclass(frozen=True)
class Measured:
    """What a piece of work gives.

    Attributes:
        values: Numbers at the end.
        tables: Name to columns of equal length, for example "curve" with "epoch" and "test/error".
        pictures: What figures are drawn from, as plain JSON values.
        problem: Why the numbers must not enter a mean, in one sentence; "" where nothing is wrong.
        data: What images it was measured on, as `describe_images` says it; empty without images.
    """

    values: Mapping[str, float]
    tables: Mapping[str, Table] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class Work(Protocol):
    """Something to run: a frozen dataclass that says all its result depends on."""

    def describe(self) -> dict[str, Any]:
        """Return everything the result depends on, as plain JSON values."""
        ...

    def run(self) -> Measured:
        """Do it."""
        ...


@dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        setting: What it is run on, for example "digits-200".
        method: What is run, for example "mixup".
        seed: Pairs methods: runs of one setting and seed share data and starting weights.
        work: What to do. Trials with the same description are one run, also across studies.
    """

    setting: str
    method: str
    seed: int
    work: Work

    @property
    def name(self) -> str:
        """For messages and file names: "digits-200-mixup-seed0"."""
        return f"{self.setting}-{self.method}-seed{self.seed}"

    @cached_property
    def digest(self) -> str:
        """Hash of the description: it names the record."""
        return digest_of(self.work.describe())


@dataclass(frozen=True)
class Outcome:
    """A trial's record as read back.

    Attributes are those of `Measured` (values and tables whole, None where a number was none; pictures in six digits),
    of the run (`started` as ISO 8601 writes it) and of the trial (`description`: all that it depends on).
    """

    values: Mapping[str, float | None]
    tables: Mapping[str, Table]
    pictures: Mapping[str, Any]
    problem: str
    environment: Mapping[str, Any]
    wall_seconds: float
    started: str
    data: Mapping[str, Any]
    path: Path = Path("record")
    name: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)


def table_of(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Turn rows of numbers into columns; a number a row lacks becomes None.

    Example:
        >>> table_of([{"epoch": 0, "test/error": 0.5}, {"epoch": 1}])
        {'epoch': [0, 1], 'test/error': [0.5, None]}
    """
    lines = list(rows)
    keys = list(dict.fromkeys(key for line in lines for key in line))
    return {key: [line.get(key) for line in lines] for key in keys}


def run_trial(trial: Trial, folder: Path) -> float:
    """Do a trial's work and write its record, whole or not at all; return the seconds it took."""
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        gc.collect()  # memory of an earlier run, freed only during this one, would hide that this one takes any
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if has_gpu else 0  # cuBLAS keeps its workspace from one run to the next
    measured = trial.work.run()
    is_on_gpu = has_gpu and torch.cuda.max_memory_allocated() > before
    seconds = round(time.perf_counter() - began, 2)
    record = {
        "schema": SCHEMA,
        "kind": "trial",
        "name": trial.name,
        "description": trial.work.describe(),
        "environment": describe_environment(
            device="cuda" if is_on_gpu else "cpu",
            num_threads=torch.get_num_threads(),
            accelerator_name=torch.cuda.get_device_name() if is_on_gpu else None,
        ),
        "data": dict(measured.data),
        "started": started,
        "wall_seconds": seconds,
        "problem": measured.problem,
        "values": to_json(measured.values),
        "tables": to_json(measured.tables),
        "pictures": _rounded(measured.pictures),
    }
    record["checksum"] = checksum_of(record)
    write_json(folder / f"{trial.name}-{trial.digest}.json", record, indent=None)
    return seconds


def find_records(folder: Path) -> dict[str, Path]:
    """Return the records of a folder by the hash of their descriptions."""
    return {digest_in(path): path for path in sorted(folder.glob("*-*.json"))}


def read_outcome(path: Path) -> Outcome:
    """Read a record; what it must hold stands in `records.forms`.

    Raises:
        UserError: If the file is damaged, of another form, changed after it was written, or the record of another trial
            than its name says.
    """
    record = read_record(path, TRIAL)
    if record.get("checksum") not in (None, checksum_of(record)):  # records of earlier versions have none
        raise UserError(f"{path} must be as it was written, but it was changed; delete it to have the run done again")
    if digest_of(record["description"]) != digest_in(path):
        raise UserError(f"{path} must be the record of the trial that its name says, but its description is another's")
    whole = {name: from_json(record[name]) for name in ("values", "tables")}
    return Outcome(path=path, **whole, **{name: record[name] for name in OUTCOME})


def checksum_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record, its own checksum left out: a number changed by hand is no evidence."""
    rest = {name: value for name, value in record.items() if name != "checksum"}
    text = json.dumps(finite_or_none(rest), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(description: Mapping[str, Any]) -> str:
    """Return the hash of a trial's description, which names its record."""
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def digest_in(path: Path) -> str:
    """Return the hash in the name of a record."""
    return path.stem.rpartition("-")[2]


def run_grid(
    setting: str, methods: Iterable[str], num_seeds: int, make_work: Callable[[str, int], Work]
) -> list[Trial]:
    """Return the trials of a setting, all methods of a seed before the next; `make_work` says what one does."""
    return [Trial(setting, method, seed, make_work(method, seed)) for seed in range(num_seeds) for method in methods]


def call_grid(setting: str, methods: Mapping[str, Callable[..., Work]], num_seeds: int) -> list[Trial]:
    """Return the same of methods that need no more than `seed`."""
    return run_grid(setting, methods, num_seeds, lambda method, seed: methods[method](seed=seed))


def _rounded(value: Any) -> Any:
    return mapped(finite_or_none(value), lambda leaf: float(f"{leaf:.{DIGITS}g}") if isinstance(leaf, float) else leaf)
