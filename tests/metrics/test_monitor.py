import json
import math
import statistics

import pytest
import torch
from scipy.stats import t as student

from mixscope.metrics.overtraining.monitor import MonitorReading, OvertrainingMonitor
from mixscope.metrics.overtraining.turn_rules import FloorGapRule, ValidationRule

GAP, ENTROPY, LOSS = "train/loss_floor_gap", "train/blend_entropy", "validation/loss"


def falling_gap(epoch: int) -> dict[str, float]:
    """Noisy, on its way from 1.5 to 0; the floor wobbles with it, as the drawn weights make them."""
    wobble = 0.1 * math.sin(37.0 * epoch)
    return {GAP: 1.5 / (1 + 0.05 * epoch) + wobble, ENTROPY: 0.45 + wobble / 2}


def turning_loss(epoch: int, *, turn: int = 40) -> float:
    return 0.3 + 0.2 * math.log(epoch / turn) ** 2 + 0.02 * math.sin(37.0 * epoch)


def feed_gaps(monitor: OvertrainingMonitor, epochs: range) -> list[MonitorReading]:
    return [monitor.update(epoch, falling_gap(epoch)) for epoch in epochs]


def feed_losses(monitor: OvertrainingMonitor, losses: list[float]) -> list[MonitorReading]:
    return [monitor.update(epoch, {LOSS: loss}) for epoch, loss in enumerate(losses, start=1)]


def test_the_default_monitor_needs_no_validation_images() -> None:
    assert OvertrainingMonitor().needs == (GAP, ENTROPY)
    assert OvertrainingMonitor(ValidationRule(value="validation/error")).needs == ("validation/error",)


def test_turn_is_called_once_the_mean_gap_is_surely_below_half_of_the_floor() -> None:
    verdicts = feed_gaps(OvertrainingMonitor(), range(1, 301))
    turned = verdicts[-1].turned_epoch
    assert turned is not None
    for verdict in verdicts:
        assert verdict.has_turned == (verdict.epoch >= turned)
    # Worked from the rule: the last fifth of the epochs, a one-sided t-test at 95%.
    for epoch in (turned - 1, turned, turned + 40):
        size = math.ceil(0.2 * epoch)
        rows = [falling_gap(past) for past in range(epoch - size + 1, epoch + 1)]
        below = [0.5 * row[ENTROPY] - row[GAP] for row in rows]
        t = statistics.fmean(below) / (statistics.stdev(below) / math.sqrt(size))
        assert verdicts[epoch - 1].confidence == pytest.approx(student.cdf(t, size - 1), rel=1e-9)
        assert (verdicts[epoch - 1].confidence >= 0.95) == (epoch >= turned)
    # The gap alone passes 0.225 at epoch 114; the mean over the last fifth lags by a tenth.
    assert 114 <= turned <= 140


def test_a_network_that_stays_far_above_the_floor_is_never_told_to_stop() -> None:
    monitor = OvertrainingMonitor()
    for epoch in range(1, 400):
        verdict = monitor.update(epoch, {GAP: 0.3 + 0.05 * math.sin(11.0 * epoch), ENTROPY: 0.45})
        assert not verdict.has_turned
    assert verdict.confidence < 1e-6


def test_plain_training_has_no_floor_to_come_close_to() -> None:
    monitor = OvertrainingMonitor()
    for epoch in range(1, 100):
        # What rounding may make of loss - entropy: below half of a floor of 0, but no floor is there.
        assert not monitor.update(epoch, {GAP: -1e-17, ENTROPY: 0.0}).has_turned


def test_too_few_values_say_nothing() -> None:
    for rule in (FloorGapRule(), ValidationRule()):
        monitor = OvertrainingMonitor(rule)
        for epoch in (1, 2):
            verdict = monitor.update(epoch, {GAP: 0.0, ENTROPY: 1.0, LOSS: float(epoch)})
            assert (verdict.has_turned, verdict.confidence, verdict.best_epoch) == (False, 0.0, None)


def test_scale_of_the_loss_does_not_matter_to_either_rule() -> None:
    gaps, scaled_gaps = OvertrainingMonitor(), OvertrainingMonitor()
    for epoch in range(1, 200):
        values = falling_gap(epoch)
        verdict = gaps.update(epoch, values)
        scaled = scaled_gaps.update(epoch, {name: value / math.log(2) for name, value in values.items()})
        assert scaled.turned_epoch == verdict.turned_epoch
        assert scaled.confidence == pytest.approx(verdict.confidence, rel=1e-9)
    losses = [turning_loss(epoch) for epoch in range(1, 200)]
    plain = feed_losses(OvertrainingMonitor(ValidationRule()), losses)[-1]
    scaled = feed_losses(OvertrainingMonitor(ValidationRule()), [5 * loss + 3 for loss in losses])[-1]
    assert (scaled.turned_epoch, scaled.best_epoch) == (plain.turned_epoch, plain.best_epoch)


def test_validation_rule_finds_the_lowest_stretch_and_waits_as_long_again() -> None:
    verdicts = feed_losses(OvertrainingMonitor(ValidationRule()), [turning_loss(e) for e in range(1, 301)])
    turned = verdicts[-1].turned_epoch
    assert turned is not None
    best = verdicts[turned - 1].best_epoch
    assert best is not None
    assert 32 <= best <= 48  # the loss turns at 40
    assert 2 * best <= turned <= 3 * best


