"""Image classifiers of transformers: of a folder of `save_pretrained`, or of the Hugging Face hub."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mixscope.base.errors import UserError, describe_error, users_code
from mixscope.base.generators import seeded_globals
from mixscope.base.reading import reason_of

HUB_PREFIX = "hf-model:"
TRANSFORMERS_INSTALL = "pip install 'mixscope[transformers]'"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.index.json")


def build_from_transformers(
    name: str, *, num_classes: int, image_shape: tuple[int, int, int], own_weights: bool
) -> nn.Module:
    """Load an image classifier of transformers, by a folder's path or a name on the hub; its code is the library's own.

    With its own weights as they are, to be measured; or with a new classifier where it has another number of classes,
    to be trained on. A folder that has a configuration alone gives fresh weights. Nothing in it is executed: weights
    are safetensors, or a .bin file read with `weights_only=True`.

    Raises:
        UserError: If transformers is missing, there is no such model or it is no image classifier of the library, or it
            is to be measured with its own weights and has none, or another number of classes.
    """
    config = read_config(name)
    import transformers

    source, label = _source(name), f"{HUB_PREFIX}{name}"
    num_labels, has_weights = int(config.num_labels), _has_weights(source)
    if own_weights and not has_weights:
        raise UserError(f"{label} has no weights of its own: give them with --weights")
    if own_weights and num_labels != num_classes:
        got = f"{num_labels}: measure it on images of its own classes"
        raise UserError(f"{label} must have as many classes as the images, {num_classes}, got {got}")
    auto = transformers.AutoModelForImageClassification
    with _quietly(), _told(label):
        if not has_weights:
            config.num_labels = num_classes
            for option, value in (("image_size", image_shape[1]), ("num_channels", image_shape[0])):
                if hasattr(config, option):
                    setattr(config, option, value)
            model = auto.from_config(config, trust_remote_code=False)
        else:
            given = {} if num_labels == num_classes else {"num_labels": num_classes, "ignore_mismatched_sizes": True}
            model = auto.from_pretrained(source, trust_remote_code=False, **given)
    network: nn.Module = model.float().train()
    return network


def read_config(name: str) -> Any:
    """Return a model's configuration; a `UserError` if it cannot be had."""
    label = f"{HUB_PREFIX}{name}"
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise UserError(f"{label} needs the transformers library ({error}): {TRANSFORMERS_INSTALL}") from error
    except Exception as error:  # one built for another torch
        raise UserError(
            f"{label}: transformers is installed but cannot be imported ({describe_error(error)}): "
            f"{TRANSFORMERS_INSTALL} --upgrade"
        ) from error
    source = _source(name)
    with _quietly(), _told(label):
        return transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)


def processor_of(name: str) -> Any:
    """Return the image processor of a model, or None where it comes without one; a `UserError` as `read_config`."""
    read_config(name)  # so that what is no model at all is told as such
    import transformers

    source = _source(name)
    if not _has_processor(source):
        return None
    with _quietly(), _told(f"{HUB_PREFIX}{name}: its image processor"):
        return transformers.AutoImageProcessor.from_pretrained(source, trust_remote_code=False)


def _has_processor(source: str) -> bool:
    """Return whether a model has a file of its own that says how images are prepared: none is guessed."""
    from transformers.utils.hub import cached_file

    found = [cached_file(source, file, _raise_exceptions_for_missing_entries=False) for file in PROCESSOR_FILES]
    return any(path is not None for path in found)


def output_names(config: Any) -> tuple[str, ...] | None:
    """Return the names that a configuration has for a network's outputs, in their order; None where it has none.

    transformers calls them LABEL_0, LABEL_1, ... where nobody does, which says nothing.
    """
    names = getattr(config, "id2label", None)
    if not isinstance(names, dict):
        return None
    in_order = tuple(str(names.get(index, names.get(str(index), ""))) for index in range(len(names)))
    return None if all(label == f"LABEL_{index}" for index, label in enumerate(in_order)) else in_order


def new_head_note(name: str, *, num_classes: int) -> str:
    """Return what is to be said where "hf-model:NAME" gets a new classifier for these classes, or ""."""
    if not name.startswith(HUB_PREFIX):
        return ""
    config = read_config(name.removeprefix(HUB_PREFIX))
    if config.num_labels == num_classes or not _has_weights(_source(name.removeprefix(HUB_PREFIX))):
        return ""
    return f"{name}: its classifier for {config.num_labels} classes is replaced by a new one for {num_classes}"


def translated(model: nn.Module, state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the tensors of a file of `save_pretrained` by the names the model itself has for them.

    Newer versions of transformers call some modules otherwise than their files do. None for a model of another library,
    or where the file is not one of this very model.
    """
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(model, transformers.PreTrainedModel):
        return None
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    with _quietly(), seeded_globals(0, "translate weights"):
        try:
            twin, seen = type(model).from_pretrained(
                None, config=model.config, state_dict=tensors, output_loading_info=True
            )
        except Exception:  # of another shape, or of anything else: it is told as it would be without this
            return None
    return None if any(seen.values()) else dict(twin.state_dict())


def _source(name: str) -> str:
    """Return what transformers is to look for: a folder's path, or a name on the hub."""
    path = Path(os.path.expanduser(name))
    if not name:
        raise UserError(
            f"{HUB_PREFIX}NAME must name a folder of save_pretrained or a model on the hub, got {HUB_PREFIX}"
        )
    if path.is_dir():
        return str(path)
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        got = "a file" if path.exists() else "no such folder"
        raise UserError(f"{HUB_PREFIX}{name} must be a folder of save_pretrained or a name on the hub, got {got}")
    return name


def _has_weights(source: str) -> bool:
    path = Path(source)
    return not path.is_dir() or any(next(path.glob(pattern), None) is not None for pattern in WEIGHT_FILES)


@contextmanager
def _told(label: str) -> Iterator[None]:
    """Turn what transformers and the hub raise into one line."""
    try:
        with users_code(""):
            yield
    except UserError as error:
        cause = error.__cause__
        reason = reason_of(cause) if isinstance(cause, Exception) else str(error)
        first, _, _ = reason.partition(". ")  # what follows is advice of the library's own
        raise UserError(f"{label} could not be had: {first.rstrip('.')}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the messages and bars of the library and of the hub's client from the terminal."""
    from huggingface_hub.utils import logging as client
    from transformers.utils import logging

    level, has_bar, client_level = logging.get_verbosity(), logging.is_progress_bar_enabled(), client.get_verbosity()
    logging.set_verbosity_error()
    client.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        client.set_verbosity(client_level)
        if has_bar:
            logging.enable_progress_bar()
