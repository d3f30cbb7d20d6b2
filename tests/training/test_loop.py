"""The loop: it learns, repeats, resumes bit for bit, spreads over processes, and stops when the loss breaks."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.small_training import SCHEMES, make_training
from torch import nn

from mixscope.base.generators import named_generator
from mixscope.metrics.overtraining.monitor import OvertrainingMonitor
from mixscope.metrics.overtraining.turn_rules import TurnEstimate
from mixscope.mixing.manifold import blending_at
from mixscope.mixing.mixture import blend, blend_targets, soft_cross_entropy
from mixscope.mixing.mixup import scheme_at
from mixscope.training.checkpoint import load_state, save_state
from mixscope.training.loop import Training
from mixscope.training.objective import NonFiniteLossError

HELPERS = Path(__file__).parents[1] / "helpers"


def train(*args, **kwargs):
    training = make_training(*args, **kwargs)
    return list(training.epochs()), training


def assert_same_weights(first: nn.Module, second: nn.Module):
    for (name, ours), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_options_give_the_same_weights_bit_for_bit(scheme):
    first, one = train(scheme)
    second, two = train(scheme)
    assert first == second
    assert_same_weights(one.model, two.model)


def test_another_seed_gives_other_weights():
    _, one = train(seed=0)
    _, two = train(seed=1)
    assert not torch.equal(one.model.head.weight, two.model.head.weight)


def naive_losses(scheme, *, epochs, mixing_off=None):
    """Train with plain torch, one line of the definition after another: loss, accuracy, floor of every epoch."""
    training = make_training(scheme)
    net, batches = training.model, training.batches
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    results = []
    for epoch in range(1, epochs + 1):
        total, floor, hits, count = 0.0, 0.0, 0.0, 0
        for step, (inputs, labels) in enumerate(batches.epoch(epoch)):
            chosen = scheme_at(SCHEMES[scheme], epoch, mixing_off=mixing_off)
            mixture = chosen.draw(inputs, labels, generator=named_generator(0, "mixing", epoch, step))
            targets = blend_targets(labels, mixture, num_classes=10)
            with blending_at(net, mixture):
                logits = net(blend(inputs, mixture) if mixture.site == "input" else inputs)
            loss = soft_cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
            floor -= sum(float(share * share.log()) for share in targets.flatten() if share > 0)
            hits += sum(float(targets[i, int(logits[i].argmax())]) for i in range(len(inputs)))
            count += len(inputs)
        results.append((total / count, hits / count, floor / count))
    return results


@pytest.mark.parametrize(
    ("scheme", "mixing_off"), [("none", None), ("mixup", None), ("three", None), ("manifold", None), ("mixup", 2)]
)
def test_losses_and_accuracies_agree_with_a_plain_loop(scheme, mixing_off):
    summaries, _ = train(scheme, schedule="constant", mixing_off=mixing_off)
    expected = naive_losses(scheme, epochs=4, mixing_off=mixing_off)
    for summary, (loss, accuracy, floor) in zip(summaries, expected, strict=True):
        assert summary.loss == pytest.approx(loss, rel=2e-5)  # float32 through 20 steps: seen 1e-6
        assert summary.loss_floor == pytest.approx(floor, abs=1e-6)  # float32 entropies
        assert summary.blend_entropy == summary.loss_floor
        assert summary.accuracy_blends == pytest.approx(accuracy, abs=1e-6)
        assert summary.mixing_on == (scheme != "none" and (mixing_off is None or summary.epoch <= mixing_off))
    assert [s.step for s in summaries] == [5, 10, 15, 20]


def test_training_learns_the_digits():
    summaries, _ = train("none", epochs=30, padding=0)
    assert summaries[-1].accuracy_blends > 0.95
    assert summaries[-1].loss < 0.2 * summaries[0].loss


@pytest.mark.parametrize("schedule", ["constant", "cosine", "multi-step", "one-cycle"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_resumed_run_ends_in_the_weights_of_an_unbroken_one(tmp_path, optimizer, schedule):
    options = {"optimizer": optimizer, "schedule": schedule, "learning_rate": 0.01, "mixing_off": 3}
    unbroken_summaries, unbroken = train("mixup", **options)
    broken = make_training("mixup", **options)
    epochs = broken.epochs()
    for _ in range(2):
        next(epochs)
    save_state(tmp_path, {"training": broken.state(), "wall_seconds": 0.0})
    next(epochs)  # what is done after the checkpoint is lost
    resumed = make_training("mixup", **options)
    resumed.load_state(load_state(tmp_path)["training"])
    assert list(resumed.epochs()) == unbroken_summaries[2:]
    assert_same_weights(resumed.model, unbroken.model)


def test_a_network_with_batch_norm_resumes_bit_for_bit_too(tmp_path):
    options = {"model": "convnet", "epochs": 2, "size": 100}
    _, unbroken = train("mixup", **options)
    broken = make_training("mixup", **options)
    next(broken.epochs())
    save_state(tmp_path, {"training": broken.state(), "wall_seconds": 0.0})
    resumed = make_training("mixup", **options)
    resumed.load_state(load_state(tmp_path)["training"])
    list(resumed.epochs())
    assert_same_weights(resumed.model, unbroken.model)


def break_at(training, step):
    """Let the logits be infinite from a step on, counted over all epochs from 1."""
    passes = []

    def multiply(module, arguments, logits):
        passes.append(None)
        return logits * (math.inf if len(passes) >= step else 1)

    training.model.register_forward_hook(multiply)


@pytest.mark.parametrize(("step", "epoch", "of_epoch"), [(1, 1, 1), (5, 1, 5), (8, 2, 3)])
def test_a_loss_that_breaks_names_epoch_step_and_rate(step, epoch, of_epoch):
    training = make_training("none", schedule="constant")
    break_at(training, step)
    message = rf"stopped being finite in epoch {epoch}, step {of_epoch} of 5, at learning rate 0\.05"
    with pytest.raises(NonFiniteLossError, match=message):
        list(training.epochs())
    assert training.epoch == epoch - 1


def test_long_epochs_are_checked_on_the_way():
    training = make_training("none", batch_size=2)
    break_at(training, 2)
    source, served = training.batches, []

    class Counted:
        def __len__(self):
            return len(source)

        def epoch(self, epoch):
            for batch in source.epoch(epoch):
                served.append(batch)
                yield batch

    training.batches = Counted()
    with pytest.raises(NonFiniteLossError, match="step 2 of 102"):
        list(training.epochs())
    assert len(served) == 50  # not the whole epoch of 102


def test_a_last_step_that_breaks_the_weights_is_noticed_before_they_are_kept():
    training = make_training("none", batch_size=2000, schedule="constant")
    training.model.head.weight.register_hook(lambda gradient: gradient + torch.inf)  # after a loss that is finite
    with pytest.raises(NonFiniteLossError, match=r"a weight stopped being finite in epoch 1, step 1 of 1, at learning"):
        list(training.epochs())
    assert training.epoch == 0


def test_a_buffer_that_is_infinite_by_design_is_no_broken_weight():
    training = make_training("none", epochs=1)
    model = training.model
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    recipe, batches = training.recipe, training.batches
    masked = Training(model, batches, SCHEMES["none"], recipe, num_classes=10, seed=0, accelerator=training.accelerator)
    assert len(list(masked.epochs())) == 1


def test_layers_that_draw_repeat_and_resume_bit_for_bit(tmp_path):
    def dropping():
        training = make_training("mixup")
        training.model.layer1.append(nn.Dropout(0.5))
        return training

    unbroken, broken, resumed = dropping(), dropping(), dropping()
    list(unbroken.epochs())
    torch.manual_seed(1)  # what was drawn before must not matter
    epochs = broken.epochs()
    next(epochs), next(epochs)
    save_state(tmp_path, {"training": broken.state(), "wall_seconds": 0.0})
    torch.rand(7)
    resumed.load_state(load_state(tmp_path)["training"])
    list(resumed.epochs())
    assert_same_weights(resumed.model, unbroken.model)
    _, plain = train("mixup")
    assert not torch.equal(plain.model.head.weight, unbroken.model.head.weight)


def test_convolutions_are_trained_channels_last_on_request_with_the_same_losses_to_rounding():
    runs = {}
    for channels_last in (True, False):
        options = {"model": "convnet", "epochs": 2, "size": 100, "channels_last": channels_last}
        runs[channels_last], training = train("mixup", **options)
        weight = training.model.layer2[0].weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    for first, second in zip(runs[True], runs[False], strict=True):
        assert first.loss == pytest.approx(second.loss, rel=1e-3)  # float32 sums in another order: seen 1e-5


def test_long_gradients_are_scaled_down():
    training = make_training("none", max_gradient_norm=1e-6, epochs=1, weight_decay=0.0, momentum=0.0)
    before = [parameter.detach().clone() for parameter in training.model.parameters()]
    list(training.epochs())
    after = [parameter.detach() for parameter in training.model.parameters()]
    moved = sum(float((b - a).square().sum()) for b, a in zip(before, after, strict=True)) ** 0.5
    assert 0 < moved <= 5 * 0.05 * 1e-6


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_the_floor_of_the_loss_counts_smoothed_labels_and_is_zero_for_the_squared_error(loss):
    smoothing = 0.1 if loss == "cross-entropy" else 0.0
    summaries, _ = train("none", loss=loss, label_smoothing=smoothing)
    # a hard label of 10 classes smoothed by 0.1: one share of 0.91, nine of 0.01
    entropy = -(0.91 * math.log(0.91) + 9 * 0.01 * math.log(0.01)) if smoothing else 0.0
    for summary in summaries:
        assert summary.blend_entropy == 0
        assert summary.loss_floor == pytest.approx(entropy, abs=1e-6)  # float32 entropies


class StopAfter:
    """Calls the turn once it has seen so many epochs."""

    needs = ("train/loss_floor_gap",)

    def __init__(self, epochs):
        self.epochs, self.seen = epochs, []

    def judge(self, epochs, values):
        self.seen = list(epochs)
        return TurnEstimate(has_turned=len(epochs) >= self.epochs, confidence=1.0, best_epoch=None)


def test_mixing_stops_when_it_is_decided_and_nobody_is_asked_again():
    rule = StopAfter(2)
    decided = make_training(mixing_off="auto", monitor=OvertrainingMonitor(rule))
    summaries = list(decided.epochs())
    fixed, training = train(mixing_off=2)
    assert [summary.mixing_on for summary in summaries] == [True, True, False, False]
    assert decided.mixing_off == 2
    assert rule.seen == [1, 2]
    assert summaries == fixed
    assert_same_weights(decided.model, training.model)


@pytest.mark.parametrize("broken_after", [1, 3])
def test_a_run_resumed_before_or_after_the_decision_equals_an_unbroken_one(tmp_path, broken_after):
    whole = make_training(mixing_off="auto", monitor=OvertrainingMonitor(StopAfter(2)))
    list(whole.epochs())
    first = make_training(mixing_off="auto", monitor=OvertrainingMonitor(StopAfter(2)))
    for summary in first.epochs():
        if summary.epoch == broken_after:
            break
    save_state(tmp_path, {"training": first.state(), "wall_seconds": 0.0})
    second = make_training(mixing_off="auto", monitor=OvertrainingMonitor(StopAfter(2)))
    second.load_state(load_state(tmp_path)["training"])
    assert [summary.mixing_on for summary in second.epochs()] == [True, True, False, False][broken_after:]
    assert_same_weights(whole.model, second.model)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_both_losses_fall(loss):
    summaries, _ = train("mixup", loss=loss, epochs=10, learning_rate=0.02)
    assert summaries[-1].loss < 0.9 * summaries[0].loss  # of four seeds at most 0.79


def test_label_smoothing_raises_the_floor_of_the_loss():
    smooth, _ = train("none", epochs=20, padding=0, label_smoothing=0.2)
    plain, _ = train("none", epochs=20, padding=0)
    assert plain[-1].loss < 0.2 < 0.5 < smooth[-1].loss


def test_bfloat16_trains_with_weights_in_float32():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(cpu=True, mixed_precision="bf16")
        summaries, training = train("mixup", epochs=6, precision="bf16", accelerator=accelerator)
        inputs = torch.zeros(2, 1, 8, 8)
        assert training.model(inputs).dtype == torch.float32  # as it is measured
        with torch.no_grad():
            trained = training._network(inputs)
        assert not torch.equal(trained, training.model(inputs))  # as it is trained: rounded on the way
    finally:
        AcceleratorState._reset_state()
    assert {parameter.dtype for parameter in training.model.parameters()} == {torch.float32}
    assert summaries[-1].loss < summaries[0].loss


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Train every scheme in two processes, started once as torchrun does; return the folder of the results."""
    output = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [str(HELPERS / "small_training.py"), str(output), *SCHEMES]
    done = subprocess.run([*command, *script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return output


@pytest.mark.parametrize("scheme", ["none", "mixup", "three", "cutmix"])
def test_two_processes_train_like_one(two_processes, scheme):
    expected, training = train(scheme)
    lines = json.loads((two_processes / f"{scheme}.json").read_text())
    for (loss, accuracy, step), summary in zip(lines, expected, strict=True):
        assert loss == pytest.approx(summary.loss, abs=1e-5)
        assert accuracy == pytest.approx(summary.accuracy_blends, abs=1e-5)
        assert step == summary.step
    weights = torch.load(two_processes / f"{scheme}.pt", weights_only=True)
    for name, value in training.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)


def test_two_processes_mix_hidden_layers_within_their_own_rows(two_processes):
    lines = json.loads((two_processes / "manifold.json").read_text())
    expected = naive_shared_losses(epochs=4)
    assert [line[0] for line in lines] == pytest.approx(expected, abs=1e-5)


def naive_shared_losses(*, epochs, world=2):
    """Manifold mixup over `world` processes, one after another: their own draws, at the place drawn for all."""
    training = make_training("manifold")
    net, scheme = training.model, SCHEMES["manifold"]
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4), []
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(training.batches))
    for epoch in range(1, epochs + 1):
        total, count = 0.0, 0
        for step, (inputs, labels) in enumerate(training.batches.epoch(epoch)):
            size = len(inputs)
            common = scheme.draw(inputs, labels, generator=named_generator(0, "mixing", epoch, step))
            optimizer.zero_grad()
            for rank in range(world):
                rows = slice(size * rank // world, size * (rank + 1) // world)
                own_inputs, own_labels = inputs[rows], labels[rows]
                mixture = common.rows(rows)
                sources = inputs, labels
                if common.site != "input":
                    generator = named_generator(0, "mixing", epoch, step, rank + 1)
                    mixture = replace(scheme.draw(own_inputs, own_labels, generator=generator), site=common.site)
                    sources = own_inputs, own_labels
                targets = blend_targets(sources[1], mixture, num_classes=10)
                with blending_at(net, mixture):
                    logits = net(blend(sources[0], mixture) if mixture.site == "input" else sources[0])
                loss = soft_cross_entropy(logits, targets) * len(logits) / size
                loss.backward()
                total += loss.item() * size
            optimizer.step()
            schedule.step()
            count += size
        losses.append(total / count)
    return losses
