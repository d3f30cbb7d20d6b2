import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from helpers.norm_training import CASES, make_training
from torch import distributed, nn

from mixscope.training.whole_batch import whole_batch_norm

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Train every case in two processes; return the folder of the results."""
    output = tmp_path_factory.mktemp("norms")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(HELPERS / "norm_training.py"), str(output)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return output


@pytest.mark.parametrize("case", CASES)
def test_batch_norm_of_every_kind_trains_in_two_processes_as_in_one(two_processes, case):
    training = make_training(case, Accelerator(cpu=True))
    losses = [summary.loss for summary in training.epochs()]
    found = torch.load(two_processes / f"{case}.pt", weights_only=True)
    # float64 sums in another order over at most 10 steps: seen 2e-14, allowed 1e-11
    assert found["losses"] == pytest.approx(losses, abs=1e-11)
    assert list(found["state"]) == list(training.model.state_dict())
    for name, value in training.model.state_dict().items():
        torch.testing.assert_close(found["state"][name], value, rtol=0, atol=1e-11)


@pytest.fixture
def group_of_one():
    """Let this process be a group by itself."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_single_value_in_all_processes_together_is_refused_as_torch_refuses_it(group_of_one):
    with whole_batch_norm(is_counted=True), pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        nn.BatchNorm1d(3)(torch.zeros(1, 3))


def test_after_the_block_torch_has_its_own_functions_back(group_of_one):
    before = F.batch_norm, torch.batch_norm, torch.instance_norm
    with whole_batch_norm(is_counted=True):
        assert F.batch_norm is not before[0]
    with pytest.raises(RuntimeError), whole_batch_norm(is_counted=True):
        torch.ones(2) @ torch.ones(3)
    assert (F.batch_norm, torch.batch_norm, torch.instance_norm) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_group_of_one_normalises_as_torch_does(group_of_one, dtype):
    torch.manual_seed(0)
    inputs, slopes = torch.randn(64, 8, 6, 6).to(dtype), torch.randn(64, 8, 6, 6).to(dtype)
    expected, found = ([], [])
    for results, block in ((expected, nullcontext()), (found, whole_batch_norm(is_counted=True))):
        layer, leaf = nn.BatchNorm2d(8), inputs.clone().requires_grad_()
        with block:
            outputs = layer(leaf)
            outputs.backward(slopes)
        results += [outputs.detach(), leaf.grad, layer.weight.grad, layer.bias.grad, layer.running_mean]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other)