def test_validation_rule_never_calls_a_curve_that_falls_or_stands_still_with_noise() -> None:
    noise = 0.01 * torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    falling = [1 / epoch + float(noise[epoch]) for epoch in range(1, 400)]
    assert not feed_losses(OvertrainingMonitor(ValidationRule()), falling)[-1].has_turned
    constant = feed_losses(OvertrainingMonitor(ValidationRule()), [0.25] * 100)
    assert not constant[-1].has_turned


def test_verdict_uses_no_later_value() -> None:
    for rule, feed in (
        (FloorGapRule(), falling_gap),
        (ValidationRule(), lambda epoch: {LOSS: turning_loss(epoch)}),
    ):
        whole, part = OvertrainingMonitor(rule), OvertrainingMonitor(rule)
        early = [part.update(epoch, feed(epoch)) for epoch in range(1, 61)]
        late = [whole.update(epoch, feed(epoch)) for epoch in range(1, 301)]
        assert late[:60] == early


def test_a_resumed_monitor_says_what_an_unbroken_one_says() -> None:
    unbroken = OvertrainingMonitor()
    expected = feed_gaps(unbroken, range(1, 201))
    for stop in (1, 50, 199):
        first = OvertrainingMonitor()
        feed_gaps(first, range(1, stop + 1))
        state = json.loads(json.dumps(first.state()))  # plain values: a file of any kind holds them
        second = OvertrainingMonitor()
        second.load_state(state)
        assert feed_gaps(second, range(stop + 1, 201)) == expected[stop:]
        assert second.state() == unbroken.state()


def test_state_is_a_copy() -> None:
    monitor = OvertrainingMonitor()
    feed_gaps(monitor, range(1, 4))
    state = monitor.state()
    feed_gaps(monitor, range(4, 6))
    assert state["epochs"] == [1, 2, 3]
    assert len(state["values"][GAP]) == 3


def test_a_called_turn_stays_called() -> None:
    monitor = OvertrainingMonitor()
    turned = feed_gaps(monitor, range(1, 201))[-1].turned_epoch
    for epoch in range(201, 400):
        verdict = monitor.update(epoch, {GAP: 5.0, ENTROPY: 0.45})
    assert verdict.has_turned
    assert verdict.turned_epoch == turned
    assert verdict.confidence < 0.01


@pytest.mark.parametrize(
    ("epoch", "values", "message"),
    [
        (4, {GAP: 1.0}, f"values must hold {GAP}, {ENTROPY}, got {GAP}"),
        (4, {}, f"values must hold {GAP}, {ENTROPY}, got nothing"),
        (4, {GAP: math.nan, ENTROPY: 1.0}, f"values\\['{GAP}'\\] must be finite, got nan"),
        (3, {GAP: 1.0, ENTROPY: 1.0}, "epoch must be larger than the last one, 3, got 3"),
    ],
)
def test_bad_values_are_named_and_change_nothing(epoch: int, values: dict[str, float], message: str) -> None:
    monitor = OvertrainingMonitor()
    feed_gaps(monitor, range(1, 4))
    before = monitor.state()
    with pytest.raises(ValueError, match=message):
        monitor.update(epoch, values)
    assert monitor.state() == before


def test_a_rule_that_raises_leaves_the_monitor_as_it_was() -> None:
    class Choosy:
        needs = (LOSS,)

        def judge(self, epochs, values):
            if values[LOSS][-1] < 0:
                raise ValueError("loss must be at least 0")
            return FloorGapRule().judge(epochs[:0], {})

    monitor = OvertrainingMonitor(Choosy())
    monitor.update(1, {LOSS: 1.0})
    before = monitor.state()
    with pytest.raises(ValueError, match="loss must be at least 0"):
        monitor.update(2, {LOSS: -1.0})
    assert monitor.state() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FloorGapRule(share=0), "share must be positive and finite, got 0"),
        (lambda: FloorGapRule(window=0), r"window must be in \(0, 1\], got 0"),
        (lambda: FloorGapRule(level=1), r"level must lie in \(0, 1\), got 1"),
        (lambda: ValidationRule(window=2), r"window must be in \(0, 1\], got 2"),
        (lambda: ValidationRule(patience=-1), "patience must be at least 0, got -1"),
    ],
)
def test_bad_rules_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "values", [{}, {LOSS: [0.1, 0.2]}, {GAP: [0.1], ENTROPY: [0.1, 0.2]}], ids=["none", "others", "lengths"]
)
def test_a_state_of_another_rule_is_refused_and_changes_nothing(values: dict[str, list[float]]) -> None:
    monitor = OvertrainingMonitor()
    feed_gaps(monitor, range(1, 4))
    before = monitor.state()
    with pytest.raises(ValueError, match=f"state must hold 2 values of {GAP}, {ENTROPY}, got"):
        monitor.load_state({"epochs": [1, 2], "values": values, "turned_epoch": None})
    assert monitor.state() == before
    monitor.load_state(OvertrainingMonitor().state())
    assert monitor.state()["epochs"] == []
