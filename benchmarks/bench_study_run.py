"""Seconds of one run of a study, and the rows that go through its network: training, and measuring along the way."""

import statistics
import time
from dataclasses import replace

import torch
from _bench import parse_arguments, summarise, write_result

from mixscope.bench.recorder import Recorder
from mixscope.studies.engine import network_training
from mixscope.studies.fisher2024.runs import trials

RUN = "digits-1000-mixup-seed0"
NOTES = (
    f"fisher2024 at the small scale: {RUN}, 300 epochs, everything measured after epochs 2, 10, 50 and 300, the test "
    "images predicted every ten epochs",
    "processor seconds of one thread, of which measuring: what Recorder.test and Recorder.measure take",
    "rows: inputs that the network is given, in training mode and in evaluation mode",
)


class Count:
    """Counts the rows a network is given, and the seconds that measuring takes."""

    def __init__(self):
        self.rows, self.seconds = {True: 0, False: 0}, 0.0

    def build(self, *arguments, **options):
        bench = BUILD(*arguments, **options)
        bench.model.register_forward_pre_hook(self._add)
        return bench

    def timed(self, method):
        def run(*arguments, **options):
            began = time.process_time()
            result = method(*arguments, **options)
            self.seconds += time.process_time() - began
            return result

        return run

    def _add(self, module, inputs):
        self.rows[module.training] += len(inputs[0])


BUILD, TEST, MEASURE = network_training.build_bench, Recorder.test, Recorder.measure


def run_once(work):
    count = Count()
    network_training.build_bench = count.build
    Recorder.test, Recorder.measure = count.timed(TEST), count.timed(MEASURE)
    began = time.process_time()
    work.run()
    return time.process_time() - began, count


def main():
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(1)
    work = next(trial.work for trial in trials("small") if trial.name == RUN)
    if arguments.quick:
        work = replace(work, options=replace(work.options, training=replace(work.options.training, epochs=20)))
    run_once(replace(work, options=replace(work.options, training=replace(work.options.training, epochs=1))))
    ends = [run_once(work) for _ in range(1 if arguments.quick else 3)]
    rows = ends[0][1].rows
    results = {
        "run": RUN,
        "epochs": work.options.training.epochs,
        "seconds": summarise([seconds for seconds, _ in ends]),
        "measuring_seconds": summarise([count.seconds for _, count in ends]),
        "rows_trained_on": rows[True],
        "rows_measured_on": rows[False],
    }
    print(
        f"{statistics.median(seconds for seconds, _ in ends):.1f} s, of which measuring "
        f"{statistics.median(count.seconds for _, count in ends):.1f} s, {rows[False]:,} rows beside {rows[True]:,}"
    )
    write_result("study_run", results, out=arguments.out, notes=NOTES)


if __name__ == "__main__":
    main()
