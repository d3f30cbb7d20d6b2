"""Runs of a study as `mixscope report` reads them: records of trained networks, turned into what a run folder holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixscope.base.errors import UserError
from mixscope.bench.description import method_label
from mixscope.bench.options import TrainOptions, options_from_dict, options_to_dict
from mixscope.metrics.catalogue import FLOOR_GAP
from mixscope.records.environment import SCHEMA
from mixscope.records.forms import LAYER
from mixscope.records.json_numbers import finite_or_none
from mixscope.records.store import Run
from mixscope.studies.engine.trial import Outcome, read_outcome


def read_trial_runs(path: Path, *, only: str = "*") -> list[Run]:
    """Read a record, or those of a folder that are of trained networks.

    Args:
        path: Of a study's record, or a folder of them.
        only: Which of a folder, by a pattern of their file names, for example "digits-200-*".

    Raises:
        UserError: If a record is damaged, was changed, or is not of a trained network, or the folder has none.
    """
    if not path.is_dir():
        return [_as_run(read_outcome(path))]
    outcomes = (read_outcome(file) for file in sorted(path.glob(f"{only}.json")))
    runs = [_as_run(outcome) for outcome in outcomes if outcome.description.get("kind") == "network"]
    if not runs:
        raise UserError(f"{path} must hold records of trained networks, but none is named {only}.json")
    return runs


def _as_run(outcome: Outcome) -> Run:
    if outcome.description.get("kind") != "network":
        raise UserError(f"{outcome.path} must be the record of a trained network, but none was trained")
    options: TrainOptions = options_from_dict(TrainOptions, outcome.description["options"])
    description = options_to_dict(options)
    if options.data.split_seed == options.seed:  # a study's seed draws the images as well as the weights
        del description["data"]["split_seed"]
    record = {
        "schema": SCHEMA,
        "name": outcome.name,
        "method": method_label(options),
        "kind": "train",
        "description": description,
        "data": outcome.data,
        "model": {"name": options.model, "sites": outcome.pictures.get("sites", [])},
        "environment": outcome.environment,
        "started": outcome.started,
        "wall_seconds": outcome.wall_seconds,
        "status": outcome.problem.partition(":")[0] or "finished",
        "message": outcome.problem,
    }
    if options.training.mixing_off == "auto":
        record["mixing_off_after"] = outcome.values.get("mixing_off_after")
    lines = _lines(outcome, is_mixed=options.mixing.mixing != "none")
    pictures = {"epoch": lines[-1]["epoch"], "linearity": _layers(outcome), **outcome.pictures}
    return Run(folder=outcome.path, record=record, metrics=lines, pictures=pictures)


def _lines(outcome: Outcome, *, is_mixed: bool) -> list[dict[str, Any]]:
    """Return one line an epoch from all tables, by the keys of a run's own lines."""
    lines: dict[float, dict[str, Any]] = {}
    for table in outcome.tables.values():
        for row in zip(*table.values(), strict=True):
            values = {key: value for key, value in zip(table, row, strict=True) if value is not None}
            lines.setdefault(values["epoch"], {}).update(finite_or_none(values))
    off = outcome.values.get("mixing_off_after")
    for epoch, line in lines.items():
        floor = line.pop("train/loss_floor", None)
        if floor is not None and line.get("train/loss") is not None:
            line[FLOOR_GAP] = max(0.0, line["train/loss"] - floor)
        if epoch > 0:
            line["mixing_on"] = is_mixed and (off is None or epoch <= off)
    return [lines[epoch] for epoch in sorted(lines)]


def _layers(outcome: Outcome) -> list[Mapping[str, Any]]:
    """Return the linearity of each site at the end; records of earlier versions have it among the values alone."""
    layers: list[Mapping[str, Any]] = []
    for site in outcome.pictures.get("sites", []):
        start = f"linearity/{site}/"
        own = {key.removeprefix(start): value for key, value in outcome.values.items() if key.startswith(start)}
        if LAYER.keys() - {"*"} <= {"site", *own}:
            layers.append({"site": site, **finite_or_none(own)})
    return layers
