"""Measurement of a checkpoint that was trained elsewhere, with its records and its page."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mixscope.base.errors import UserError
from mixscope.bench.build import anchored_data, anchored_model
from mixscope.bench.description import describe_images, describe_machine, describe_model, new_record
from mixscope.bench.failures import divergence_told
from mixscope.bench.kept_predictions import PredictionSpool
from mixscope.bench.measured_folder import measured_folder, write_measurement
from mixscope.bench.measurement import Measurement, Subject, measure
from mixscope.bench.network_checks import check_forward, check_places
from mixscope.bench.observer import Observer
from mixscope.bench.options import DataOptions, Device, MeasureOptions, options_to_dict
from mixscope.bench.probe import build_probe
from mixscope.bench.run_images import prepare_images
from mixscope.bench.run_processes import build_accelerator
from mixscope.data.image_data import ImageData
from mixscope.models.networks import build_model, find_head, model_sites
from mixscope.models.weights import load_weights
from mixscope.training.objective import NonFiniteLossError, has_convolutions
from mixscope.training.recipe import Recipe


@dataclass(frozen=True)
class Checkpoint:
    """A network that was trained elsewhere, and what is measured of it."""

    model: str  # FILE.py:FACTORY, timm:NAME, or one of mixscope's networks
    weights: Path  # its state dict; nothing in the file is executed
    data: DataOptions
    head: str | None  # module name of its linear classifier
    measuring: MeasureOptions
    mean: tuple[float, ...] | None  # of each channel of pixels scaled to [0, 1]; None: that of the training images
    std: tuple[float, ...] | None
    device: Device


def measure_checkpoint(checkpoint: Checkpoint, folder: Path, *, observer: Observer) -> None:
    """Measure a network and write its folder (`write_measurement`), over an earlier measurement.

    Whatever does not fit is a `UserError` before anything is written.
    """
    with measured_folder(folder, note=observer.note) as spool:
        record, measurement = _measure(checkpoint, folder, observer, spool)
        data = record["data"]
        predictions = spool.predictions(images=data["test_fingerprint"], class_names=data["class_names"])
        title = f"{checkpoint.weights.name} on {data['name']}"
        write_measurement(folder, record, measurement, predictions, title=title)


def _measure(
    checkpoint: Checkpoint, folder: Path, observer: Observer, spool: PredictionSpool
) -> tuple[dict[str, Any], Measurement]:
    """Return what run.json is to say, and what was measured."""
    name, weights, data, measuring = checkpoint.model, checkpoint.weights, checkpoint.data, checkpoint.measuring
    accelerator = build_accelerator(checkpoint.device, Recipe(), tracker=None, folder=folder)
    images = prepare_images(data, observer)
    model = build_model(name, num_classes=images.num_classes, image_shape=images.image_shape, seed=0)
    load_weights(model, weights)
    head = find_head(model, checkpoint.head)
    sites = measuring.sites or model_sites(model, head)
    check_places(model, sites)
    check_forward(model, images, head=head, sites=sites, name=name)
    channels_last = has_convolutions(model)
    model.to(accelerator.device)
    probe = build_probe(
        images.to(accelerator.device),
        measuring,
        mean=images.channel_mean if checkpoint.mean is None else _per_channel(checkpoint.mean, images, "mean"),
        std=images.channel_std if checkpoint.std is None else _per_channel(checkpoint.std, images, "std"),
        split_seed=data.split_seed,
        channels_last=channels_last,
    )
    subject = Subject(model, head, sites, probe)
    try:
        with divergence_told(subject):
            measurement = measure(subject, spool)
    except NonFiniteLossError as error:
        raise UserError(f"{weights} must be weights that can be measured, but {error}") from error
    described = replace(
        checkpoint,
        model=anchored_model(name),
        weights=weights.absolute(),
        data=anchored_data(data),
        head=head,
        measuring=replace(measuring, sites=sites),
    )
    record = new_record(
        "measure",
        name=folder.resolve().name,
        method=weights.stem,
        description=options_to_dict(described),
        data=describe_images(images),
        model=describe_model(model, name=name, head=head, sites=sites),
        environment=describe_machine(accelerator),
    )
    return record, measurement


def _per_channel(values: tuple[float, ...], images: ImageData, name: str) -> tuple[float, ...]:
    """Return one value per channel; one value alone serves all channels, and any other number is refused."""
    channels = images.image_shape[0]
    if len(values) not in (1, channels):
        numbers = "1 value" if channels == 1 else f"1 or {channels} values"
        raise UserError(f"{name} must have {numbers} for {channels} channels, got {len(values)}")
    return values * channels if len(values) == 1 else values
