"""Measuring in a Trainer: at its evaluations or epochs and at the end, in its logs, and without a trace in training."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset
from trainer_cases import Examples, K, Network, make_trainer
from transformers import EarlyStoppingCallback, TrainerCallback, ViTConfig, ViTForImageClassification
from transformers.utils import logging

import mixscope
from mixscope.integrations.transformers import MixscopeTrainerCallback, MixupTrainerCallback
from mixscope.integrations.transformers.trainer_state import evaluation_weights
from mixscope.measuring import examine
from mixscope.metrics.catalogue import find_metric


def fit(tmp_path, *callbacks, network=None, resume=None, measuring=None, **options):
    """Return the callback and its Trainer, trained."""
    trainer = make_trainer(network or Network(), *callbacks, out=tmp_path, **options)
    callback = MixscopeTrainerCallback(trainer, **{"head": "head"} | (measuring or {}))
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=resume)
    return callback, trainer


def whole_batch(num, seed=0):
    data = Examples(num, seed)
    return [(data.inputs, data.inputs[:, :K].argmax(dim=1))]


def test_every_number_is_logged_by_its_key_and_equals_a_measurement_by_hand(tmp_path):
    network = Network()
    callback, trainer = fit(tmp_path, network=network, measuring={"sites": ("body.0",)})
    assert [entry["epoch"] for entry in callback.history] == [1, 2]
    logged = [entry for entry in trainer.state.log_history if "eval_test/ece" in entry]
    for entry, log in zip(callback.history, logged, strict=True):
        for key, value in entry.items():
            if key not in ("epoch", "step"):
                assert find_metric(key)
                assert log[f"eval_{key}"] == pytest.approx(value, nan_ok=True)
    by_hand = examine(network, head="head", train=whole_batch(24), test=whole_batch(30, seed=1)).values
    for key, value in by_hand.items():
        assert callback.history[-1][key] == pytest.approx(value, rel=1e-4, abs=1e-6), key  # float32, other batches
    groups = {key.split("/")[0] for key in callback.history[0]}
    assert groups == {"epoch", "step", "nc", "train", "test", "nc_test", "channels", "linearity"}


class NoisyExamples(Examples):
    """Draws from every global random state there is, as augmentation does."""

    def __getitem__(self, index):
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
        example = super().__getitem__(index)
        return example | {"pixel_values": example["pixel_values"] + 0.1 * noise.float()}


def ends(tmp_path, *, is_measured, mixing, **options):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    network = Network()
    network.body.append(nn.Dropout(0.2))
    callbacks = [MixupTrainerCallback(mixscope.Mixup(alpha=1.0), num_classes=K)] if mixing else []
    trainer = make_trainer(network, *callbacks, out=tmp_path, data=NoisyExamples, logging_steps=1, **options)
    if is_measured:
        trainer.add_callback(
            MixscopeTrainerCallback(trainer, head="head", sites=("body.0",) * ("evaluate" not in options))
        )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    drawn = [torch.rand(3).tolist(), random.random(), np.random.rand()]  # noqa: NPY002
    return [tensor.tolist() for tensor in network.state_dict().values()], losses, drawn


@pytest.mark.parametrize(("options", "mixing"), [({}, True), ({"evaluate": False, "logging_strategy": "epoch"}, False)])
def test_training_and_its_logs_are_bit_for_bit_the_same_with_and_without_measuring(tmp_path, options, mixing):
    measured, plain = (ends(tmp_path, is_measured=is_it, mixing=mixing, **options) for is_it in (True, False))
    assert measured == plain


@pytest.mark.parametrize(
    ("options", "measuring", "steps"),
    [
        ({"epochs": 5}, {"every": 2}, [3, 6, 12, 15]),  # the first evaluation, every second, the last
        ({"epochs": 5, "evaluate": False}, {"every": 2}, [6, 12, 15]),
        ({"evaluate": False, "max_steps": 4}, {"every": 9}, [4]),
        ({"eval_strategy": "steps", "eval_steps": 2, "epochs": 1}, {}, [2, 3]),
        ({"eval_strategy": "epoch", "max_steps": 4}, {}, [3, 4]),
    ],
)
def test_it_measures_as_often_as_asked_and_at_the_end(tmp_path, options, measuring, steps):
    callback, _ = fit(tmp_path, measuring=measuring, **options)
    assert [entry["step"] for entry in callback.history] == steps


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **others):
        control.should_training_stop = state.global_step == self.step
        return control


@pytest.mark.parametrize("evaluate", [True, False])
def test_training_that_is_stopped_is_measured_at_its_end(tmp_path, evaluate):
    callback, _ = fit(tmp_path, StopAt(5), evaluate=evaluate, epochs=9, measuring={"every": 9})
    assert callback.history[-1]["step"] == 5


def test_the_best_model_and_early_stopping_go_by_a_measured_number(tmp_path):
    best = {"metric_for_best_model": "test/ece", "greater_is_better": False, "load_best_model_at_end": True}
    stopping = EarlyStoppingCallback(early_stopping_patience=1)
    callback, trainer = fit(tmp_path, stopping, epochs=6, save_strategy="epoch", measuring={"every": 3}, **best)
    lowest = min(entry["test/ece"] for entry in callback.history)
    assert trainer.state.best_metric == pytest.approx(lowest)
    assert trainer.state.global_step == 6  # the second evaluation is no better than the first: it is the same


def test_the_history_goes_on_from_a_checkpoint(tmp_path):
    options = {"save_strategy": "epoch", "epochs": 2}
    first, _ = fit(tmp_path, **options)
    second, _ = fit(tmp_path, resume=str(tmp_path / "checkpoint-3"), **options)
    assert [entry["step"] for entry in second.history] == [3, 6]
    assert second.history == first.history


def test_training_examples_are_measured_unmixed(tmp_path):
    mixing, network = MixupTrainerCallback(mixscope.Mixup(alpha=1.0), num_classes=K), Network()
    callback, _ = fit(tmp_path, mixing, network=network)
    expected = examine(network, head="head", train=whole_batch(24)).values["train/loss_clean"]
    assert callback.history[-1]["train/loss_clean"] == pytest.approx(expected, rel=1e-5)  # float32, other batches


def test_the_same_examples_and_blends_are_looked_at_every_time(tmp_path):
    network = Network()
    network.body[1] = nn.Identity()  # batch norm moves without a step
    for parameter in network.body.parameters():
        parameter.requires_grad_(False)
    callback, _ = fit(tmp_path, network=network, weight_decay=0.0, measuring={"max_examples": 12})
    first, second = callback.history
    assert first["train/loss_clean"] != second["train/loss_clean"]
    # Numbers of the features alone stand still.
    for key in ("nc/nc1_pinv", "nc/nc2_etf_means", "nc_test/nc1_pinv"):
        assert first[key] == pytest.approx(second[key], rel=1e-6), key


class FourClasses(Network):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, K + 1)


def test_a_class_without_an_example_leaves_nan_where_one_is_needed_and_is_told(tmp_path, caplog):
    logging.get_logger("transformers").addHandler(caplog.handler)
    try:
        callback, _ = fit(tmp_path, network=FourClasses())
    finally:
        logging.get_logger("transformers").removeHandler(caplog.handler)
    numbers = callback.history[-1]
    assert numbers["train/loss_clean"] > 0
    assert numbers["test/ece"] > 0
    assert all(np.isnan(numbers[key]) for key in ("nc/nc1_pinv", "nc_test/nc1_pinv", "channels/amplification"))
    assert caplog.text.count("no example of class 3 is among the training examples looked at") == 1


class Stream(IterableDataset):
    def __init__(self, num, seed=0):
        self.examples = Examples(num, seed)

    def __iter__(self):
        return (self.examples[place] for place in range(len(self.examples)))


class Softmax(Network):
    def forward(self, pixel_values):
        return super().forward(pixel_values).softmax(dim=1)


class Soft(Examples):
    def __getitem__(self, index):
        return super().__getitem__(index) | {"labels": [0.5, 0.5, 0.0]}


def make_vit():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return ViTForImageClassification(ViTConfig(image_size=4, patch_size=2, num_channels=1, num_labels=K, **sizes))


class Images(Examples):
    def __getitem__(self, index):
        example = super().__getitem__(index)
        return example | {"pixel_values": example["pixel_values"].repeat(2).view(1, 4, 4)}


def test_a_vision_transformer_is_measured_as_its_own_evaluation_sees_it(tmp_path):
    network = make_vit()
    callback, trainer = fit(tmp_path, network=network, data=Images, loss=None, measuring={"head": None})
    evaluation = next(entry for entry in reversed(trainer.state.log_history) if "eval_loss" in entry)
    assert callback.history[-1]["test/loss"] == pytest.approx(evaluation["eval_loss"], rel=1e-5)  # float32
    assert callback.history[-1]["nc/nc1_pinv"] > 0


class Watch(TrainerCallback):
    num_steps = 0

    def on_step_begin(self, args, state, control, **others):
        self.num_steps += 1


@pytest.mark.parametrize(
    ("options", "measuring", "message"),
    [
        ({}, {"head": "heat"}, r"head must name a module of the model, got 'heat' \(did you mean head\?\)"),
        ({}, {"sites": ("bod",)}, "bod"),
        ({"network": Softmax()}, {}, "train_batches: .* softmax"),
        ({"data": Soft}, {}, "train_batches: labels must be classes"),
        ({"data": Stream, "max_steps": 2}, {}, "train_batches: must be given where examples cannot be read by number"),
        ({"evaluate": False}, {"sites": ("body.0",)}, "sites must come with evaluation examples"),
        ({}, {"train_batches": iter(whole_batch(24))}, "train_batches: must be iterable again and again"),
        ({}, {"head": None}, "head must name the linear layer that gives the logits, got None; there are body.0, head"),
    ],
)
def test_what_cannot_be_measured_is_told_before_training_begins(tmp_path, options, measuring, message):
    watch = Watch()
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, watch, measuring=measuring, **options)
    assert watch.num_steps == 0


def test_a_stream_is_measured_with_batches_that_are_given(tmp_path):
    given = {"train_batches": whole_batch(24), "eval_batches": whole_batch(30, seed=1)}
    callback, _ = fit(tmp_path, data=Stream, max_steps=2, evaluate=False, measuring=given)
    assert "test/ece" in callback.history[-1]


class TwoModes:
    """An optimizer with other weights for evaluation, as schedule-free ones have; its way back rounds."""

    def __init__(self, model):
        self.model, self.is_training = model, True

    def eval(self):
        self._move(1 / 3, is_training=False)

    def train(self):
        self._move(3.0000001, is_training=True)

    def _move(self, factor, *, is_training):
        if self.is_training is not is_training:
            self.is_training = is_training
            with torch.no_grad():
                self.model.weight.mul_(factor)


def test_weights_are_those_of_evaluations_and_come_back_bit_for_bit():
    model = nn.Linear(3, 3)
    before, optimizer = model.weight.detach().clone(), TwoModes(model)
    with evaluation_weights(model, optimizer):
        torch.testing.assert_close(model.weight, before / 3)
    assert torch.equal(model.weight, before)
    assert optimizer.is_training
    optimizer.eval()
    evaluated = model.weight.detach().clone()
    with evaluation_weights(model, optimizer):
        assert torch.equal(model.weight, evaluated)
    assert torch.equal(model.weight, evaluated)
    assert not optimizer.is_training


def test_a_callback_of_another_trainer_is_told(tmp_path):
    one, other = (make_trainer(Network(), out=tmp_path) for _ in range(2))
    one.add_callback(MixscopeTrainerCallback(other, head="head"))
    with pytest.raises(ValueError, match="the trainer must be the one this callback is added to, got another one"):
        one.train()
