"""Neural collapse in one pass: milliseconds, error and memory, beside the bare product and a two-pass tool.

One thread. `bare` is the float32 product X^T X of the same shape in one call. `two passes` is what a user would write
in float32: class means by index_add, then the product of the residuals of every batch, then the same numbers of the
report from matrices of K x K and D x D. `ours` and `ours, float64` include `neural_collapse`. All timed in turns.
"""

import subprocess
import sys
import time

import torch
from _bench import parse_arguments, summarise, write_result

from mixscope.metrics.class_statistics.statistics import ClassMoments, ClassStatistics
from mixscope.metrics.collapse.neural_collapse import class_geometry, neural_collapse

# (N, D, K, batch)
SIZES = [(50_000, 512, num_classes, batch) for num_classes in (10, 100, 1000) for batch in (256, 4096)]
WIDE = [(50_000, 2048, 10, 256), (50_000, 2048, 1000, 4096)]
MANY_CLASSES = (200_000, 64, 100_000, 4096)
QUICK = [(4_000, 128, 10, 256), (4_000, 128, 300, 1024)]
QUICK_MANY_CLASSES = (6_000, 16, 3_000, 1024)


def make(num, dim, num_classes):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randperm(num, generator=generator) % num_classes
    means = torch.randn(num_classes, dim, generator=generator)
    features = torch.randn(num, dim, generator=generator).add_(means[labels])
    return features, labels, torch.randn(num_classes, dim, generator=generator)


def one_pass(features, labels, head, batch, *, product_dtype=None):
    statistics = ClassStatistics(*head.shape, product_dtype=product_dtype)
    for rows, row_labels in zip(features.split(batch), labels.split(batch), strict=True):
        statistics.update(rows, row_labels)
    return neural_collapse(statistics, head)


def two_passes(features, labels, head, batch):
    num_classes, dim = head.shape
    sums, counts = torch.zeros(num_classes, dim), torch.zeros(num_classes)
    for rows, row_labels in zip(features.split(batch), labels.split(batch), strict=True):
        sums.index_add_(0, row_labels, rows)
        counts.index_add_(0, row_labels, torch.ones(len(rows)))
    means = sums / counts[:, None]
    within, scatter = torch.zeros(dim, dim), torch.zeros(num_classes)
    for rows, row_labels in zip(features.split(batch), labels.split(batch), strict=True):
        residuals = rows - means[row_labels]
        within.addmm_(residuals.T, residuals)
        scatter.index_add_(0, row_labels, residuals.square().sum(dim=1))
    within /= len(features)
    centered, weight = means - means.mean(dim=0), head - head.mean(dim=0)
    between = centered.T @ centered / num_classes
    simplex = torch.eye(num_classes) - 1 / num_classes
    simplex /= simplex.norm()
    pairs = ~torch.eye(num_classes, dtype=torch.bool)
    variances = scatter / counts
    distances = torch.cdist(means, means).square()

    def angles(rows):
        unit = rows / rows.norm(dim=1, keepdim=True)
        return ((unit @ unit.T)[pairs] + 1 / (num_classes - 1)).abs().mean()

    def to_simplex(product):
        return (product / product.norm() - simplex).norm()

    total = within + (counts[:, None] * centered).T @ centered / len(features)
    return {
        "nc1_pinv": float(torch.trace(within @ torch.linalg.pinv(between)) / num_classes),
        "nc1_trace": float(within.trace() / between.trace()),
        "nc1_cdnv": float(((variances[:, None] + variances)[pairs] / (2 * distances[pairs])).mean()),
        "nc2_equiangular_means": float(angles(centered)),
        "nc2_equiangular_weights": float(angles(weight)),
        "nc2_equiangular_weights_uncentered": float(angles(head)),
        "nc2_etf_means": float(to_simplex(centered @ centered.T)),
        "nc2_etf_weights": float(to_simplex(weight @ weight.T)),
        "nc3_product": float(to_simplex(weight @ centered.T)),
        "nc3_duality": float((weight / weight.norm() - centered / centered.norm()).norm()),
        "singular_values": float(torch.linalg.svdvals(centered).sum()),
        "participation": float(total.trace() ** 2 / total.square().sum()),
    }


