"""The Lightning callbacks during real fits: what they measure, what they mix, and that they leave no other trace."""

import random
import subprocess
import sys
from collections import UserDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.lightning_fits import D, K, Network, fit, make_data, make_loader, make_network, quiet
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, SubsetRandomSampler, TensorDataset

from mixscope import ManifoldMixup, Mixup, NoMixing, blend, blend_targets
from mixscope.base.generators import named_generator
from mixscope.integrations.lightning import MixscopeCallback, MixupCallback
from mixscope.integrations.torchmetrics import CalibrationError, CalibrationSummary, NeuralCollapse
from mixscope.measuring import examine
from mixscope.metrics.catalogue import find_metric

pytestmark = quiet


class Batches:
    """An iterable of ready batches, which is no DataLoader."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


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


class Pair(Network):
    def forward(self, inputs):
        return super().forward(inputs), inputs

    def training_step(self, batch, batch_idx):
        return self(batch[0])[0].sum()


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
        (
            Softmax,
            {},
            r"train: head 'head' must give the model's logits .* does something follow the head, a softmax\?",
        ),
        (Pair, {}, r"the model's output must be a \(B, K\) tensor of logits, got tuple"),
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


class AnyBatch(Network):
    def training_step(self, batch, batch_idx):
        return self(next(self._tensors(batch))).sum()

    def _tensors(self, batch):
        while isinstance(batch, list | tuple | dict):
            batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
        yield batch


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


# Mixing


def expected_batch(inputs, labels, *, epoch, step, seed=0, scheme=None):
    generator = named_generator(seed, "lightning-mixing", epoch, step, 0)
    mixture = (scheme or Mixup()).draw(inputs, labels, generator=generator)
    return blend(inputs, mixture), blend_targets(labels, mixture, num_classes=K)


def test_every_training_batch_is_the_blend_its_key_names():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K, seed=4), epochs=2)
    batches = list(make_loader())
    for position, (inputs, targets) in enumerate(network.seen):
        epoch, step = divmod(position, len(batches))
        expected = expected_batch(*batches[step], epoch=epoch, step=step, seed=4)
        assert torch.equal(inputs, expected[0])
        assert torch.equal(targets, expected[1])
    assert position == 2 * len(batches) - 1


def test_no_epoch_repeats_the_draws_of_another():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K), epochs=2)
    half = len(network.seen) // 2
    for one, other in zip(network.seen[:half], network.seen[half:], strict=True):
        assert not torch.equal(one[1], other[1])


def test_validation_batches_are_never_mixed():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K), val=make_loader(seed=1))
    originals = list(make_loader(seed=1))
    for position, (inputs, labels) in enumerate(network.validated[2:]):  # after the two of the sanity check
        expected = originals[position % len(originals)]
        assert torch.equal(inputs, expected[0])
        assert torch.equal(labels, expected[1])


def test_mixing_stops_after_the_epoch_named_and_targets_keep_their_form():
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K, mixing_off=1), epochs=2)
    batches = list(make_loader())
    for (inputs, targets), (original, labels) in zip(network.seen[len(batches) :], batches, strict=True):
        assert torch.equal(inputs, original)
        assert torch.equal(targets, F.one_hot(labels, K).float())
    assert not torch.equal(network.seen[0][0], batches[0][0])


def test_mixing_draws_nothing_from_the_global_random_state():
    def final_draw(*callbacks):
        fit(make_network(), *callbacks, train=make_loader(shuffle=True))
        return torch.rand(3)

    assert torch.equal(final_draw(MixupCallback(Mixup(), num_classes=K)), final_draw())


def test_a_resumed_fit_is_bit_for_bit_the_unbroken_one(tmp_path):
    class Plain(Network):
        def __init__(self):
            super().__init__()
            self.body[3] = nn.Identity()  # without dropout, whose draws belong to the global random state

    def run(epochs, **options):
        network = make_network(kind=Plain)
        trainer = fit(network, MixupCallback(Mixup(), num_classes=K), epochs=epochs, **options)
        return network, trainer

    unbroken, _ = run(3)
    run(2)[1].save_checkpoint(tmp_path / "last.ckpt")
    resumed, _ = run(3, ckpt_path=tmp_path / "last.ckpt")
    assert all(map(torch.equal, unbroken.state_dict().values(), resumed.state_dict().values()))
    assert all(map(torch.equal, *([batch[1] for batch in part] for part in (unbroken.seen[-7:], resumed.seen))))


def test_batches_that_are_used_again_are_left_as_they_are():
    batches = [list(batch) for batch in make_loader()]
    copies = [[part.clone() for part in batch] for batch in batches]
    fit(make_network(), MixupCallback(Mixup(), num_classes=K), train=Batches(*batches), epochs=2)
    for batch, copy in zip(batches, copies, strict=True):
        assert all(map(torch.equal, batch, copy))


def test_mixing_and_measuring_go_together_and_the_measurement_sees_no_blend():
    callback = MixscopeCallback()
    network = make_network()
    fit(network, MixupCallback(Mixup(), num_classes=K), callback, val=make_loader(seed=1))
    expected = examine(network, head="head", train=[make_data()]).values
    assert callback.history[-1]["train/accuracy_clean"] == expected["train/accuracy_clean"]


@pytest.mark.parametrize(
    "batch",
    [
        [*make_data(), torch.arange(200)],
        [make_data()[0], make_data()[1][:, None]],
        [make_data()[0], F.one_hot(make_data()[1]).float()],
        {"image": make_data()[0], "label": make_data()[1], "path": "x"},
        UserDict(image=make_data()[0], label=make_data()[1]),
    ],
    ids=["three", "column", "one-hot", "dict", "user dict"],
)
def test_batches_of_every_usual_form_are_mixed_as_pairs_are(batch):
    seen = []

    class Keeping(Network):
        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return next(self.parameters()).sum()

    fit(make_network(kind=Keeping), MixupCallback(Mixup(), num_classes=K), train=Batches(batch), epochs=1)
    inputs, targets = expected_batch(*make_data(), epoch=0, step=0)
    (mixed,) = seen
    first, second, *others = mixed.values() if isinstance(mixed, dict | UserDict) else mixed
    assert type(mixed) is type(batch)
    assert torch.equal(first, inputs)
    assert torch.equal(second, targets)
    assert len(others) == len(batch) - 2


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (make_data(), "batches must be lists or dicts, whose entries can be replaced, got a tuple"),
        ({"image": make_data()[0]}, r"batches must name .*: for inputs \['image'\], for labels nothing"),
        ([make_data()[0], make_data()[1] + 1], r"labels must lie in \[0, 3\), got values from 1 to 3"),
        ([make_data()[0], torch.full((200, K), 1 / K)], "labels must be classes, got rows .* are they soft"),
    ],
    ids=["tuple", "dict", "range", "soft"],
)
def test_a_batch_that_cannot_be_mixed_is_refused(batch, message):
    with pytest.raises(ValueError, match=message):
        fit(make_network(kind=AnyBatch), MixupCallback(Mixup(), num_classes=K), train=Batches(batch), epochs=1)


def test_a_scheme_for_hidden_layers_is_refused():
    with pytest.raises(ValueError, match=r"scheme must blend inputs \(site 'input'\), got site 'body.0'"):
        fit(make_network(), MixupCallback(ManifoldMixup(sites=("body.0",)), num_classes=K), epochs=1)


def test_mixing_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        MixupCallback(NoMixing(), num_classes=1)
    with pytest.raises(ValueError, match="mixing_off must be at least 0, got -1"):
        MixupCallback(NoMixing(), num_classes=3, mixing_off=-1)


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
