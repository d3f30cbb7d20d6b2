"""Runs with chosen numbers, and the one finding of a topic."""

from synthetic_runs import synthetic_run

from mixscope.records.store import Run
from mixscope.report.runs.findings import findings
from mixscope.report.runs.words import Finding


def run_with_errors(errors: list[float | None], *, method: str = "mixup", seed: int = 0, **changes: object) -> Run:
    """A run whose test errors, in percent, are these at epochs 1, 2, 3, ..."""
    run = synthetic_run(method, seed=seed, epochs=list(range(1, len(errors) + 1)), **changes)
    for row, error in zip(run.metrics, errors, strict=True):
        row["test/error"] = None if error is None else error / 100
    return run


def only(runs: list[Run], topic: str) -> Finding:
    (found,) = [finding for finding in findings(runs) if finding.topic == topic]
    return found


def final(method: str = "mixup", seeds: int = 3, **changes: object) -> list[Run]:
    return [synthetic_run(method, seed=seed, epochs=[0, 10], **changes) for seed in range(seeds)]
