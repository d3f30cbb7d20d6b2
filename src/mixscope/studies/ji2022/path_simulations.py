"""Paths of the layer-peeled model and of a small network in double precision, with the numbers claims are about."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixscope.base.generators import named_generator
from mixscope.data.loading import load_data
from mixscope.models.networks import build_model, find_head
from mixscope.studies.engine.network_setting import NUM_DIGITS
from mixscope.studies.engine.trial import Measured, Table
from mixscope.theory import (
    PREDICTED_RATES,
    FlowRecord,
    PeeledPoint,
    gaussian_start,
    layer_peeled_descent,
    layer_peeled_flow,
    power_law_rate,
    regularized_flow,
    symmetric_start,
)

NUM_CLASSES, NUM_PER_CLASS, DIM = 4, 5, 6  # the paper's sizes are not known; D > K - 1 as in a network
NUM_RECORDS = 90
LANDMARKS = (25.0, 30.0, 50.0, 100.0, 150.0)  # values of log t that claims speak of
EARLY = (30.0, 150.0)  # window of log t for slopes that claims speak of
LAWS = ("margin_ratio", "smoothed_margin_ratio", "norm_law", "loss_law", "norm_ratio")


def generic_flow(seed: int, scale: float, log_time: float) -> Measured:
    """Follow the flow from a normal start of that size to a log t; at least 150 of it for slopes."""
    return _followed(_start(seed, scale), log_time=log_time)


def symmetric_flow(seed: int, scale: float, log_time: float) -> Measured:
    """Follow the flow from a start without mean classifier, scatter within classes or imbalance."""
    generator = torch.Generator().manual_seed(seed)
    start = symmetric_start(NUM_CLASSES, NUM_PER_CLASS, dim=DIM, scale=scale, generator=generator)
    return _followed(start, log_time=log_time)


def planar_flow(seed: int, push: float, log_time: float) -> Measured:
    """Follow the flow from a start in a plane, pushed out of it by `push` times a normal draw; 0 stays in it."""
    drawn = _start(seed, 1.0)
    sizes = torch.tensor([1.0, 1.0] + [push] * (DIM - 2), dtype=torch.float64)
    return _followed(PeeledPoint(drawn.head_weight * sizes, drawn.features * sizes, drawn.labels), log_time=log_time)


def descent(seed: int, scale: float, learning_rate: float, record_steps: Sequence[int]) -> Measured:
    """Run plain gradient descent of the summed loss from the start of `generic_flow`."""
    record = layer_peeled_descent(_start(seed, scale), learning_rate=learning_rate, record_steps=record_steps).value
    return Measured(_drifts(record), {"path": _table(record)})


def decayed_flow(seed: int, scale: float, weight_decay: float, log_times: Sequence[float]) -> Measured:
    """Follow the flow with and without weight decay, of classifier and features, from the start of `generic_flow`.

    Values: "law_residual", how far the mean classifier is from exp(-weight_decay t) of its start; and the metrics at
    the end with decay ("end/METRIC") and without ("plain/METRIC"). Tables: "path" with decay and "plain" without.
    """
    start, times = _start(seed, scale), torch.tensor(list(log_times), dtype=torch.float64)
    decayed = regularized_flow(start, times=times.exp(), weight_decay=weight_decay, feature_decay=weight_decay)
    plain = layer_peeled_flow(start, log_times=times)
    values = {"law_residual": decayed.residual}
    for name in PREDICTED_RATES:
        values[f"end/{name}"] = float(getattr(decayed.value, name)[-1])
        values[f"plain/{name}"] = float(getattr(plain.value, name)[-1])
    return Measured(values, {"path": _table(decayed.value), "plain": _table(plain.value)})


def mean_classifier(
    seed: int,
    num_train: int,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
) -> Measured:
    """Train a network in double precision and compare the mean row of its classifier with the law it should follow.

    Values: "drift", |wbar(t) - wbar(0)| / |wbar(0)|, the largest of any step; with weight decay "rate_ratio", the rate
    at which |wbar| decayed over learning_rate weight_decay / (1 - momentum), and "turn", how far its direction moved.
    """
    data = load_data("digits", test_size=NUM_DIGITS - num_train, split_seed=seed)
    inputs = data.train_images.double() / 255
    model = build_model("mlp", num_classes=data.num_classes, image_shape=data.image_shape, seed=seed).double()
    head = model.get_submodule(find_head(model, None))
    assert isinstance(head, nn.Linear)
    start = head.weight.detach().mean(dim=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    generator = named_generator(seed, "mean classifier")
    mean, drift = start, 0.0
    for _ in range(num_steps):
        chosen = torch.randperm(len(inputs), generator=generator)[:batch_size]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[chosen]), data.train_labels[chosen]).backward()
        optimizer.step()
        mean = head.weight.detach().mean(dim=0)
        drift = max(drift, float((mean - start).norm() / start.norm()))
    values = {"drift": drift}
    if weight_decay > 0:
        expected = learning_rate * weight_decay / (1 - momentum) * num_steps
        values["rate_ratio"] = -math.log(float(mean.norm() / start.norm())) / expected
        values["turn"] = float((mean / mean.norm() - start / start.norm()).norm())
    return Measured(values)


def _start(seed: int, scale: float) -> PeeledPoint:
    generator = torch.Generator().manual_seed(seed)
    return gaussian_start([NUM_PER_CLASS] * NUM_CLASSES, dim=DIM, scale=scale, generator=generator)


def _drifts(record: FlowRecord) -> dict[str, float]:
    return {name: float(getattr(record, name).max()) for name in ("conserved_drift", "mean_classifier_drift")}


def _followed(start: PeeledPoint, *, log_time: float) -> Measured:
    """Follow the flow and return its laws, its metrics at the landmarks, and the slopes against log log t.

    Values: "conserved_drift" and "mean_classifier_drift", the largest; "step/LAW", the smallest rise of a margin from
    one record to the next once the loss is below log 2; "at/TIME/NAME" and "end/NAME"; "slope/METRIC" over the window
    30 to 150 of log t and "late/METRIC" from 150 on, where the flow goes so far.
    """
    spread = torch.logspace(0, math.log10(log_time), NUM_RECORDS, dtype=torch.float64).tolist()
    times = sorted({*spread[:-1], log_time, *(mark for mark in LANDMARKS if mark < log_time)})
    record = layer_peeled_flow(start, log_times=torch.tensor(times, dtype=torch.float64)).value
    values = _drifts(record)
    for name in ("margin_ratio", "smoothed_margin_ratio"):
        steps = getattr(record, name)[record.is_separated].diff()
        values[f"step/{name}"] = float(steps.min()) if len(steps) else math.nan
    names = (*LAWS, *PREDICTED_RATES)
    for mark in LANDMARKS:
        if mark in times:
            values |= {f"at/{mark:g}/{name}": float(getattr(record, name)[times.index(mark)]) for name in names}
    values |= {f"end/{name}": float(getattr(record, name)[-1]) for name in names}
    for prefix, first, last in (("slope", *EARLY), ("late", EARLY[1], log_time)):
        values |= _slopes(record, prefix=prefix, first=first, last=last)
    return Measured(values, {"path": _table(record)})


def _slopes(record: FlowRecord, *, prefix: str, first: float, last: float) -> dict[str, float]:
    """Return the slope of every metric's logarithm on log log t in a window; none where it is not reached."""
    is_used = (record.log_times >= first * (1 - 1e-6)) & (record.log_times <= last * (1 + 1e-6))
    if last <= first or int(is_used.sum()) < 10 or float(record.log_times[-1]) < last * (1 - 1e-6):
        return {}
    times = record.log_times[is_used]
    slopes = {}
    for name in PREDICTED_RATES:
        values: Tensor = getattr(record, name)[is_used]
        is_positive = bool((values > 0).all())
        slopes[f"{prefix}/{name}"] = power_law_rate(times, values).exponent if is_positive else math.nan
    return slopes


def _table(record: FlowRecord) -> Table:
    """Return the path as columns."""
    names = ("log_times", "log_losses", *LAWS, *PREDICTED_RATES, "mean_classifier_drift")
    return {name: getattr(record, name).tolist() for name in names}
