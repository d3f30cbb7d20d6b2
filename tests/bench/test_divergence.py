"""Networks whose weights stay finite and whose outputs do not: a loss that stopped being finite, not a traceback."""

import numpy as np
import pytest
import torch
from helpers.command_line import run_command

from mixscope.bench.build import build_bench
from mixscope.bench.failures import divergence_told
from mixscope.bench.observer import SILENT
from mixscope.bench.options import DataOptions, MeasureOptions, TrainOptions
from mixscope.records.store import read_run
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.training.objective import NonFiniteLossError
from mixscope.training.recipe import Recipe

# In evaluation after the third step of training, whatever the weights: no trajectory is waited for.
NETWORK = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU()), nn.Linear(8, num_classes)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs):
        if self.training:
            self.steps += 1
        has_diverged = not self.training and int(self.steps) > 2
        features = self.body(inputs)
        if has_diverged and "{place}" == "features":
            features = features + {value}
        logits = self.head(features)
        return logits + {value} if has_diverged and "{place}" == "logits" else logits
"""
LOOKS = {"num_pairs": 4, "linearity_pairs": 4, "plane_images": 4}


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Write the images, and a network that diverges in its second epoch of two steps."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez("d.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)

    def write(value="float('inf')", place="logits"):
        (tmp_path / "own.py").write_text(NETWORK.replace("{value}", value).replace("{place}", place))
        return TrainOptions(
            data=DataOptions(data=str(tmp_path / "d.npz")),
            model=f"{tmp_path / 'own.py'}:Own",
            training=Recipe(epochs=3, batch_size=16),
            measuring=MeasureOptions(**LOOKS),
            device="cpu",
        )

    return write


@pytest.mark.parametrize("place", ["logits", "features"])
@pytest.mark.parametrize("value", ["float('inf')", "float('nan')"])
def test_a_run_whose_outputs_are_not_finite_fails_in_one_line_and_keeps_its_checkpoint(tmp_path, network, value, place):
    network(value, place)
    looks = [word for name, value in LOOKS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words = ["--data", "d.npz", "--model", "own.py:Own", "--epochs", "3", "--batch-size", "16", *looks]
    ended = run_command("train", *words, "--device", "cpu", "--out", "run")
    assert ended.code == 1, ended.errors
    assert ended.errors == (
        "mixscope: failed: the loss stopped being finite: the network gives NaN, infinite or enormous values, measured "
        "after epoch 2; a lower learning rate or weight decay usually helps; the last good checkpoint is "
        "run/checkpoints/last.pt\n"
    )
    run = read_run(tmp_path / "run")
    assert run.record["status"] == "failed"
    assert "stopped being finite" in run.record["message"]
    assert [line["epoch"] for line in run.metrics] == [0, 1]
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["training"]["epoch"] < 2


def test_a_run_of_a_study_records_such_a_network_as_diverged(network):
    measured = NetworkTraining(network(), curve_every=1, measure_at=(1, 2)).run()
    assert measured.problem.startswith("diverged: the loss stopped being finite: the network gives NaN, infinite")
    assert measured.tables["curve"]["epoch"] == [0, 1]


def test_an_error_that_is_not_the_networks_stays_what_it_is(network, tmp_path):
    bench = build_bench(network(), folder=tmp_path, tracker=None, observer=SILENT)
    with (
        pytest.raises(ValueError, match="ours") as raised,
        divergence_told(bench.subject),
    ):
        raise ValueError("ours")
    assert not isinstance(raised.value, NonFiniteLossError)


@pytest.mark.parametrize("words", [["--learning-rate", "1e6"], ["--weight-decay", "1e6"]])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_absurd_rates_end_in_one_line_of_a_loss_that_is_not_finite(network, words, precision):
    network()
    looks = [word for name, value in LOOKS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    more = ["--model", "mlp-8x2", "--schedule", "constant", "--epochs", "40", "--device", "cpu"]
    ended = run_command("train", "--data", "d.npz", *more, *looks, *words, "--precision", precision, "--out", "run")
    assert ended.code == 1, ended.errors
    assert ended.errors.count("\n") == 1
    assert "stopped being finite" in ended.errors


def test_weights_that_give_enormous_features_are_no_traceback_of_measuring(tmp_path, network):
    network()
    scope = {}
    exec((tmp_path / "own.py").read_text(), scope)
    state = scope["Own"](3).state_dict()
    state["body.1.weight"] *= 1e20
    torch.save(state, "w.pt")
    ended = run_command("measure", "own.py:Own", "--weights", "w.pt", "--data", "d.npz", "--out", "m")
    assert ended.code in (0, 2), ended.errors
    assert "Traceback" not in ended.errors
    assert (tmp_path / "m").exists() == (ended.code == 0)
