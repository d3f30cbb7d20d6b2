"""Cache of decoded images: one memory-mapped safetensors file per source, written whole or not at all."""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.files import atomic_file
from mixscope.base.reading import open_regular
from mixscope.base.text import printable
from mixscope.data.image_data import DecodedSet, LabelledImages
from mixscope.data.members import folder_files

FORMAT_VERSION = 1  # Raise it when decoding changes: files of other versions are then never looked at.
CACHE_VARIABLE = "MIXSCOPE_CACHE"
WORDS_LENGTH = 60  # of a source's name in its file's
DTYPE_NAMES = {torch.uint8: "U8", torch.int64: "I64"}


def cache_folder() -> Path:
    """Return the folder for downloads and decoded images: MIXSCOPE_CACHE, or the system's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mixscope")


def decoded_once(kind: str, paths: Sequence[Path], decode: Callable[[], DecodedSet]) -> DecodedSet:
    """Return the decoded images of `paths`, from the cache where it has them; else decode and write them there.

    `kind` says what is read from the files or folders, for example "images" or "cifar10". A changed source (size or
    time of change of any file) has another key, so the old entry is not used; a damaged entry is made again. The
    tensors are memory-mapped; they may be written to, which changes no file. A `UserError` if the cache folder cannot
    be written, or `decode` raises.
    """
    folder = cache_folder() / "decoded"
    words = re.sub(r"[^\w=+-]+", "-", paths[0].name.split(".")[0], flags=re.ASCII)[:WORDS_LENGTH]
    file = folder / f"{words}-{source_key(kind, paths)[:24]}.safetensors"
    cached = read_decoded(file)
    if cached is None:
        write_decoded(file, decode(), source=str(paths[0].absolute()))
        cached = read_decoded(file)
    if cached is None:
        raise UserError(f"{file}: what was just written cannot be read back; set {CACHE_VARIABLE} to another folder")
    return cached


def source_key(kind: str, paths: Sequence[Path]) -> str:
    """Return a SHA-256 over the format, the absolute paths, and the size and time of change of every file in them."""
    digest = hashlib.sha256(f"mixscope decoded images {FORMAT_VERSION} {kind}\n".encode())
    for path in paths:
        files = folder_files(path) if path.is_dir() else [("", path.stat())]
        digest.update(f"{path.absolute()}\n".encode(errors="surrogateescape"))
        for name, stat in files:
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_decoded(file: Path, decoded: DecodedSet, *, source: str) -> None:
    """Write a set to `file`, so that no reader sees half of it, or raise a `UserError` that names its folder.

    The layout is that of safetensors (8 bytes header length, JSON header, raw tensors). Its own `save_file` would not
    do: it replaces what is under the name it is given, whose lock shows that somebody is writing.
    """
    parts = {"train": decoded.train} if decoded.test is None else {"train": decoded.train, "test": decoded.test}
    # Labels first: the header is padded to 8 bytes, so int64 stays aligned when mapped.
    tensors = {
        f"{part}_{kind}": getattr(data, kind).contiguous()
        for kind in ("labels", "images")
        for part, data in parts.items()
    }
    metadata = {
        "class_names": json.dumps(decoded.class_names),
        "crc32": str(_checksum(tensors)),
        "notes": printable(decoded.notes),  # the reader knows no text that is not UTF-8
        "source": printable(source),
    }
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    try:
        with atomic_file(file) as stream:
            stream.write(len(text).to_bytes(8, "little"))
            stream.write(text)
            for tensor in tensors.values():
                stream.write(tensor.numpy().data.cast("B"))
    except OSError as error:
        raise disk_error(file.parent, error) from error


def read_decoded(file: Path) -> DecodedSet | None:
    """Return the set in `file`, memory-mapped, or None where the file is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        open_regular(file).close()  # safetensors maps the file itself
        with safe_open(file, framework="pt") as stored:
            metadata = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        if int(metadata["crc32"]) != _checksum(tensors):
            return None
        test = LabelledImages(tensors["test_images"], tensors["test_labels"]) if "test_images" in tensors else None
        train = LabelledImages(tensors["train_images"], tensors["train_labels"])
        return DecodedSet(train, test, tuple(json.loads(metadata["class_names"])), metadata["notes"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        return None  # Missing or damaged alike: the caller decodes again and replaces it.


def disk_error(folder: Path, error: OSError) -> UserError:
    """Return the one-line error for a folder that cannot be written."""
    advice = f"free some space there or set {CACHE_VARIABLE} to another folder"
    return UserError(f"cannot write to {folder}: {error.strerror or error}; {advice}")


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of the tensors' bytes, in the order of their names (184 MB take 0.1 s)."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].numpy().data.cast("B"), value)
    return value
