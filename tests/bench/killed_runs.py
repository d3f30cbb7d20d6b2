"""A run that is killed at its writes, again and again, and gone on with: `python killed_runs.py FOLDER NUM_KILLS`.

It prints what the parts of the finished runs have in common, as JSON. Every attempt is a fork of one process, which has
loaded everything; an attempt kills itself at the n-th of its operations that change the run's folder. Where that is the
opening of a file, half of something is written into it first.
"""

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path

from mixscope.bench import recorder
from mixscope.bench.observer import SILENT
from mixscope.bench.options import DataOptions, MeasureOptions, MixingOptions, TrainOptions
from mixscope.bench.run import run_training
from mixscope.records.store import read_run
from mixscope.training.recipe import Recipe

OPTIONS = TrainOptions(
    data=DataOptions(data="digits", test_size=1700, test_subset=40),
    model="mlp-8x1",
    mixing=MixingOptions(mixing="mixup"),
    training=Recipe(epochs=5, batch_size=50),
    measuring=MeasureOptions(num_pairs=20, linearity_pairs=5, plane_images=10),
    measure_every=1,
    device="cpu",
    threads=1,
)
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
OFTEN, NEVER = 1e9, 1e-9  # shares of the time for checkpoints: after every epoch, and only where there must be one


class Killer:
    """Counts the operations that change a folder, and ends the process at one of them."""

    def __init__(self):
        self.folder, self.kill_at, self.count = None, None, 0
        sys.addaudithook(self.hear)

    def watch(self, folder, kill_at=None):
        self.folder, self.kill_at, self.count = folder and str(folder), kill_at, 0

    def hear(self, event, arguments):
        opens = event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if self.folder is None or not (opens or event in CHANGES):
            return
        if isinstance(arguments[0], str) and not arguments[0].startswith(self.folder):
            return
        self.count += 1
        if self.count == self.kill_at:
            self.folder = None
            if opens:
                os.write(os.open(arguments[0], arguments[2], 0o644), b'{"epoch": 1, "test/er')
            os.kill(os.getpid(), signal.SIGKILL)


def go_on(folder):
    """Begin the run, or go on with it, as a user would after a crash."""
    run_training(OPTIONS, folder, observer=SILENT, resume=(folder / "run.json").exists())


def is_killed(folder, killer, kill_at):
    """Go on with the run in a process that ends at its n-th change; return whether it did."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            killer.watch(folder, kill_at)
            go_on(folder)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def result(folder):
    """Return all that must be the same, whatever happened on the way."""
    run = read_run(folder)
    lines = [{key: value for key, value in line.items() if key != "wall_seconds"} for line in run.metrics]
    return {
        "status": run.record["status"],
        "metrics": lines,
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
        **{
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("pictures.json", "predictions.safetensors", "checkpoints/weights.safetensors")
        },
    }


def main(work, num_kills):
    """Print the unbroken run's result, those of the broken ones, and the kills of each of these."""
    os.fsync = lambda descriptor: None  # what is written outlives the process without it
    killer, draws = Killer(), random.Random(0)
    recorder.CHECKPOINT_SHARE = OFTEN
    go_on(work / "unbroken" / "run")  # also loads what is loaded late
    killer.watch(work / "counted" / "run")
    go_on(work / "counted" / "run")
    num_changes = killer.count
    killer.watch(None)
    kills, results = [], []
    while sum(kills) < num_kills:
        folder = work / f"broken-{len(kills)}" / "run"
        recorder.CHECKPOINT_SHARE = (OFTEN, NEVER)[len(kills) % 2]
        kills.append(0)
        while is_killed(folder, killer, draws.randint(1, num_changes) if sum(kills) < num_kills else None):
            kills[-1] += 1
        results.append(result(folder))
    first = result(work / "unbroken" / "run")
    print(json.dumps({"changes": num_changes, "kills": kills, "unbroken": first, "broken": results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
