"""Measurement of a checkpoint that was trained elsewhere, with its records and its page."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.bench.build import anchored_data, anchored_model
from mixscope.bench.description import describe_images, describe_machine, describe_model, new_record
from mixscope.bench.failures import divergence_told
from mixscope.bench.image_preparation import Normalisation, choose_geometry, choose_scale, match_classes
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
from mixscope.models.heads import NoHeadError
from mixscope.models.networks import brings_weights, build_model, find_head, model_sites
from mixscope.models.preprocessing import preprocessing_of
from mixscope.models.weights import load_weights
from mixscope.training.objective import NonFiniteLossError, has_convolutions
from mixscope.training.recipe import Recipe

COMMON_NAMES = ("weights", "checkpoints", "model", "pytorch_model", "state_dict", "checkpoint")  # these say nothing
LOOKED_AT = 3  # images that a head is looked for with


@dataclass(frozen=True)
class Checkpoint:
    """A network that was trained elsewhere, and what is measured of it."""

    model: str  # FILE.py:FACTORY, timm:NAME, hf-model:NAME, or one of mixscope's networks
    weights: Path | None  # its state dict; nothing in the file is executed. None: the model brings its own
    weights_key: str | None  # where in the file
    data: DataOptions
    head: str | None  # module name of its linear classifier
    measuring: MeasureOptions
    normalisation: Normalisation
    device: Device


def measure_checkpoint(checkpoint: Checkpoint, folder: Path, *, observer: Observer) -> None:
    """Measure a network and write its folder (`write_measurement`), over an earlier measurement.

    Whatever does not fit is a `UserError` before anything is written.
    """
    with measured_folder(folder, note=observer.note) as spool:
        record, measurement = _measure(checkpoint, folder, observer, spool)
        data = record["data"]
        predictions = spool.predictions(images=data["test_fingerprint"], class_names=data["class_names"])
        name = checkpoint.model if checkpoint.weights is None else checkpoint.weights.name
        write_measurement(folder, record, measurement, predictions, title=f"{name} on {data['name']}")


def _measure(
    checkpoint: Checkpoint, folder: Path, observer: Observer, spool: PredictionSpool
) -> tuple[dict[str, Any], Measurement]:
    """Return what run.json is to say, and what was measured."""
    name, data, measuring = checkpoint.model, checkpoint.data, checkpoint.measuring
    if checkpoint.weights is None and not brings_weights(name):
        raise UserError(f"weights must be given for {name}, which has none of its own, with --weights; see --help")
    if checkpoint.weights is None and checkpoint.weights_key is not None:
        raise UserError(f"weights-key must go with weights, got {checkpoint.weights_key!r} alone")
    accelerator = build_accelerator(checkpoint.device, Recipe(), tracker=None, folder=folder)
    own = preprocessing_of(name)
    geometry, source = choose_geometry(data, own)
    images = prepare_images(data, observer, geometry=geometry, allow_test_only=True)
    model = build_model(
        name,
        num_classes=images.num_classes,
        image_shape=images.image_shape,
        seed=0,
        own_weights=checkpoint.weights is None,
    )
    notes = [f"images {str(geometry) or 'as they are'} ({source})"]
    if checkpoint.weights is not None:
        notes += load_weights(model, checkpoint.weights, weights_key=checkpoint.weights_key).notes
    else:
        notes.append(f"weights as {name} comes with them (no --weights given)")
    scale = choose_scale(checkpoint.normalisation, own, model, images)
    images, matched = match_classes(model, images)
    head, without = _find_head(model, checkpoint.head, images)
    notes[0] += f"; pixels {scale}"
    notes += [words for words in (matched, without) if words]
    if checkpoint.head is None and head not in (None, "head"):
        notes.append(f"head {head!r}, the linear layer that gives the logits")
    sites = measuring.sites or model_sites(model, head)
    if not sites:
        notes.append("no layer's linearity is measured, as nothing says which: name modules with --sites")
    for note in notes:
        observer.note(note)
    check_places(model, sites)
    check_forward(model, images, head=head, sites=sites, name=name)
    channels_last = has_convolutions(model)
    model.to(accelerator.device)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    probe = build_probe(
        images.to(accelerator.device),
        measuring,
        mean=scale.mean,
        std=scale.std,
        split_seed=data.split_seed,
        channels_last=channels_last,
    )
    subject = Subject(model, head, sites, probe)
    try:
        with divergence_told(subject):
            measurement = measure(subject, spool)
    except NonFiniteLossError as error:
        whose = name if checkpoint.weights is None else checkpoint.weights
        raise UserError(f"{whose} must be weights that can be measured, but {error}") from error
    described = replace(
        checkpoint,
        model=anchored_model(name),
        weights=checkpoint.weights and checkpoint.weights.absolute(),
        data=anchored_data(data),
        head=head,
        measuring=replace(measuring, sites=sites),
    )
    record = new_record(
        "measure",
        name=folder.resolve().name,
        method=checkpoint_name(name, checkpoint.weights),
        description=options_to_dict(described),
        data=describe_images(images),
        model=describe_model(model, name=name, head=head, sites=sites),
        environment=describe_machine(accelerator),
    )
    return record | {"notes": notes}, measurement


def checkpoint_name(model: str, weights: Path | None) -> str:
    """Return what the network is called on pages: after its file, or the folder of one that is called as all are."""
    if weights is None:
        return Path(model.rpartition(":")[2]).name
    path = weights.absolute()
    while _stem(path) in COMMON_NAMES and path.parent.name:
        path = path.parent
    return _stem(path)


def _stem(path: Path) -> str:
    """Return a file's name without its suffix, of which ".pth.tar" is one."""
    return path.stem.removesuffix(".pth") if path.suffix == ".tar" else path.stem


def _find_head(model: nn.Module, name: str | None, images: ImageData) -> tuple[str | None, str]:
    """Return the head; None, and why, where no linear layer gives the logits or there are no training images."""
    without = "collapse and channels are left out: "
    try:
        head = find_head(model, name, inputs=images.test_images[:LOOKED_AT].float() / 255)
    except NoHeadError as error:
        return None, f"{without}{error}"
    return head, "" if images.has_train else f"{without}they are measured on training images, and there are none"
