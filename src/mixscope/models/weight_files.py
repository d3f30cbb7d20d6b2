"""Files and folders of weights, told apart by their content and read without running anything in them."""

import json
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch

from mixscope.base.errors import UserError
from mixscope.base.reading import (
    check_nothing_packed,
    kind_and_reason,
    one_line,
    open_regular,
    read_regular,
    zip_members,
)
from mixscope.base.tensor_files import load_safetensors, load_torch

HEAD_BYTES = 512  # of a file, by which its kind is told
INDEX_CEILING = 2**26  # bytes of the index of a checkpoint in parts
EXPORT = "Save model.state_dict() alone, or use .safetensors"
EXPORT_RECIPE = f"{EXPORT}; where the program that wrote it is: torch.save(model.state_dict(), 'weights.pt')"
# In a folder, the first that is there.
FOLDER_FILES = (
    *("model.safetensors", "model.safetensors.index.json", "weights.safetensors", "checkpoints/weights.safetensors"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
OTHER_KINDS = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it first",
    b"\x89HDF": "an HDF5 file, as Keras writes: export the weights from there as .safetensors",
    b"\x93NUMPY": "a numpy array: save tensors by name, as .safetensors",
    b"GGUF": "a GGUF file: use the original weights, as .safetensors",
    b"version https://git-lfs": "a pointer of Git LFS and not the weights themselves: fetch them with git lfs pull",
}
# What stands beside the tensors and is never needed. None of it is made: a `_Left` stands in its place.
HARMLESS = (
    *("argparse.Namespace", "types.SimpleNamespace", "_codecs.encode"),
    *("numpy.dtype", "numpy.ndarray", "numpy.random.__RandomState_ctor", "numpy.random._pickle.__randomstate_ctor"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *(f"numpy.{kind}" for kind in ("bool_", "float16", "float32", "float64", "int32", "int64", "uint8", "str_")),
    *(f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    *(f"pathlib._local.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    *(f"datetime.{kind}" for kind in ("datetime", "date", "time", "timedelta", "timezone")),
    *("builtins.set", "builtins.frozenset", "builtins.complex", "builtins.slice", "builtins.range", "uuid.UUID"),
    *("decimal.Decimal", "fractions.Fraction", "torch.torch_version.TorchVersion"),
    *("__builtin__.set", "__builtin__.frozenset", "__builtin__.complex"),
)
NUMPY_DTYPES = ("Bool", "Float16", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt32", "Str")


class _Left:
    """A value that is left out: whatever it was to be made of and filled with, nothing is done."""

    def __new__(cls, *_: Any, **__: Any) -> "_Left":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __hash__(self) -> int:  # as a key of a dictionary
        return id(self)


def read_weight_file(path: Path) -> Any:
    """Return what a file or folder of weights holds: tensors by name, or a dictionary that holds them somewhere.

    A folder is one of transformers' `save_pretrained`, in one part or several, or a run's own. A file is known by its
    content, whatever its name: safetensors, or one of torch's, read with `weights_only=True`. Of values beside the
    tensors, those that are known to be harmless are left out. A `UserError` for anything else.
    """
    if path.is_dir():
        return _read_folder(path)
    with open_regular(path) as file, one_line(path):
        head = file.read(HEAD_BYTES)
    if not head:
        raise UserError(f"{path}: is empty: the download or the saving was cut off, get it again")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(f"{path}: is a web page and not weights: the download went wrong, get it again")
    for start, words in OTHER_KINDS.items():
        if head.startswith(start):
            raise UserError(f"{path}: is {words}")
    if head[257:262] == b"ustar":
        raise UserError(f"{path}: is a tar archive: unpack it first")
    is_named_so = path.suffix.lower() == ".safetensors" and not head.startswith((b"PK", b"\x80"))
    if _is_safetensors(head, path.stat().st_size) or is_named_so:
        return _read_safetensors(path)
    return _read_torch(path)


def _read_folder(path: Path) -> Any:
    found = next((path / name for name in FOLDER_FILES if (path / name).is_file()), None)
    if found is None:
        raise UserError(f"{path}: must be a file of weights or a folder with {FOLDER_FILES[0]}, {_folder_words(path)}")
    if found.suffix != ".json":
        return read_weight_file(found)
    with one_line(found, "cannot be read as an index of parts", ValueError, TypeError, AttributeError, KeyError):
        index = json.loads(read_regular(found, ceiling=INDEX_CEILING, why="an index of parts"))
        parts = sorted(set(index["weight_map"].values()))
        if not all(isinstance(part, str) and Path(part).name == part for part in parts):
            raise ValueError("its parts must be files beside it")
    state: dict[str, Any] = {}
    for part in parts:
        content = read_weight_file(path / part)
        if not isinstance(content, dict):
            raise UserError(f"{path / part}: must hold a dictionary of tensors by name")
        state |= content
    return state


def _folder_words(path: Path) -> str:
    """Say what a folder is instead, and what to do."""
    with one_line(path):
        names = sorted(entry.name for entry in path.iterdir())
        deeper = sorted(f"{entry.parent.name}/{entry.name}" for entry in path.glob("checkpoints/*.ckpt"))
    files = [*(name for name in names if name.endswith((".safetensors", ".pt", ".pth", ".ckpt", ".bin"))), *deeper]
    if "adapter_config.json" in names:
        return "got an adapter alone: merge it into its model and save that"
    if "latest" in names and any(name.startswith("global_step") for name in names):
        return "got a checkpoint of DeepSpeed: run its own zero_to_fp32.py in the folder first"
    if ".metadata" in names:
        return (
            "got a checkpoint in shards: join it first with "
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt"
        )
    if files:
        return f"got {', '.join(files[:5])}: name the file"
    return f"got {', '.join(names[:5]) or 'an empty folder'}"


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 9 or head[8:9] not in (b"{", b" "):
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return 2 <= length <= size - 8


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError

    with one_line(path, "cannot be read as safetensors", SafetensorError, OSError):
        return load_safetensors(path)


def _read_torch(path: Path) -> Any:
    # A damaged file makes torch raise KeyError, EOFError, RuntimeError and others.
    what = "cannot be read as a PyTorch file, and nothing was executed"
    telling = one_line(path, what, Exception, words=kind_and_reason)
    with telling, open_regular(path) as file:
        check_nothing_packed(path, file)
        _check_written_by_torch(path, file)
        names = [*HARMLESS, *(f"numpy.dtypes.{name}DType" for name in NUMPY_DTYPES)]
        try:
            with torch.serialization.safe_globals([(_Left, name) for name in names]):
                return load_torch(path, file)
        except pickle.UnpicklingError as error:
            wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
            asks_for = f" (it asks for {wanted[1]})" if wanted else ""
            raise UserError(
                f"{path}: needs unpickling, which can run code{asks_for}; nothing was executed. {EXPORT_RECIPE}"
            ) from error


def _check_written_by_torch(path: Path, file: Any) -> None:
    """Raise a `UserError` for a zip archive of something else."""
    members = zip_members(file)
    if members is None:
        return
    names = [member.filename for member in members]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise UserError(
            f"{path}: is a scripted network (TorchScript), which carries code; nothing was executed. {EXPORT}"
        )
    if not any(name.endswith("data.pkl") for name in names):
        got = ", ".join(names[:3]) or "nothing"
        raise UserError(f"{path}: is a zip archive that torch did not write (it holds {got}): unpack it first")
