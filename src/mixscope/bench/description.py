"""Entries of run.json that say what was trained or measured, by which method, on which images and machine."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mixscope.base.reading import open_regular
from mixscope.base.text import utf8_text
from mixscope.bench.options import ConsistencyOptions, TrainOptions
from mixscope.data.image_data import ImageData
from mixscope.data.mapped import read_through
from mixscope.mixing.schemes import SCHEMES
from mixscope.records.environment import SCHEMA, describe_environment

TEACHERS = {"same": "itself", "same-detached": "stop-gradient", "ema": "EMA teacher"}


def new_record(kind: str, *, name: str, method: str, **entries: dict[str, Any]) -> dict[str, Any]:
    """Return run.json of kind "train" or "measure" as a run begins; entries: description, data, model, environment."""
    return {
        "schema": SCHEMA,
        "name": utf8_text(name),
        "method": utf8_text(method),
        "kind": kind,
        **entries,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": None,
        "status": "running",
        "message": "",
    }


def describe_machine(accelerator: Accelerator) -> dict[str, Any]:
    """Return the entry "environment" of run.json."""
    device = accelerator.device
    environment = describe_environment(
        device=str(device),
        num_threads=torch.get_num_threads(),
        accelerator_name=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    )
    return {**environment, "num_processes": accelerator.num_processes}


def describe_model(model: nn.Module, *, name: str, head: str | None, sites: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry "model" of run.json; a network from a file carries a fingerprint of that file."""
    return {
        "name": name,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sites": list(sites),
        "head": head,
        "fingerprint": model_fingerprint(name),
    }


def model_fingerprint(name: str) -> str | None:
    """Return the SHA-256 of the file FILE.py:FACTORY names; None for a network of another kind."""
    file = Path(name.rpartition(":")[0])
    if file.suffix != ".py":
        return None
    with open_regular(file) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def describe_images(data: ImageData, *, unlabelled: Tensor | None = None) -> dict[str, Any]:
    """Return the entry "data" of run.json: what the images are, those without labels too, and their fingerprint."""
    return {
        "name": data.name,
        "num_train": len(data.train_labels),
        "num_test": len(data.test_labels),
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "image_shape": list(data.image_shape),
        "notes": data.notes,
        **({} if unlabelled is None else {"num_unlabelled": len(unlabelled)}),
        "fingerprint": images_fingerprint(data, unlabelled),
        "test_fingerprint": test_fingerprint(data),
    }


def images_fingerprint(data: ImageData, unlabelled: Tensor | None) -> str:
    """Return the SHA-256 of the images and labels that are used."""
    others = () if unlabelled is None else (unlabelled,)
    return _fingerprint(data.train_images, data.train_labels, data.test_images, data.test_labels, *others)


def test_fingerprint(data: ImageData) -> str:
    """Return the SHA-256 of the test images and labels, in their order: runs that share it can be compared in pairs."""
    return _fingerprint(data.test_images, data.test_labels)


def _fingerprint(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        for part in read_through(tensor):
            digest.update(part.cpu().contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def method_label(options: TrainOptions) -> str:
    """Name the method on reports: the scheme and what sets it apart, or the label that was given."""
    if options.label is not None:
        return options.label
    mixing, recipe = options.mixing, options.training
    words = SCHEMES[mixing.mixing].label
    if mixing.num_points > 2:
        words += f" of {mixing.num_points} points"
    if mixing.alpha is not None:
        words += f" α={mixing.alpha:g}"
    if mixing.mixing != "none" and recipe.mixing_off is not None:
        if recipe.mixing_off == "auto":
            words += ", off automatically"
        elif recipe.mixing_off < recipe.epochs:
            words += f", off after {recipe.mixing_off}"
    if options.consistency.consistency_points > 0:
        consistency = _consistency_label(options.consistency)
        words = consistency if mixing.mixing == "none" else f"{words} + {consistency}"
    if recipe.loss == "squared-error":
        words += ", squared error"
    if options.classifier == "fixed-etf":
        words += ", fixed classifier"
    return words


def _consistency_label(options: ConsistencyOptions) -> str:
    """Name unsupervised mixing: "ICT[2]" is Eq. 2 of Chaudhry et al. 2022, and all that departs from it is named."""
    usual = ConsistencyOptions(consistency_points=2)
    words = f"ICT[{options.consistency_points}]"
    for given, default, departure in (
        (options.consistency_alpha, usual.consistency_alpha, f" α={options.consistency_alpha:g}"),
        (options.consistency_teacher, usual.consistency_teacher, f", {TEACHERS[options.consistency_teacher]}"),
        (options.consistency_decay, usual.consistency_decay, f" {options.consistency_decay:g}"),
        (options.consistency_space, usual.consistency_space, f", {options.consistency_space}"),
        (options.consistency_weight, usual.consistency_weight, f", weight {options.consistency_weight:g}"),
        (options.consistency_ramp, usual.consistency_ramp, f", ramp {options.consistency_ramp:g}"),
        (options.consistency_batch, None, f", {options.consistency_batch} unlabelled a step"),
        (options.unlabelled, None, f", {options.unlabelled} unlabelled"),
        (options.unlabelled_disjoint, False, ", disjoint"),
    ):
        if given != default:
            words += departure
    return words
