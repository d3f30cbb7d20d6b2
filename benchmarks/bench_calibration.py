"""Calibration of a million predictions over ten classes: seconds and memory, beside torchmetrics in the same run.

Also the other numbers of a report, a temperature fit, and bootstrap intervals on a test set of usual size.
"""

import gc
import resource
import subprocess
import sys
import time

import torch
from _bench import parse_arguments, summarise, write_result
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.functional.classification import multiclass_calibration_error

from mixscope.metrics.calibration.calibration_intervals import calibration_intervals
from mixscope.metrics.calibration.prediction_meter import calibration_report
from mixscope.metrics.calibration.scores import ClasswiseCalibration
from mixscope.metrics.calibration.temperature import fit_temperature
from mixscope.metrics.calibration.top_label import CalibrationBins, equal_mass_reliability, expected_calibration_error

NUM_CLASSES, NUM_BINS, BATCH = 10, 15, 1000


def make_case(num):
    """Logits whose labels follow the softmax of half of them, as float32."""
    stream = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(num, NUM_CLASSES, generator=stream)
    labels = torch.multinomial(torch.softmax(0.5 * logits, dim=1), 1, generator=stream)[:, 0]
    return logits, torch.softmax(logits, dim=1), labels


def ours(logits, probabilities, labels):
    return expected_calibration_error(probabilities, labels, num_bins=NUM_BINS)


def ours_streamed(logits, probabilities, labels):
    bins = CalibrationBins(NUM_BINS)
    for rows, row_labels in zip(probabilities.split(BATCH), labels.split(BATCH), strict=True):
        bins.update(rows, row_labels)
    return bins.expected_calibration_error


def ours_from_logits(logits, probabilities, labels):
    bins = CalibrationBins(NUM_BINS)
    bins.update_logits(logits, labels)
    return bins.expected_calibration_error


def equal_mass(logits, probabilities, labels):
    confidence, prediction = probabilities.max(dim=1)
    return equal_mass_reliability(confidence, prediction == labels, num_bins=NUM_BINS).error


def classwise(logits, probabilities, labels):
    sums = ClasswiseCalibration(NUM_CLASSES, NUM_BINS)
    sums.update(probabilities, labels)
    return sums.classwise_calibration_error


def torchmetrics_function(logits, probabilities, labels):
    return float(multiclass_calibration_error(probabilities, labels, num_classes=NUM_CLASSES, n_bins=NUM_BINS))


def torchmetrics_unchecked(logits, probabilities, labels):
    options = {"num_classes": NUM_CLASSES, "n_bins": NUM_BINS, "validate_args": False}
    return float(multiclass_calibration_error(probabilities, labels, **options))


def torchmetrics_streamed(logits, probabilities, labels):
    metric = MulticlassCalibrationError(num_classes=NUM_CLASSES, n_bins=NUM_BINS)
    for rows, row_labels in zip(probabilities.split(BATCH), labels.split(BATCH), strict=True):
        metric.update(rows, row_labels)
    return float(metric.compute())


CONTESTANTS = {
    "expected_calibration_error": ours,
    "torchmetrics function": torchmetrics_function,
    "torchmetrics function, unchecked": torchmetrics_unchecked,
    f"CalibrationBins, batches of {BATCH}": ours_streamed,
    f"torchmetrics Metric, batches of {BATCH}": torchmetrics_streamed,
}
OTHERS = {
    "CalibrationBins, from logits": ours_from_logits,
    "equal_mass_reliability": equal_mass,
    "ClasswiseCalibration": classwise,
    "calibration_report": lambda z, p, y: calibration_report(z, y),
    "fit_temperature": lambda z, p, y: fit_temperature(z, y),
}


def measure_time(contestants, case, *, repetitions):
    """Alternate between the contestants, so that a busy moment falls on all of them; the first round warms up."""
    seconds = {name: [] for name in contestants}
    for repetition in range(repetitions + 1):
        for name, call in contestants.items():
            began = time.perf_counter()
            call(*case)
            if repetition:
                seconds[name].append(time.perf_counter() - began)
    return {name: summarise(values) for name, values in seconds.items()}


def peak_memory(name, num):
    """MiB of resident memory a contestant adds above its inputs, in a fresh process."""
    command = [sys.executable, __file__, "--memory", name, str(num)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak_memory(name, num):
    case = make_case(num)
    small = tuple(tensor[:BATCH] for tensor in case)
    CONTESTANTS[name](*small)  # what loading and first calls take is not the method's
    gc.collect()
    # The peak so far is that of making the inputs; hold memory until a new peak must be the contestant's.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = []
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= peak:
        held.append(torch.ones(2**18))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    CONTESTANTS[name](*case)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024)


def main():
    if "--memory" in sys.argv:
        print_peak_memory(sys.argv[2], int(sys.argv[3]))
        return
    arguments = parse_arguments(__doc__)
    num, repetitions = (200_000, 2) if arguments.quick else (1_000_000, 9)
    case = make_case(num)
    results = {"examples": num, "classes": NUM_CLASSES, "value": {name: f(*case) for name, f in CONTESTANTS.items()}}
    results["peak_memory_mib"] = {name: peak_memory(name, num) for name in CONTESTANTS}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results[f"seconds, {threads} threads"] = measure_time(CONTESTANTS, case, repetitions=repetitions)
        results[f"seconds of the others, {threads} threads"] = measure_time(OTHERS, case, repetitions=1)
    torch.set_num_threads(1)
    logits, _, labels = make_case(10_000)
    intervals = {
        "calibration_intervals, 10,000 examples, 2,000 resamples": lambda: calibration_intervals(
            logits, labels, generator=torch.Generator().manual_seed(0)
        )
    }
    results["seconds of intervals, 1 thread"] = measure_time(intervals, (), repetitions=1 if arguments.quick else 3)
    for group, values in results.items():
        if isinstance(values, dict):
            print(group)
            for name, value in values.items():
                print(f"  {value['median'] if isinstance(value, dict) else value:10.4g}  {name}")
    notes = [
        "torchmetrics bins are [low, high) with confidence 1.0 in a bin of its own, and its sums are float32: values "
        "agree to that convention and precision.",
        "expected_calibration_error also checks that every row sums to 1 and that labels are classes.",
        "peak_memory_mib: resident memory above the inputs, in a fresh process.",
    ]
    write_result("calibration", results, out=arguments.out, notes=notes)


if __name__ == "__main__":
    main()