def cheap(features, labels, num_classes, batch):
    moments = ClassMoments(num_classes, features.shape[1])
    for rows, row_labels in zip(features.split(batch), labels.split(batch), strict=True):
        moments.update(rows, row_labels)
    return class_geometry(moments)


def in_turns(functions, repetitions):
    """Return milliseconds of each function, timed in turns after a round that does not count, and the last results."""
    times, results = {name: [] for name in functions}, {}
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            results[name] = function()
            if repetition:
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: summarise(values) for name, values in times.items()}, results


def largest_error(found, exact):
    """Return the largest relative difference of a field, with its name."""
    shared = [name for name, value in exact.items() if name in found and value]
    return max((abs(found[name] / exact[name] - 1), name) for name in shared)


def peak_memory(size):
    """Return MB above what the features take, in a process of its own (its first call, libraries' buffers included)."""
    output = subprocess.run(
        [sys.executable, __file__, "--memory", *map(str, size)], capture_output=True, text=True, check=True
    ).stdout
    return float(output)


def print_peak_memory(size):
    num, dim, num_classes, batch = size
    torch.set_num_threads(1)
    for few in (3, 80):  # what libraries load on first use is not ours
        one_pass(*make(400, 64, few), batch)
    features, labels, head = make(num, dim, num_classes)
    # The code reads its own peak: Linux resets it to what is in use now.
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = read_status("VmRSS")
    one_pass(features, labels, head, batch)
    print((read_status("VmHWM") - before) / 1e3)


def read_status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))


def measure(size, repetitions, *, has_twin=True):
    num, dim, num_classes, batch = size
    features, labels, head = make(num, dim, num_classes)
    functions = {
        "bare": lambda: features.T @ features,
        "ours": lambda: one_pass(features, labels, head, batch),
        "ours, float64": lambda: one_pass(features, labels, head, batch, product_dtype=torch.float64),
    }
    if has_twin:
        functions["two passes"] = lambda: two_passes(features, labels, head, batch)
        functions["ours, no D x D"] = lambda: cheap(features, labels, num_classes, batch)
    times, results = in_turns(functions, repetitions)
    exact = results["ours, float64"].as_dict()
    error = {"ours": largest_error(results["ours"].as_dict(), exact)}
    if has_twin:
        error["two passes"] = largest_error(results["two passes"], exact)
    allowed = 4 * 8 * (dim * dim + num_classes * dim) / 1e6
    return {
        "size": dict(zip(("examples", "dim", "classes", "batch"), size, strict=True)),
        "milliseconds": times,
        "times_bare": {name: times[name]["median"] / times["bare"]["median"] for name in times},
        "largest_relative_error": error,
        "peak_memory_mb": {
            "ours": peak_memory(size),
            "allowed": allowed,
            "batch": 4 * batch * dim / 1e6,
        },
    }


def main():
    if "--memory" in sys.argv:
        print_peak_memory([int(value) for value in sys.argv[2:]])
        return
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(1)
    repetitions = 2 if arguments.quick else 9
    plan = [(size, repetitions, True) for size in (QUICK if arguments.quick else SIZES)]
    plan += [] if arguments.quick else [(size, 3, True) for size in WIDE]
    plan += [(QUICK_MANY_CLASSES if arguments.quick else MANY_CLASSES, 1, False)]
    results = []
    for size, count, has_twin in plan:
        entry = measure(size, count, has_twin=has_twin)
        results.append(entry)
        print("N {} D {} K {} batch {}".format(*size))
        for name, values in entry["milliseconds"].items():
            print(f"  {values['median']:9.1f} ms  {entry['times_bare'][name]:5.2f} x bare  {name}")
        print(f"  error {entry['largest_relative_error']}")
        print(f"  memory {entry['peak_memory_mb']}")
    notes = [
        "one thread; features float32, standard normal around standard normal class means; classes balanced",
        "times_bare: median over the median of the bare product, all timed in turns",
        "largest_relative_error: over the fields of the report, against product_dtype=torch.float64",
        "peak_memory_mb: resident memory above the features; `batch` is one batch of float32 rows",
    ]
    write_result("collapse", results, out=arguments.out, notes=notes)


if __name__ == "__main__":
    main()
