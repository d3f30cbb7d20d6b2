import os
import re
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.bench import run_processes
from mixscope.bench.options import AugmentationOptions, DataOptions, TrainOptions
from mixscope.bench.run_processes import (
    LostProcessError,
    check_alike,
    check_shareable,
    describe_options,
    failing_together,
    fingerprint_of,
    losses_told,
    weights_of,
)
from mixscope.training.recipe import Recipe

QUICK = ["--num-pairs", "20", "--linearity-pairs", "10", "--plane-images", "10", "--device", "cpu", "--out", "run"]
CLOSED = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:7"


@pytest.fixture
def others(monkeypatch):
    """Let this process be the first of several; what the others send is put into the list."""
    sent = []
    monkeypatch.setattr(run_processes, "gather_object", lambda own: own + sent)
    return sent


CPU, GPU = torch.device("cpu"), torch.device("cuda")
TWO, ONE = (SimpleNamespace(num_processes=number, device=CPU) for number in (2, 1))


def test_every_difference_is_named_with_the_first_process_that_has_it(others):
    others += [{"epochs": 30, "subset": 100, "seed": 0}, {"epochs": 31, "subset": 100, "seed": 0}]
    expected = (
        "all processes of a run must begin alike, but epochs is 30 in process 0 and 31 in process 2; "
        "subset is left out in process 0 and 100 in process 1"
    )
    with pytest.raises(UserError, match=re.escape(expected) + "$"):
        check_alike(TWO, lambda: {"epochs": 30, "subset": None, "seed": 0})


def test_processes_that_are_alike_go_on_and_one_alone_is_not_even_described(others):
    others.append({"epochs": 30})
    check_alike(TWO, lambda: {"epochs": 30})
    check_alike(ONE, lambda: pytest.fail("described"))


def test_options_carry_the_names_of_the_command_line_with_the_versions():
    described = describe_options(
        TrainOptions(training=Recipe(batch_size=7), augmentation=AugmentationOptions(flip=True))
    )
    assert described["batch-size"] == 7
    assert described["flip"] is True
    assert described["the version of torch"] == torch.__version__


def test_where_a_machine_keeps_its_files_and_its_threads_are_its_own_affair(tmp_path):
    here = TrainOptions(data=DataOptions(data=str(tmp_path / "a" / "d.npz"), data_dir=tmp_path), threads=1)
    there = TrainOptions(data=DataOptions(data=str(tmp_path / "b" / "d.npz")), threads=2)
    assert describe_options(here) == describe_options(there)


@pytest.mark.parametrize(
    "other",
    [
        {"w": torch.tensor([1.0, 3.0])},
        {"v": torch.tensor([1.0, 2.0])},
        {"w": torch.tensor([[1.0], [2.0]])},
        {"w": torch.tensor([1.0, 2.0]).view(torch.int32)},
    ],
)
def test_a_fingerprint_tells_values_names_shapes_and_types_apart(other):
    tensors = {"w": torch.tensor([1.0, 2.0])}
    assert fingerprint_of(tensors) == fingerprint_of({"w": torch.tensor([1.0, 0.0, 2.0])[::2]})
    assert fingerprint_of(tensors) != fingerprint_of(other)


def test_weights_are_parameters_and_buffers_and_lazy_ones_wait_for_their_shape():
    model = nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3))
    before = fingerprint_of(weights_of(model))
    model[1].running_mean += 1
    after = fingerprint_of(weights_of(model))
    model(torch.ones(2, 3))
    assert len({before, after, fingerprint_of(weights_of(model))}) == 3


def test_a_network_that_shares_its_statistics_by_itself_needs_gpus_for_several_processes():
    model = nn.Sequential(nn.SyncBatchNorm(3))
    with pytest.raises(UserError, match=r"^net.py:f must do without SyncBatchNorm in several processes on the CPU"):
        check_shareable(model, TWO, name="net.py:f")
    check_shareable(model, ONE, name="net.py:f")
    check_shareable(model, SimpleNamespace(num_processes=2, device=GPU), name="net.py:f")
    check_shareable(nn.Sequential(nn.BatchNorm1d(3)), TWO, name="net.py:f")


def test_the_mistake_of_one_process_is_one_of_all(others):
    others.append(UserError("d.npz: no such file"))
    with pytest.raises(UserError, match=r"^d.npz: no such file$"), failing_together(TWO):
        pass
    others[0] = None
    with failing_together(TWO):
        pass
    with pytest.raises(UserError, match=r"^my own$"), failing_together(TWO):
        raise UserError("my own")


@pytest.mark.parametrize("error", [RuntimeError(CLOSED), torch.distributed.DistNetworkError("timed out")])
def test_a_lost_process_is_told_in_our_words(monkeypatch, error):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LostProcessError, match=r"another process of this run ended .* --resume goes on"), losses_told():
        raise error


@pytest.mark.parametrize(("world", "text"), [("1", CLOSED), ("2", "mat1 and mat2 shapes cannot be multiplied")])
def test_any_other_error_stays_what_it_is(monkeypatch, world, text):
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(RuntimeError, match=re.escape(text)), losses_told():
        raise RuntimeError(text)


def start_two(folder, *options):
    """Start a training of two processes by hand, as a cluster's job does; each has its own last options."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    started = []
    for rank, own in enumerate(options):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        variables = {**os.environ, **place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "mixscope", "train", *QUICK, *own]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=folder, env=variables, **pipes))
    return started


def assert_all_refused(started, line):
    for process in started:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 2, said
        assert said == f"mixscope: error: {line}\n"


def test_processes_with_other_options_end_before_anything_is_written(tmp_path):
    started = start_two(tmp_path, ["--subset", "200"], ["--subset", "100", "--split-seed", "5"])
    assert_all_refused(
        started,
        "all processes of a run must begin alike, but split-seed is 0 in process 0 and 5 in process 1; "
        "subset is 200 in process 0 and 100 in process 1",
    )
    assert not (tmp_path / "run").exists()


def test_processes_with_other_images_under_the_same_name_end_before_anything_is_written(tmp_path):
    for seed, name in enumerate("ab"):
        images = np.random.default_rng(seed).integers(0, 256, (40, 8, 8), dtype=np.uint8)
        parts = {"train_images": images, "test_images": images}
        labels = np.arange(40) % 4
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "d.npz", **parts, train_labels=labels, test_labels=labels)
    first, second = start_two(tmp_path, ["--data", "a/d.npz"], ["--data", "b/d.npz"])
    said = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert said[0] == said[1]
    assert re.fullmatch(
        r"mixscope: error: all processes of a run must begin alike, but the fingerprint of the images is \w{12}... in "
        r"process 0 and \w{12}... in process 1\n",
        said[0],
    )
    assert first.returncode == second.returncode == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("victim", [0, 1])
def test_where_a_process_is_killed_the_other_says_so_in_one_line_and_the_run_can_go_on(tmp_path, victim):
    started = start_two(tmp_path, *[["--epochs", "100000", "--measure-every", "100000"]] * 2)
    checkpoint = tmp_path / "run" / "checkpoints" / "last.pt"
    while not checkpoint.exists() and started[0].poll() is None:
        time.sleep(0.02)
    started[victim].kill()
    said = started[1 - victim].communicate(timeout=120)[1]
    started[victim].communicate()
    assert started[1 - victim].returncode == 1
    assert said.startswith("mixscope: failed: another process of this run ended or does not answer")
    assert said.count("\n") == 1
    assert checkpoint.exists()
