"""Consistency beside supervised training: against a plain loop, at weight 0, resumed, and where it collapses."""

import copy
from types import SimpleNamespace

import pytest
import torch
from helpers.small_training import make_training
from torch import nn

from mixscope.base.generators import named_generator
from mixscope.metrics.overtraining.degenerate import is_constant_classifier, output_spread
from mixscope.mixing.consistency import Consistency
from mixscope.mixing.mixture import blend, soft_cross_entropy
from mixscope.training.checkpoint import load_state, save_state
from mixscope.training.consistency_term import ConsistencyTerm

ADAM = {"optimizer": "adam", "learning_rate": 0.002, "weight_decay": 0.0, "schedule": "constant"}


def assert_same_weights(first: nn.Module, second: nn.Module):
    for (name, ours), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("model", ["mlp", "convnet"])
@pytest.mark.parametrize("teacher", ["same", "ema"])
def test_at_weight_0_training_is_plain_training_bit_for_bit_running_statistics_included(model, teacher):
    options = {"model": model, "epochs": 2, "size": 100}
    plain = make_training("none", **options)
    with_term = make_training("none", consistency=Consistency(teacher=teacher, peak_weight=0.0), **options)
    assert list(plain.epochs()) == list(with_term.epochs())
    assert_same_weights(plain.model, with_term.model)


def test_the_first_step_of_a_ramp_leaves_the_network_as_plain_training_does():
    options = {"model": "convnet", "epochs": 1, "size": 100, "batch_size": 100}
    plain, with_term = make_training("none", **options), make_training("none", consistency=Consistency(), **options)
    assert list(plain.epochs()) == list(with_term.epochs())
    assert_same_weights(plain.model, with_term.model)


def naive_training(consistency, *, epochs):
    """Train with plain torch, one line of the definition after another: losses of every epoch, and the network."""
    training = make_training("none", consistency=consistency, epochs=epochs, **ADAM)
    net, batches, pool = training.model, training.batches, training.auxiliary.batches
    optimizer = torch.optim.Adam(net.parameters(), lr=0.002)
    teacher, step, num_steps, results = copy.deepcopy(net), 0, epochs * len(batches), []
    unlabelled = [images for pass_number in range(10) for images, _ in pool.epoch(pass_number)]
    for epoch in range(1, epochs + 1):
        supervised, consistencies, count = 0.0, [], 0
        for inputs, labels in batches.epoch(epoch):
            loss = soft_cross_entropy(net(inputs), torch.eye(10)[labels])
            supervised, count = supervised + loss.item() * len(inputs), count + len(inputs)
            weight = 100 * min(1, step / (0.4 * num_steps))
            if step > 0:
                images = unlabelled[step]
                mixture = consistency.draw(len(images), generator=named_generator(0, "consistency", step))
                aims = {"same": net(images), "same-detached": net(images).detach(), "ema": teacher(images).detach()}
                extra = consistency.loss(net(blend(images, mixture)), aims[consistency.teacher], mixture)
                consistencies.append(extra.item())
                loss = loss + weight * extra
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            decay = min(1 - 1 / (step + 1), consistency.ema_decay)
            with torch.no_grad():
                for ours, theirs in zip(teacher.parameters(), net.parameters(), strict=True):
                    ours.copy_(decay * ours + (1 - decay) * theirs)
        results.append((supervised / count, sum(consistencies) / len(consistencies)))
    return results, net


