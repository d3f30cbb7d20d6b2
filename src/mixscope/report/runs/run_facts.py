"""Facts of single runs: how each was made, and the command that repeats it."""

import shlex

from mixscope.records.store import Run
from mixscope.report.page import Cell
from mixscope.report.runs.method_options import MISSING, flatten

MACHINE = ("accelerator", "device", "processor", "num_threads", "platform")


def run_cell(run: Run) -> Cell:
    """Return how a run was made, to unfold."""
    record, environment = run.record, run.record.get("environment") or {}
    seconds, message = record.get("wall_seconds"), record.get("message")
    status = f"{record.get('status', 'unknown')}{f': {message}' if message else ''}"
    duration = f"{seconds:,.0f} s" if isinstance(seconds, int | float) else MISSING
    known = {key: value for key, value in environment.items() if value}
    machine = [f"{'threads: ' if key == 'num_threads' else ''}{known[key]}" for key in MACHINE if key in known]
    versions = [f"{k} {value}" for k, value in known.items() if k not in ("commit", "num_cores", *MACHINE)]
    brief = ", ".join([*([] if run.seed is None else [f"seed {run.seed}"]), status, duration])
    pairs: dict[str, str | Cell] = {
        "repeat it": Cell(repeat_command(run), is_code=True),
        "folder": Cell(str(run.folder), is_code=True),
        "method": run.method,
        "status": status,
        "started": str(record.get("started") or MISSING),
        "took": duration,
        "hardware": ", ".join(machine) or MISSING,
        "versions": ", ".join(versions) or MISSING,
        "commit": Cell(str(environment.get("commit") or MISSING), is_code=True),
    }
    return Cell("", fold=f"{run.name}: {brief}", folded=list(pairs.items()))


def repeat_command(run: Run) -> str:
    """Return the command that repeats the run, quoted for a shell; a dash for a study's record, which none repeats."""
    if run.folder.suffix == ".json":
        return MISSING
    if run.record.get("kind") != "measure":
        return f"mixscope train --from {shlex.quote(str(run.folder))}"
    description = run.record.get("description") or {}
    words = ["mixscope", "measure", str(description.get("model"))]
    for path, value in flatten(description):
        flag = path.rsplit(".", 1)[-1].replace("_", "-")
        if path == "model" or value is None or value in ([], {}):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join(words)
