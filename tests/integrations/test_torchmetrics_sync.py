"""Two processes that each see a part give the numbers of one that saw everything."""

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torchmetrics import MetricCollection

from mixscope.integrations.torchmetrics import (
    CalibrationSummary,
    NearestClassMean,
    NeuralCollapse,
)

NUM_CLASSES, DIM = 3, 5


def make_metrics():
    head = nn.Linear(DIM, NUM_CLASSES).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return MetricCollection(
        {
            "collapse": NeuralCollapse(head),
            "nearest": NearestClassMean(head),
            "calibration": CalibrationSummary(),
        }
    )


def make_batches():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60).sort(stable=True)[0] * NUM_CLASSES // 60  # the last class is in the last batches only
    features = 100 + labels[:, None] + torch.randn(60, DIM, generator=generator, dtype=torch.float64)
    probabilities = torch.randn(60, NUM_CLASSES, generator=generator, dtype=torch.float64).softmax(dim=1)
    means = torch.randn(NUM_CLASSES, DIM, generator=generator, dtype=torch.float64) + 101
    return [
        {
            "features": features[rows],
            "labels": labels[rows],
            "probabilities": probabilities[rows],
            "class_means": means,
        }
        for rows in torch.arange(60).split([25, 1, 14, 20])
    ]


def see_a_part(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    batches = make_batches()
    metrics = make_metrics()
    for batch in batches[:3] if rank == 0 else batches[3:]:
        metrics.update(**batch)
    results = {"all": metrics.compute(), "means": metrics["collapse"].class_means()}
    # What a process has seen itself is still there: going on counts nothing twice.
    metrics.update(**batches[rank])
    results["more"] = metrics.compute()
    # Two steps, the value of each over both processes.
    metrics = make_metrics()
    for metric in metrics.values(copy_state=False):
        metric.dist_sync_on_step = True
    metrics(**batches[1])
    results["step"] = metrics(**batches[0] if rank == 0 else batches[3])
    # One process without a single example.
    collapse = make_metrics()["collapse"]
    if rank == 0:
        for batch in batches:
            collapse.update(batch["features"], batch["labels"])
    else:
        collapse.update(batches[0]["features"][:0], batches[0]["labels"][:0])
    results["idle"] = collapse.compute()
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def synced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sync")
    multiprocessing.spawn(see_a_part, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def in_one_process(batches):
    metrics = make_metrics()
    for batch in batches:
        metrics.update(**batch)
    return metrics.compute()


def check_close(values, expected):
    torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-10)  # float64 in another order: seen 1e-13


def test_both_processes_get_the_numbers_of_all_examples(synced):
    expected = in_one_process(make_batches())
    for results in synced:
        check_close(results["all"], expected)


def test_both_processes_get_the_class_means_of_all_examples(synced):
    collapse = make_metrics()["collapse"]
    for batch in make_batches():
        collapse.update(batch["features"], batch["labels"])
    for results in synced:
        check_close(results["means"], collapse.class_means())


def test_going_on_after_a_sync_counts_nothing_twice(synced):
    batches = make_batches()
    expected = in_one_process([*batches, batches[0], batches[1]])
    for results in synced:
        check_close(results["more"], expected)


def test_a_step_can_be_synced(synced):
    batches = make_batches()
    expected = in_one_process([batches[0], batches[3]])
    for results in synced:
        check_close(results["step"], expected)


def test_a_process_without_examples_adds_nothing(synced):
    expected = in_one_process(make_batches())
    for results in synced:
        check_close(results["idle"], {name: expected[name] for name in results["idle"]})