@pytest.mark.parametrize(
    "consistency",
    [
        Consistency(),
        Consistency(num_points=4, teacher="same-detached", space="softmax"),
        Consistency(num_points=3, teacher="ema", space="softmax"),
        Consistency(teacher="ema", space="late-softmax", ema_decay=0.7),
    ],
    ids=str,
)
def test_losses_and_weights_agree_with_a_plain_loop(consistency):
    training = make_training("none", consistency=consistency, epochs=4, **ADAM)
    summaries = list(training.epochs())
    expected, net = naive_training(consistency, epochs=4)
    for summary, (loss, extra) in zip(summaries, expected, strict=True):
        assert summary.loss == pytest.approx(loss, rel=1e-3)  # float32 through 20 steps of Adam: seen 1e-5
        assert summary.auxiliary == pytest.approx(extra, rel=1e-3)
    for ours, theirs in zip(training.model.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_without_the_term_nothing_is_said_of_it():
    assert {summary.auxiliary for summary in make_training("none").epochs()} == {None}


@pytest.mark.parametrize("model", ["mlp", "convnet"])
@pytest.mark.parametrize("teacher", ["same", "ema"])
def test_a_resumed_run_ends_in_the_weights_of_an_unbroken_one(tmp_path, model, teacher):
    options = {"model": model, "consistency": Consistency(num_points=3, teacher=teacher, space="softmax"), **ADAM}
    unbroken = make_training("none", epochs=3, **options)
    summaries = list(unbroken.epochs())
    broken = make_training("none", epochs=3, **options)
    epochs = broken.epochs()
    next(epochs)
    save_state(tmp_path, {"training": broken.state(), "wall_seconds": 0.0})
    next(epochs)  # what is done after the checkpoint is lost
    resumed = make_training("none", epochs=3, **options)
    resumed.load_state(load_state(tmp_path)["training"])
    assert list(resumed.epochs()) == summaries[1:]
    assert_same_weights(resumed.model, unbroken.model)


def test_a_state_of_another_teacher_is_refused():
    state = make_training("none", consistency=Consistency(teacher="ema")).state()
    with pytest.raises(ValueError, match="the state must be one of a run with consistency-teacher same"):
        make_training("none", consistency=Consistency()).load_state(state)
    with pytest.raises(KeyError, match="auxiliary"):
        make_training("none", consistency=Consistency()).load_state(make_training("none").state())


def test_the_teacher_is_a_copy_that_follows_with_the_networks_buffers():
    training = make_training("none", model="convnet", size=100, epochs=1, consistency=Consistency(teacher="ema"))
    before = copy.deepcopy(training.auxiliary.state()["teacher"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.model.state_dict().items())
    list(training.epochs())
    teacher = training.auxiliary.state()["teacher"]
    for name, buffer in training.model.named_buffers():
        assert torch.equal(teacher[name], buffer)
    for name, parameter in training.model.named_parameters():
        assert not torch.equal(teacher[name], parameter)
        assert not torch.equal(teacher[name], before[name])


@pytest.mark.parametrize(
    ("teacher", "space", "collapses"),
    [("same", "logits", False), ("same-detached", "logits", True), ("ema", "softmax", False)],
)
def test_the_same_network_without_gradient_collapses_to_a_constant_and_others_do_not(teacher, space, collapses):
    consistency = Consistency(teacher=teacher, space=space)
    options = {"model": "residual-mlp", "size": 50, "epochs": 150, "padding": 0}
    training = make_training("none", consistency=consistency, **options, **ADAM)
    list(training.epochs())
    images, labels = zip(*training.auxiliary.batches.epoch(0), strict=True)
    with torch.no_grad():
        logits, labels = training.model.eval()(torch.cat(images)), torch.cat(labels)
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    largest_share = float(torch.bincount(labels).max() / len(labels))
    is_constant = is_constant_classifier(
        accuracy=accuracy, num_examples=len(labels), largest_share=largest_share, spread=output_spread(logits)
    )
    assert is_constant is collapses
    assert (accuracy < 0.2) is collapses
    assert (accuracy > 0.6) is not collapses


def test_several_processes_are_refused():
    training = make_training("none")
    several = SimpleNamespace(num_processes=2)
    with pytest.raises(ValueError, match="consistency must be trained in one process, got 2"):
        ConsistencyTerm(training.model, Consistency(), training.batches, seed=0, accelerator=several)
