"""The device, precision, processes and tracker of a run, through Hugging Face Accelerate."""

import os
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs

from mixscope.base.errors import UserError
from mixscope.bench.options import Device
from mixscope.bench.tracking import FOLDER, check_tracker
from mixscope.training.recipe import Recipe

PATIENCE = timedelta(minutes=30)  # that processes wait for one another: the first one downloads and measures meanwhile


def build_accelerator(device: Device, recipe: Recipe, *, tracker: str | None, folder: Path) -> Accelerator:
    """Return the accelerator a run trains on.

    "auto" takes a GPU where there is one; "cpu", "cuda" and "mps" insist. A tracker's files go into the run's folder.

    Raises:
        UserError: If the device is not there, or the tracker's package is not installed.
    """
    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        raise UserError(f"device {device} must be available, but torch {torch.__version__} finds none on this machine")
    if tracker is not None:
        check_tracker(tracker)
    # Accelerate keeps one state per process and refuses a second run with another precision or device.
    # Without `cpu`, Accelerate does not join the processes that torchrun starts on a machine without a GPU.
    on_cpu = device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if AcceleratorState._shared_state != {}:
        AcceleratorState._reset_state(reset_partial_state=not PartialState().use_distributed)
    accelerator = Accelerator(
        cpu=on_cpu,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        mixed_precision="no" if recipe.precision == "fp32" else recipe.precision,
        dynamo_backend="inductor" if recipe.compile else "no",
        log_with=tracker,
        project_dir=folder / FOLDER if tracker is not None else None,
    )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != world:
        raise UserError(
            f"all {world} processes must train together, got {accelerator.num_processes}: start them by torchrun"
        )
    # The same command gives the same numbers, and fp32 means it: no autotuned algorithms, no rounding to TF32.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    if device in ("cuda", "mps") and accelerator.device.type != device:
        raise UserError(f"device {device} must be the one Accelerate uses, but it chose {accelerator.device.type}")
    return accelerator
