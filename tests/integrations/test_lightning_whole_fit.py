"""Which weights the Lightning callback measures, what monitors see between measurements, and how a fit may end."""

from contextlib import suppress

import pytest
import torch
from helpers.lightning_fits import Network, fit, make_loader, make_network, quiet
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mixscope.integrations.lightning import MixscopeCallback

pytestmark = [
    *quiet,
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
]


class Scored(Network):
    """Scores its validation examples with the weights that it has then."""

    def __init__(self):
        super().__init__()
        self.scores, self.correct = [], []

    def on_validation_epoch_start(self):
        self.correct = []

    def validation_step(self, batch, batch_idx):
        self.correct.append(self(batch[0]).argmax(dim=1) == batch[1])

    def on_validation_end(self):
        if not self.trainer.sanity_checking:
            self.scores.append(float(torch.cat(self.correct).double().mean()))


class ScheduleFree(torch.optim.SGD):
    """Stands in for schedulefree's optimizers: weights are an average in `eval()`, and rounding does not come back."""

    def __init__(self, parameters, **options):
        super().__init__(parameters, **options)
        self.param_groups[0]["train_mode"] = True

    def eval(self):
        self._turn(lambda parameter: parameter.sub_(0.1).div_(3), to_training=False)

    def train(self):
        self._turn(lambda parameter: parameter.mul_(3).add_(0.1), to_training=True)

    def _turn(self, change, *, to_training):
        group = self.param_groups[0]
        if group["train_mode"] != to_training:
            group["train_mode"] = to_training
            with torch.no_grad():
                for parameter in group["params"][::2]:
                    change(parameter)


class FreeOfSchedules(Scored):
    def configure_optimizers(self):
        return ScheduleFree(self.parameters(), lr=0.1)

    def on_validation_epoch_start(self):
        super().on_validation_epoch_start()
        self.optimizers().optimizer.eval()

    def on_validation_epoch_end(self):
        self.optimizers().optimizer.train()


class OnceAnEpoch(WeightAveraging):
    def should_update(self, step_idx=None, epoch_idx=None):
        return epoch_idx is not None


class OwnAverage(Callback):
    """An average of somebody's own, put in for validation and taken out again by pointers."""

    def on_validation_start(self, trainer, pl_module):
        self.raw = [parameter.data for parameter in pl_module.parameters()]
        for parameter in pl_module.parameters():
            parameter.data = parameter.data * 0.5

    def on_validation_end(self, trainer, pl_module):
        for parameter, raw in zip(pl_module.parameters(), self.raw, strict=True):
            parameter.data = raw


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (Scored, list),
        (Scored, lambda: [OnceAnEpoch()]),
        (Scored, lambda: [OwnAverage()]),
        (Scored, lambda: [EMAWeightAveraging(decay=0.98)]),
        (Scored, lambda: [WeightAveraging()]),
        (Scored, lambda: [StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1)]),
        (FreeOfSchedules, list),
    ],
    ids=["plain", "once an epoch", "own", "EMA", "average", "SWA", "schedule-free"],
)
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning", "ignore::torch.jit.TracerWarning")
def test_the_weights_that_are_measured_are_those_that_validation_used(kind, make, is_first):
    network, callback = make_network(kind=kind), MixscopeCallback()
    order = [callback, *make()] if is_first else [*make(), callback]
    fit(network, *order, val=make_loader(seed=1), epochs=3)
    assert [numbers["test/accuracy"] for numbers in callback.history] == pytest.approx(network.scores)


@pytest.mark.parametrize(
    ("kind", "make"),
    [(Network, lambda: [EMAWeightAveraging(decay=0.9)]), (FreeOfSchedules, list), (Network, lambda: [OwnAverage()])],
)
def test_training_with_averaged_weights_is_the_same_bit_for_bit(kind, make):
    def weights(*callbacks):
        network = make_network(kind=kind)
        averaging = make()
        fit(network, *averaging, *callbacks, val=make_loader(seed=1), epochs=2)
        return [*network.state_dict().values(), torch.rand(3)]

    assert all(map(torch.equal, weights(MixscopeCallback()), weights()))


def test_without_a_validation_the_averaged_weights_are_found_where_lightning_has_them():
    for kind, averaging in ((Network, EMAWeightAveraging(decay=0.5)), (FreeOfSchedules, None)):
        network, callback = make_network(kind=kind), MixscopeCallback(val_batches=list(make_loader(seed=1)))
        raw = MixscopeCallback(val_batches=callback.val_batches)
        fit(network, callback, *([averaging] if averaging else []), epochs=1)
        fit(make_network(), raw, epochs=1)
        assert callback.history[0]["test/loss"] != raw.history[0]["test/loss"]
        if averaging is None:
            network.trainer.optimizers[0].eval()
        after = MixscopeCallback(val_batches=callback.val_batches)  # Lightning leaves the average in
        network.configure_optimizers = lambda: torch.optim.SGD(network.parameters(), lr=0.0)  # noqa: B023
        network.body[1].momentum = 0.0
        fit(network, after, epochs=1)
        assert after.history[0]["test/loss"] == pytest.approx(callback.history[0]["test/loss"], rel=1e-6)


