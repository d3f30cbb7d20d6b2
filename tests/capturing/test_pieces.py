"""Batches cut into pieces on the CPU: the same features and logits, bit for bit, of a network whose rows are apart."""

import pytest
import torch
from torch import nn

from mixscope.capturing.capture import capture_batches
from mixscope.capturing.pieces import CORE_ROWS, CPU_PIECE, pieces


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("shape", "rows"), [((3, 32, 32), CPU_PIECE // 3072), ((3, 300, 300), CORE_ROWS), ((64,), 500)]
)
def test_a_piece_is_as_large_as_its_rows_allow(shape, rows):
    parts = pieces(torch.zeros(500, *shape))
    assert {len(part) for part in parts[:-1]} <= {rows}
    assert sum(map(len, parts)) == 500
    assert len(pieces(torch.zeros(0, *shape))) == 1


def test_what_a_network_gives_does_not_depend_on_the_pieces():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs, labels = torch.randn(100, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(100).long()
    (batch,) = capture_batches(model, [(inputs, labels)], sites=("0", "2"))
    assert len(pieces(inputs)) > 1
    with torch.no_grad():
        assert torch.equal(batch.features["0"], model[0](inputs).flatten(1))
        torch.testing.assert_close(batch.logits, model(inputs))
