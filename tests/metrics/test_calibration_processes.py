from pathlib import Path

import pytest
import torch
from calibration_cases import random_logits
from torch import Tensor, distributed, multiprocessing

from mixscope.metrics.calibration.scores import ClasswiseCalibration, ProperScores
from mixscope.metrics.calibration.top_label import CalibrationBins


def instruments() -> dict[str, CalibrationBins | ClasswiseCalibration | ProperScores]:
    return {"bins": CalibrationBins(), "classwise": ClasswiseCalibration(6), "scores": ProperScores()}


def part(rank: int, *, is_empty: bool) -> tuple[Tensor, Tensor]:
    """Each process has a part, or the first one all and the second nothing."""
    logits, labels = random_logits()
    rows = slice(0, 500 * (1 - rank)) if is_empty else slice(170 * rank, 170 + 330 * rank)
    return logits[rows], labels[rows]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    for is_empty in (False, True):
        for name, instrument in instruments().items():
            instrument.update_logits(*part(rank, is_empty=is_empty))
            instrument.all_reduce()
            torch.save(instrument.state(), Path(folder) / f"{name}-{is_empty}-{rank}.pt")
    # A batch refused by one process alone: all of them hear of it, and none hangs.
    bins = CalibrationBins()
    if rank == 0:
        bins._add_unless_refused(torch.zeros(3, 15, dtype=torch.float64), torch.tensor(False))
    bins.all_reduce()
    (Path(folder) / f"refused-{rank}").write_text(str(bins.num_refused_batches))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-processes")
    multiprocessing.spawn(work, args=(str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("is_empty", [False, True], ids=["both have examples", "one has none"])
@pytest.mark.parametrize("name", list(instruments()))
def test_both_processes_hold_what_one_would_have(folder: Path, name: str, is_empty: bool) -> None:
    alone = instruments()[name]
    alone.update_logits(*random_logits())
    for rank in range(2):
        found = torch.load(folder / f"{name}-{is_empty}-{rank}.pt")
        assert list(found) == list(alone.state())
        for key, value in alone.state().items():
            torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-14, msg=key)


def test_a_batch_refused_by_one_process_is_known_to_all(folder: Path) -> None:
    assert [(folder / f"refused-{rank}").read_text() for rank in range(2)] == ["1", "1"]


@pytest.mark.parametrize("name", list(instruments()))
def test_without_processes_nothing_changes(name: str) -> None:
    instrument = instruments()[name]
    instrument.update_logits(*random_logits())
    before = instrument.state()
    instrument.all_reduce()
    assert all(torch.equal(value, before[key]) for key, value in instrument.state().items())
