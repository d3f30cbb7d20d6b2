"""Measure a checkpoint that was trained elsewhere, and keep the records and the page of it."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixscope._errors import UserError
from mixscope.data.images import ImageData
from mixscope.experiment.bench import Observer, check_sites, prepare_images
from mixscope.experiment.describe import describe_images, describe_machine, describe_model
from mixscope.experiment.devices import build_accelerator
from mixscope.experiment.measure import build_probe, measure
from mixscope.experiment.options import DataOptions, Device, MeasureOptions, options_to_dict
from mixscope.models.catalogue import build_model, find_head, load_weights, model_sites
from mixscope.records.record import SCHEMA
from mixscope.records.store import (
    METRICS_FILE,
    PICTURES_FILE,
    RECORD_FILE,
    REPORT_FILE,
    append_metrics,
    read_run,
    write_json,
)
from mixscope.report.page import write_report
from mixscope.training.objective import has_convolutions
from mixscope.training.recipe import Recipe


def measure_checkpoint(
    model_name: str,
    weights: Path,
    *,
    data: DataOptions,
    head: str | None,
    measuring: MeasureOptions,
    device: Device,
    folder: Path,
    observer: Observer,
) -> None:
    """Measure a network and write run.json, metrics.jsonl, pictures.json and report.html.

    Args:
        model_name: FILE.py:FACTORY, timm:NAME, or one of mixscope's networks.
        weights: Its state dict; nothing in the file is executed.
        data: The images; measured as they are normalised for training here.
        head: Module name of its linear classifier.
        measuring: What is measured.
        device: Where.
        folder: Where the records go; an earlier measurement there is replaced.
        observer: Is told how loading goes.

    Raises:
        UserError: If anything does not fit, before anything is written.
    """
    if (folder / RECORD_FILE).exists() and read_run(folder).record.get("kind") != "measure":
        raise UserError(f"{folder} must not hold a training run; choose another --out")
    accelerator = build_accelerator(device, Recipe(), tracker=None, folder=folder)
    images = prepare_images(data, observer)
    model = build_model(model_name, num_classes=images.num_classes, image_shape=images.image_shape, seed=0)
    load_weights(model, weights)
    head = find_head(model, head)
    sites = measuring.sites or model_sites(model, head)
    check_sites(dict(model.named_modules()), [site.removesuffix(":input") for site in sites])
    channels_last = has_convolutions(model)
    model.to(accelerator.device)
    check_forward(model, images, model_name=model_name)
    probe = build_probe(
        images.to(accelerator.device), measuring, split_seed=data.split_seed, channels_last=channels_last
    )
    measurement = measure(model, probe, head=head, sites=sites)
    description = {
        "model": model_name,
        "weights": str(weights.absolute()),
        "head": head,
        "data": options_to_dict(data),
        "measuring": options_to_dict(replace(measuring, sites=sites)),
        "device": device,
    }
    record = {
        "schema": SCHEMA,
        "name": folder.name,
        "method": weights.stem,
        "kind": "measure",
        "description": description,
        "data": describe_images(images),
        "model": describe_model(model, name=model_name, head=head, sites=sites),
        "environment": describe_machine(accelerator),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": None,
        "status": "finished",
        "message": "",
    }
    if folder.exists() and (folder / RECORD_FILE).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD_FILE, record)
    (folder / METRICS_FILE).unlink(missing_ok=True)
    append_metrics(folder, {"epoch": None, **measurement.values})
    write_json(folder / PICTURES_FILE, {"epoch": None, **measurement.pictures}, indent=None)
    write_report(folder / REPORT_FILE, [read_run(folder)], title=f"{weights.name} on {images.name}")


def check_forward(model: nn.Module, images: ImageData, *, model_name: str) -> None:
    """Raise a `UserError` unless the network turns two of the images into (2, K) logits."""
    device = next(model.parameters()).device
    inputs = images.test_images[:2].to(device, torch.float32) / 255
    was_training = model.training
    try:
        with torch.no_grad():
            outputs: Any = model.eval()(inputs)
    except Exception as error:
        raise UserError(
            f"{model_name} must take images of shape {images.image_shape}: {type(error).__name__}: {error}"
        ) from error
    finally:
        model.train(was_training)
    if not isinstance(outputs, torch.Tensor) or outputs.shape[1:] != (images.num_classes,):
        got = tuple(outputs.shape[1:]) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UserError(f"{model_name} must give one logit for each of {images.num_classes} classes, got {got}")
