"""Rows kept for the end of a pass: the same in memory and in a file."""

import pytest
import torch
from torch import nn

from mixscope.measuring import last_layer
from mixscope.measuring.kept_rows import KeptRows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_rows_in_a_file_are_those_that_came(dtype):
    blocks = [torch.randn(size, 5, generator=torch.Generator().manual_seed(size)).to(dtype) for size in (3, 1, 4, 0, 2)]
    for memory_bytes in (1 << 20, 40):
        with KeptRows(memory_bytes=memory_bytes) as kept:
            for block in blocks:
                kept.add(block)
            assert (kept._file is None) == (memory_bytes > 40)
            assert len(kept._blocks) == (len(blocks) if memory_bytes > 40 else 0)
            whole = kept.whole()
            assert all(torch.equal(found, block) for found, block in zip(kept.blocks(), blocks, strict=True))
        assert torch.equal(whole, torch.cat(blocks))
        rows = torch.tensor([9, 0, 4])
        assert torch.equal(whole[rows], torch.cat(blocks)[rows])


def test_a_pass_gives_the_same_with_its_features_in_a_file(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    batches = [(torch.randn(20, 6), torch.arange(20) % 3) for _ in range(3)]
    in_memory = last_layer.measure_last_layer(model, batches, head="2")
    monkeypatch.setattr(last_layer, "KeptRows", lambda: KeptRows(memory_bytes=100))
    in_file = last_layer.measure_last_layer(model, batches, head="2")
    assert torch.equal(in_file.features, in_memory.features)
    assert (in_file.nearest_mean.accuracy, in_file.nearest_mean.mismatch) == (
        in_memory.nearest_mean.accuracy,
        in_memory.nearest_mean.mismatch,
    )
