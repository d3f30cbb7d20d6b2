from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from mixscope.metrics.class_statistics.class_sums import ClassSums
from mixscope.metrics.class_statistics.statistics import ClassMoments, ClassStatistics

NUM_CLASSES, DIM = 4, 70


def data() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    labels = torch.randint(NUM_CLASSES, (301,), generator=stream)
    return 1e3 + torch.randn(301, DIM, dtype=torch.float64, generator=stream), labels


def rows_of_rank(rank: int, *, is_empty: bool) -> slice:
    """Each rank has a part, or rank 0 all and rank 1 nothing."""
    return slice(0, 301) if is_empty and rank == 0 else slice(0, 0) if is_empty else slice(rank * 140, 140 + rank * 161)


def work(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    features, labels = data()
    for kind in (ClassStatistics, ClassMoments):
        for is_empty in (False, True):
            mine = rows_of_rank(rank, is_empty=is_empty)
            statistics = kind(NUM_CLASSES, DIM)
            statistics.update(features[mine][::2], labels[mine][::2])
            statistics.update(features[mine][1::2], labels[mine][1::2])
            statistics.all_reduce()
            torch.save(statistics.state(), Path(folder) / f"{kind.__name__}-{is_empty}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-processes")
    multiprocessing.spawn(work, args=(str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("kind", [ClassStatistics, ClassMoments])
@pytest.mark.parametrize("is_empty", [False, True], ids=["both ranks have examples", "one rank has none"])
def test_both_processes_hold_what_one_would_have(folder: Path, kind: type[ClassSums], is_empty: bool) -> None:
    features, labels = data()
    alone = kind(NUM_CLASSES, DIM)
    alone.update(features, labels)
    for rank in range(2):
        found = torch.load(folder / f"{kind.__name__}-{is_empty}-{rank}.pt")
        assert found.keys() == alone.state().keys()
        for name, value in alone.state().items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10 * float(value.max()), msg=name)
