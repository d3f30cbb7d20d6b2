"""The Lightning callbacks during real fits: what they measure, what they mix, and that they leave no other trace."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.lightning_fits import AnyBatch, Batches, D, K, Network, fit, make_data, make_loader, make_network, quiet
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, Sampler, SubsetRandomSampler, TensorDataset

from mixscope.integrations.lightning import MixscopeCallback
from mixscope.integrations.torchmetrics import CalibrationError, CalibrationSummary, NeuralCollapse
from mixscope.measuring import examine
from mixscope.metrics.catalogue import find_metric

pytestmark = quiet


# Measuring


class NoisyDigits(Dataset):
    """Draws from every global random state there is, as augmentation does."""

    def __len__(self):
        return 150

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
        inputs = torch.randn(D, generator=generator)
        return inputs + 0.1 * noise.float(), int(inputs[:K].argmax())


def fit_with_noise(*callbacks):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    network = make_network()
    loader_generator = torch.Generator().manual_seed(3)
    train = DataLoader(NoisyDigits(), batch_size=32, shuffle=True, generator=loader_generator)
    val = DataLoader(NoisyDigits(), batch_size=50, shuffle=False)
    trainer = fit(network, *callbacks, train=train, val=val)
    momentum = [state["momentum_buffer"] for state in trainer.optimizers[0].state.values()]
    drawn = [torch.rand(3), random.random(), np.random.rand(), loader_generator.get_state()]  # noqa: NPY002
    return [*network.state_dict().values(), *momentum, *drawn]


@pytest.mark.filterwarnings("ignore:MixscopeCallback. .* the same example is another one:UserWarning")
def test_training_is_bit_for_bit_the_same_with_and_without_measuring():
    callback = MixscopeCallback(sites=("body.0", "body.2"))
    measured, plain = fit_with_noise(callback), fit_with_noise()
    assert len(callback.history) == 3
    for one, other in zip(measured, plain, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


class Frozen(Network):
    def on_train_epoch_start(self):
        self.body[1].eval()


class Traces(Callback):
    """What a callback could leave behind, at the end of every epoch."""

    def __init__(self):
        self.found = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.found.append(
            (
                [module.training for module in pl_module.modules()],
                [parameter.grad.clone() for parameter in pl_module.parameters()],
                [buffer.clone() for buffer in pl_module.buffers()],
                sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in pl_module.modules()),
            )
        )


def test_modes_gradients_buffers_and_hooks_are_as_they_were():
    before, after = Traces(), Traces()
    fit(make_network(kind=Frozen), before, MixscopeCallback(), after)  # Lightning drops gradients before validation
    assert before.found[0][0] == [True, True, True, False, True, True, True]
    assert before.found[0][3] == 0
    for one, other in zip(before.found, after.found, strict=True):
        assert one[0] == other[0]
        assert one[3] == other[3]
        for tensors in (1, 2):
            assert all(map(torch.equal, one[tensors], other[tensors]))


def test_every_number_is_logged_by_its_catalogue_key_and_equals_a_measurement_by_hand():
    network = make_network()
    callback = MixscopeCallback(sites=("body.0",))
    trainer = fit(network, callback, train=make_loader(shuffle=True), val=make_loader(seed=1), epochs=1)
    (numbers,) = callback.history
    assert numbers.pop("epoch") == 1
    for key, value in numbers.items():
        assert find_metric(key)
        logged = trainer.callback_metrics[key]
        torch.testing.assert_close(logged, torch.tensor(value), equal_nan=True)  # logged in float32
    by_hand = examine(network, head="head", train=[make_data()], test=[make_data(seed=1)]).values
    for key, value in by_hand.items():
        assert numbers[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key  # float32 features in other batches
    assert {key.split("/")[0] for key in numbers} >= {"nc", "train", "test", "nc_test", "channels", "linearity"}


def test_epochs_are_measured_as_often_as_asked_and_the_first_and_the_last_always():
    callback = MixscopeCallback(every=2)
    network = make_network()
    fit(network, callback, val=make_loader(seed=1), epochs=5)
    assert [numbers["epoch"] for numbers in callback.history] == [1, 2, 4, 5]
    assert len(network.validated) > 0  # a sanity check took place, and was not measured


def test_without_validation_examples_the_training_numbers_remain():
    callback = MixscopeCallback()
    fit(make_network(), callback, epochs=1)
    groups = {key.split("/")[0] for key in callback.history[0]}
    assert groups == {"epoch", "nc", "train", "channels"}
    with pytest.raises(ValueError, match=r"sites must come with validation examples \(val_batches, .*\), got none"):
        fit(make_network(), MixscopeCallback(sites=("body.0",)), epochs=1)


class Still(Network):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def on_fit_start(self):
        self.body[1].momentum = 0.0  # the running statistics stand still too


def test_the_same_examples_and_blends_are_looked_at_in_every_epoch():
    callback = MixscopeCallback(max_examples=60, sites=("body.0",))
    fit(make_network(kind=Still), callback, train=make_loader(shuffle=True), val=make_loader(seed=1), epochs=2)
    first, second = callback.history
    for key in first.keys() - {"epoch"}:
        assert second[key] == pytest.approx(first[key], nan_ok=True), key


def test_a_subset_sampler_keeps_the_measurement_on_its_subset():
    inputs, labels = make_data()
    inputs[100:] = torch.nan  # raises when looked at
    dataset = TensorDataset(inputs, labels)
    train = DataLoader(dataset, batch_size=25, sampler=SubsetRandomSampler(range(100)))
    callback = MixscopeCallback()
    fit(make_network(), callback, train=train, epochs=1)
    assert callback.history[0]["nc/nc1_pinv"] > 0


def test_batches_that_are_given_are_looked_at_in_full():
    network = make_network()
    given = [make_data(num=90, seed=5), make_data(num=10, seed=6)]
    callback = MixscopeCallback(max_examples=5, train_batches=given, val_batches=given)
    fit(network, callback, epochs=1, val=make_loader(seed=1))
    expected = examine(network, head="head", train=given, test=given).values
    for key, value in expected.items():
        assert callback.history[0][key] == value


def test_the_history_goes_on_from_a_checkpoint(tmp_path):
    first = MixscopeCallback()
    fit(make_network(), first, epochs=2).save_checkpoint(tmp_path / "last.ckpt")
    assert len(first.history) == 2
    second = MixscopeCallback()
    fit(make_network(), second, epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert second.history[:2] == first.history
    assert [numbers["epoch"] for numbers in second.history] == [1, 2, 3]


def test_a_checkpoint_can_be_chosen_by_a_measured_number(tmp_path):
    chooser = ModelCheckpoint(tmp_path, monitor="test/ece", mode="min")
    callback = MixscopeCallback()
    fit(make_network(), callback, chooser, val=make_loader(seed=1), enable_checkpointing=True)
    lowest = min(numbers["test/ece"] for numbers in callback.history)
    assert float(chooser.best_model_score) == pytest.approx(lowest)


def test_double_precision_training_is_measured_in_double_precision():
    callback = MixscopeCallback()
    fit(make_network(), callback, epochs=1, precision="64-true", val=make_loader(seed=1))
    assert callback.history[0]["test/accuracy"] > 0


class Softmax(Network):
    def forward(self, inputs):
        return super().forward(inputs).softmax(dim=1)


class LogSoftmax(Network):
    def forward(self, inputs):
        return super().forward(inputs).log_softmax(dim=1)


class OwnTransfer(Network):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch


class DictBatches(Network):
    def training_step(self, batch, batch_idx):
        return super().training_step([batch["image"], batch["label"]], batch_idx)


class OwnSampler(Sampler):
    def __iter__(self):
        return iter(range(200))

    def __len__(self):
        return 200


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (Network, {"head": "heads"}, r"head must name a module of the model, got 'heads' \(did you mean head\?\)"),
        (
            Network,
            {"head": "body.2"},
            r"head must be a linear classifier \(torch.nn.Linear\), got 'body.2', which is ReLU",
        ),
        (Network, {"sites": ("bdy.0",), "val_batches": [make_data()]}, r"got 'bdy.0' \(did you mean body.0"),
        (Softmax, {}, r"the model's output must be logits, got rows of probabilities"),
        (OwnTransfer, {}, "train_batches must be given where OwnTransfer defines on_after_batch_transfer, got None"),
        (
            Network,
            {"train_batches": [make_data()[0]]},
            r"train_batches: batches must be pairs of inputs and labels, .*, got a Tensor",
        ),
    ],
)
def test_a_module_that_does_not_fit_is_told_what_is_asked_of_it(network, options, message):
    with pytest.raises(ValueError, match=message):
        fit(make_network(kind=network), MixscopeCallback(**options), epochs=1)


def test_a_module_that_ends_in_log_softmax_is_measured_as_one_that_gives_logits():
    ended = {kind: MixscopeCallback() for kind in (Network, LogSoftmax)}
    for kind, callback in ended.items():
        fit(make_network(kind=kind), callback, epochs=1)
    expected = ended[Network].history[0]
    assert ended[LogSoftmax].history[0] == pytest.approx(expected, rel=1e-4, nan_ok=True)  # float32 losses


@pytest.mark.parametrize(
    ("train", "got"),
    [
        (Batches(list(make_data())), "got Batches"),
        ([make_loader(), make_loader()], "got list"),
    ],
    ids=["batches", "loaders"],
)
def test_a_loader_whose_examples_cannot_be_listed_has_to_be_given(train, got):
    with pytest.raises(ValueError, match=f"train_batches must be given where the Trainer's loader is not .*, {got}"):
        fit(make_network(kind=AnyBatch), MixscopeCallback(), train=train, epochs=1)


def test_batches_that_name_their_parts_are_measured_as_pairs_are():
    inputs, labels = make_data()
    rows = [{"image": one, "label": label, "path": "x"} for one, label in zip(inputs, labels, strict=True)]
    callback, expected = MixscopeCallback(), MixscopeCallback()
    fit(make_network(kind=DictBatches), callback, train=DataLoader(rows, batch_size=32), epochs=1)
    fit(make_network(), expected, epochs=1)
    assert callback.history == expected.history


def test_batches_that_name_nothing_alike_are_told_apart():
    rows = [{"a": one, "b": one, "label": 0} for one in make_data()[0]]
    message = r"train_batches: batches must name one tensor .*: for inputs \['a', 'b'\], for labels \['label'\]"
    with pytest.raises(ValueError, match=message):
        fit(make_network(kind=AnyBatch), MixscopeCallback(), train=DataLoader(rows, batch_size=50), epochs=1)


def test_a_data_module_with_transfer_hooks_asks_for_batches():
    class Data(LightningDataModule):
        def train_dataloader(self):
            return make_loader()

        def on_before_batch_transfer(self, batch, dataloader_idx):
            return batch

    with pytest.raises(ValueError, match="train_batches must be given where Data defines on_before_batch_transfer"):
        fit(make_network(), MixscopeCallback(), datamodule=Data(), epochs=1)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        MixscopeCallback(every=0)
    with pytest.raises(ValueError, match="max_examples must be at least 1, got 0"):
        MixscopeCallback(max_examples=0)
    with pytest.raises(ValueError, match="sites must be a sequence of strings, got 'body'"):
        MixscopeCallback(sites="body")


def test_two_processes_log_the_same_numbers_and_draw_different_blends(tmp_path):
    # Forking needs a process whose autograd has not run yet.
    script = Path(__file__).with_name("fit_on_two_processes.py")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["history"] == second["history"]
    assert len(first["history"]) == 2
    assert first["logged"] == second["logged"]
    assert first["logged"]["nc/nc1_pinv"] == pytest.approx(first["history"][-1]["nc/nc1_pinv"])
    for one, other in zip(first["targets"], second["targets"], strict=True):
        assert not torch.equal(one, other)


# The torchmetrics metrics in a LightningModule


class Metered(Network):
    def __init__(self):
        super().__init__()
        self.collapse = NeuralCollapse(self.head)
        self.calibration = CalibrationError()
        self.summary = CalibrationSummary()

    def validation_step(self, batch, batch_idx):
        inputs, labels = batch
        features = self.body(inputs)
        probabilities = self.head(features).softmax(dim=1)
        self.collapse.update(features, labels)
        self.calibration(probabilities, labels)
        self.summary.update(probabilities, labels)
        self.log("val/ece", self.calibration)

    def on_validation_epoch_end(self):
        self.log_dict(self.collapse.compute())
        self.log_dict(self.summary.compute())
        self.collapse.reset()
        self.summary.reset()


def test_metrics_are_logged_from_a_lightning_module():
    network = make_network(kind=Metered)
    trainer = fit(network, val=make_loader(seed=1))
    batches = [make_data(seed=1)]
    expected = examine(network, head="head", train=batches, test=batches).values
    logged = trainer.callback_metrics
    for name, key in (("val/ece", "test/ece"), ("ece", "test/ece"), ("nc1_pinv", "nc/nc1_pinv")):
        assert float(logged[name]) == pytest.approx(expected[key], rel=1e-4), name  # float32, other batches


def test_without_lightning_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "mixscope.integrations.lightning")
    with pytest.raises(ImportError, match=r"needs lightning: pip install 'mixscope\[lightning\]'"):
        __import__("mixscope.integrations.lightning")
