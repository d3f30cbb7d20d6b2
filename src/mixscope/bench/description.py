"""The entries of run.json that say what was trained or measured, on which images and machine."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mixscope.base.reading import open_regular
from mixscope.base.text import utf8_text
from mixscope.data.image_data import ImageData
from mixscope.records.environment import SCHEMA, describe_environment


def new_record(kind: str, *, name: str, method: str, **entries: dict[str, Any]) -> dict[str, Any]:
    """Return run.json as it stands when a run begins.

    Kinds are "train" and "measure"; the entries are "description", "data", "model" and "environment".
    """
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


def describe_model(model: nn.Module, *, name: str, head: str, sites: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry "model" of run.json; a network from a file carries a fingerprint of that file."""
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "name": name,
        "num_parameters": num_parameters,
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
    """Return the entry "data" of run.json: what the images are, and a fingerprint of their contents.

    `unlabelled` are (N, C, H, W) uint8 images trained on without labels, where there are any.
    """
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
    }


def images_fingerprint(data: ImageData, unlabelled: Tensor | None) -> str:
    """Return the SHA-256 of the images and labels that are used."""
    digest = hashlib.sha256()
    others = () if unlabelled is None else (unlabelled,)
    for tensor in (data.train_images, data.train_labels, data.test_images, data.test_labels, *others):
        digest.update(tensor.cpu().contiguous().numpy().data.cast("B"))
    return digest.hexdigest()