class HoldingAverage(Scored):
    """Has an average of its own, and uses it for evaluation."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(self.body, self.head)
        self.average = AveragedModel(self.net)

    def forward(self, inputs):
        return (self.net if self.training else self.average)(inputs)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.average.update_parameters(self.net)


def test_an_average_that_the_module_holds_is_measured_where_evaluation_uses_it():
    network, callback = make_network(kind=HoldingAverage), MixscopeCallback(head="average.module.1")
    fit(network, callback, val=make_loader(seed=1), epochs=2)
    assert [numbers["test/accuracy"] for numbers in callback.history] == pytest.approx(network.scores)


class Seen(Callback):
    """The last value of a key at the end of every epoch, as monitors see it."""

    def __init__(self):
        self.values = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.values.append(float(trainer.callback_metrics["test/ece"]))


def test_the_last_values_stand_in_the_epochs_between():
    callback, seen = MixscopeCallback(every=3), Seen()
    fit(make_network(), callback, seen, val=make_loader(seed=1), epochs=5)
    assert [numbers["epoch"] for numbers in callback.history] == [1, 3, 5]
    first, third, fifth = (numbers["test/ece"] for numbers in callback.history)
    assert seen.values == pytest.approx([first, first, third, third, fifth])


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.5}, {"check_val_every_n_epoch": 2}])
@pytest.mark.parametrize("order", ["first", "last"])
def test_early_stopping_and_checkpoints_may_watch_a_number_that_is_rarely_measured(tmp_path, options, order):
    callback = MixscopeCallback(every=5)
    watchers = [
        EarlyStopping("test/ece", patience=1, min_delta=10.0),
        ModelCheckpoint(tmp_path, monitor="test/ece", save_top_k=2),
    ]
    callbacks = [callback, *watchers] if order == "first" else [*watchers, callback]
    fit(make_network(), *callbacks, val=make_loader(seed=1), epochs=6, enable_checkpointing=True, **options)
    assert callback.history[-1]["epoch"] < 6
    assert watchers[1].best_model_path


class Interrupting(Callback):
    def __init__(self, error, *, at):
        self.error, self.at = error, at

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.at:
            if self.error is None:
                trainer.should_stop = True
            else:
                raise self.error


NUM_BATCHES = 7


@pytest.mark.parametrize(
    ("options", "extra", "epochs"),
    [
        ({"max_steps": NUM_BATCHES + 3}, list, [1, 2]),
        ({"max_steps": 3}, list, [1]),
        ({}, lambda: [EarlyStopping("train/loss_clean", patience=2, min_delta=100.0)], [1, 3]),
        ({}, lambda: [Interrupting(None, at=NUM_BATCHES + 2)], [1, 2]),
        ({}, lambda: [Interrupting(KeyboardInterrupt(), at=NUM_BATCHES + 2)], [1, 2]),
        ({"epochs": 3}, list, [1, 3]),
    ],
    ids=["steps", "few steps", "early", "stop", "keyboard", "epochs"],
)
def test_the_end_of_a_fit_is_measured_however_it_ends(tmp_path, options, extra, epochs):
    callback, network = MixscopeCallback(every=100), make_network()
    logger = CSVLogger(tmp_path)
    with suppress(SystemExit):
        fit(network, callback, *extra(), val=make_loader(seed=1), **({"epochs": 9, "logger": logger} | options))
    assert [numbers["epoch"] for numbers in callback.history] == epochs
    after = MixscopeCallback()
    network.configure_optimizers = lambda: torch.optim.SGD(network.parameters(), lr=0.0)
    network.body[1].momentum = 0.0
    fit(network, after, val=make_loader(seed=1), epochs=1)
    assert after.history[0] | {"epoch": 0} == pytest.approx(callback.history[-1] | {"epoch": 0}, nan_ok=True)
    assert str(callback.history[-1]["test/ece"])[:7] in (tmp_path / "lightning_logs/version_0/metrics.csv").read_text()


def test_time_may_end_a_fit():
    callback = MixscopeCallback(every=100)
    trainer = fit(make_network(), callback, Timer(duration={"milliseconds": 1}), epochs=9)
    assert callback.history[-1]["epoch"] == trainer.current_epoch


def test_a_fit_that_fails_is_not_measured_and_its_error_comes_through():
    callback = MixscopeCallback(every=100)
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_network(), callback, Interrupting(RuntimeError("broken"), at=NUM_BATCHES + 2), epochs=9)
    assert [numbers["epoch"] for numbers in callback.history] == [1]


def test_a_second_fit_with_the_same_callback_measures_its_own_first_epoch():
    callback = MixscopeCallback(every=2)
    fit(make_network(), callback, epochs=2)
    fit(make_network(seed=1), callback, epochs=2)
    assert [numbers["epoch"] for numbers in callback.history] == [1, 2, 1, 2]


class Compiled(Scored):
    def __init__(self):
        super().__init__()
        self.net = torch.compile(nn.Sequential(self.body, self.head), backend="eager")

    def forward(self, inputs):
        return self.net(inputs)


class CompiledInPlace(Scored):
    def __init__(self):
        super().__init__()
        self.body.compile(backend="eager")
        self.head.compile(backend="eager")


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_network(kind=Compiled),
        lambda: make_network(kind=CompiledInPlace),
        lambda: torch.compile(make_network(kind=Scored), backend="eager"),
    ],
    ids=["a part", "in place", "whole"],
)
def test_a_compiled_module_is_measured_as_the_module_itself(make):
    callback, plain = MixscopeCallback(sites=("body.0",)), MixscopeCallback(sites=("body.0",))
    fit(make(), callback, val=make_loader(seed=1), epochs=2)  # validation runs it before it is first measured
    fit(make_network(kind=Scored), plain, val=make_loader(seed=1), epochs=2)
    for one, other in zip(callback.history, plain.history, strict=True):
        assert one == pytest.approx(other, rel=1e-5, nan_ok=True)


def test_a_measurement_that_is_interrupted_is_not_begun_anew(monkeypatch):
    callback = MixscopeCallback(every=2)
    calls = []

    def interrupt(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("mixscope.integrations.lightning.measuring_callback.examine_module", interrupt)
    with pytest.raises(SystemExit):
        fit(make_network(), callback, epochs=2)
    assert len(calls) == 1
    assert callback.history == []
