"""Processes of a run and the device they compute on, through Accelerate: alike when they begin, failing together."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch import Tensor, distributed, nn
from torch.nn.parameter import is_lazy

from mixscope import __version__
from mixscope.base.errors import UserError
from mixscope.bench.description import images_fingerprint, model_fingerprint
from mixscope.bench.options import Device, TrainOptions, options_to_dict
from mixscope.bench.tracking import FOLDER, check_tracker
from mixscope.data.image_data import ImageData
from mixscope.report.runs.method_options import flatten
from mixscope.training.recipe import Recipe

PATIENCE = timedelta(minutes=30)  # that processes wait for one another: the first one downloads and measures meanwhile
OF_THE_MACHINE = ("data-dir", "threads")  # may differ between processes: what is read is compared, not from where
PATHS = ("data", "model")
# In what torch says of a lost process.
LOST = ("/gloo/", "nccl", "connection closed by peer", "connection reset by peer")


def build_accelerator(device: Device, recipe: Recipe, *, tracker: str | None, folder: Path) -> Accelerator:
    """Return the accelerator a run trains on; a `UserError` if the device, or a tracker's package, is not there.

    "auto" takes a GPU where there is one; "cpu", "cuda" and "mps" insist. A tracker's files go into the run's folder.
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


class LostProcessError(RuntimeError):
    """Another process of the run ended, or does not answer."""


def describe_options(options: TrainOptions) -> dict[str, Any]:
    """Return the options, by their names on the command line, and the versions that all processes must share."""
    named = {path.rpartition(".")[2].replace("_", "-"): value for path, value in flatten(options_to_dict(options))}
    described = {name: value for name, value in named.items() if name not in OF_THE_MACHINE}
    for name in PATHS:
        if os.path.isabs(described[name]):
            described[name] = Path(described[name]).name  # what is in the file is compared by itself
    return {**described, "the version of mixscope": __version__, "the version of torch": torch.__version__}


def describe_sources(
    options: TrainOptions, data: ImageData, unlabelled: Tensor | None, model: nn.Module
) -> dict[str, str | None]:
    """Return what tells the images, the file of the network, and its weights at the start from others."""
    return {
        "the fingerprint of the images": images_fingerprint(data, unlabelled),
        "the fingerprint of the file that makes the network": model_fingerprint(options.model),
        "the fingerprint of the weights at the start": fingerprint_of(weights_of(model)),
    }


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by their names."""
    return dict([*model.named_parameters(), *model.named_buffers()])


def fingerprint_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            continue  # it has no shape yet
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_shareable(model: nn.Module, accelerator: Accelerator, *, name: str) -> None:
    """Raise a `UserError` if a network cannot be trained by these processes together."""
    if accelerator.num_processes == 1 or accelerator.device.type != "cpu":
        return
    if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        raise UserError(
            f"{name} must do without SyncBatchNorm in several processes on the CPU, where torch has none; BatchNorm "
            "will do: its statistics are those of the whole batch"
        )


def check_alike(accelerator: Accelerator, describe: Callable[[], Mapping[str, Any]]) -> None:
    """Raise a `UserError` in every process unless all have the same by every name; all must call this at the same time.

    It names everything that differs, and the first process that has it otherwise than process 0.
    """
    if accelerator.num_processes == 1:
        return
    first, *others = _gather(dict(describe()))
    differences = []
    for name in dict.fromkeys(name for each in (first, *others) for name in each):
        values = [each.get(name) for each in (first, *others)]
        rank = next((rank for rank, value in enumerate(values) if value != values[0]), None)
        if rank is not None:
            here, there = (_in_words(value) for value in (values[0], values[rank]))
            differences.append(f"{name} is {here} in process 0 and {there} in process {rank}")
    if differences:
        raise UserError(f"all processes of a run must begin alike, but {'; '.join(differences)}")


@contextmanager
def failing_together(accelerator: Accelerator) -> Iterator[None]:
    """Let a `UserError` or `OSError` of one process be one of all: all must come out of the block at the same time."""
    if accelerator.num_processes == 1:
        yield
        return
    problem = None
    try:
        yield
    except (UserError, OSError) as error:
        problem = error
    told = next((each for each in _gather(problem) if each is not None), None)
    if told is not None:
        raise problem or told


@contextmanager
def losses_told() -> Iterator[None]:
    """Raise a `LostProcessError` where torch says in the words of its transport that another process was lost."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, LostProcessError) or not _is_loss(error):
            raise
        raise LostProcessError(
            "another process of this run ended or does not answer, so this one ends too; what was kept is kept, and "
            "--resume goes on from the last checkpoint"
        ) from error


def _is_loss(error: RuntimeError) -> bool:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in LOST)


def _gather(value: Any) -> list[Any]:
    with losses_told():
        values: list[Any] = gather_object([value])
    return values


def _in_words(value: Any) -> str:
    """Return a value as it is written, and of a fingerprint as much as tells it from another."""
    if value is None:
        return "left out"
    is_fingerprint = isinstance(value, str) and len(value) == hashlib.sha256().digest_size * 2
    return f"{value[:12]}..." if is_fingerprint else str(value)
