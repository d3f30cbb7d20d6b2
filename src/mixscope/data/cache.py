"""Cache of decoded images: one memory-mapped safetensors file per source, written whole or not at all."""

import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.files import atomic_file
from mixscope.base.reading import open_regular
from mixscope.base.text import printable
from mixscope.data.cache_place import CACHE_VARIABLE, cache_folder, disk_error
from mixscope.data.image_data import DecodedSet, LabelledImages
from mixscope.data.mapped import map_bytes, read_through
from mixscope.data.members import folder_files
from mixscope.data.pixel_store import StoredImages, StoredSet

# Raise it when decoding, or what is said of it, changes: files of other versions are then never looked at.
FORMAT_VERSION = 3
WORDS_LENGTH = 60  # of a source's name in its file's
DTYPES = {"U8": torch.uint8, "I64": torch.int64}
PARTS = ("train_labels", "test_labels", "train_images", "test_images")
NO_CHECKSUM = "##########"  # ten digits hold a CRC-32
AnySet = DecodedSet | StoredSet


def decoded_once(kind: str, paths: Sequence[Path], decode: Callable[[], DecodedSet]) -> DecodedSet:
    """Return the decoded images of `paths`, from the cache where it has them; else decode and write them there.

    `kind` says what is read from the files or folders and how, for example "cifar10". A changed source (size or time of
    change of any file) has another key, so the old entry is not used; a damaged entry is made again. The tensors are
    memory-mapped; they may be written to, which changes no file. A `UserError` if the cache folder cannot be written,
    or `decode` raises.
    """
    return written_once(kind, paths, lambda write: write(decode()))


def written_once(kind: str, paths: Sequence[Path], make: Callable[[Callable[[AnySet], None]], None]) -> DecodedSet:
    """Return the same of a set that need not be in memory: `make` is given the function that writes it."""
    folder = cache_folder() / "decoded"
    words = re.sub(r"[^\w=+-]+", "-", paths[0].name.split(".")[0], flags=re.ASCII)[:WORDS_LENGTH]
    file = folder / f"{words}-{source_key(kind, paths)[:24]}.safetensors"
    cached = read_decoded(file)
    if cached is None:
        make(partial(write_decoded, file, source=str(paths[0].absolute())))
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


def write_decoded(file: Path, decoded: AnySet, *, source: str) -> None:
    """Write a set to `file`, so that no reader sees half of it, or raise a `UserError` that names its folder.

    The layout is that of safetensors (8 bytes header length, JSON header, raw tensors). Its own `save_file` would not
    do: it replaces what is under the name it is given, whose lock shows that somebody is writing.
    """
    tensors = _tensors(decoded)
    metadata = {
        "crc32": NO_CHECKSUM,  # filled in at the end
        "class_names": json.dumps(decoded.class_names),
        "notes": printable(decoded.notes),  # the reader knows no text that is not UTF-8
        "cautions": json.dumps(decoded.cautions),
        "source": printable(source),
    }
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        kind, size = ("I64", 8) if isinstance(tensor, Tensor) and tensor.dtype is torch.int64 else ("U8", 1)
        start, end = end, end + math.prod(tensor.shape) * size
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    checksum = 0
    try:
        with atomic_file(file) as stream:
            stream.write(len(text).to_bytes(8, "little"))
            stream.write(text)
            for tensor in tensors.values():
                for chunk in _chunks(tensor):
                    checksum = zlib.crc32(chunk, checksum)
                    stream.write(chunk)
            stream.seek(8)
            stream.write(text.replace(NO_CHECKSUM.encode(), f"{checksum:010}".encode(), 1))
            stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise disk_error(file.parent, error) from error


def _tensors(decoded: AnySet) -> dict[str, Tensor | StoredImages]:
    """Return labels, then images: the header is padded to 8 bytes, so int64 stays aligned when mapped."""
    if isinstance(decoded, StoredSet):
        parts = [part for part in ("train", "test") if part == "train" or part in decoded.parts]
        labels = {f"{part}_labels": decoded.labels(part) for part in parts}
        return {**labels, **{f"{part}_images": decoded.images(part) for part in parts}}
    held = {"train": decoded.train} if decoded.test is None else {"train": decoded.train, "test": decoded.test}
    labels = {f"{part}_labels": data.labels.contiguous() for part, data in held.items()}
    return {**labels, **{f"{part}_images": data.images.contiguous() for part, data in held.items()}}


def _chunks(tensor: Tensor | StoredImages) -> Iterator[memoryview]:
    """Yield the bytes of a tensor, some MiB at a time."""
    for chunk in tensor.chunks() if isinstance(tensor, StoredImages) else read_through(tensor):
        yield (chunk.numpy() if isinstance(chunk, Tensor) else chunk).data.cast("B")


def read_decoded(file: Path) -> DecodedSet | None:
    """Return the set in `file`, memory-mapped, or None where the file is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with open_regular(file) as stream:
            with safe_open(file, framework="pt") as stored:  # checks that the header fits the file
                metadata = stored.metadata()
            content = map_bytes(stream)
            start = 8 + int.from_bytes(content[:8].numpy().tobytes(), "little")
            header = json.loads(content[8:start].numpy().tobytes())
            checksum = 0
            for part in read_through(content[start:]):
                checksum = zlib.crc32(part.numpy().data, checksum)
            if int(metadata["crc32"]) != checksum:
                return None
            tensors = {name: _tensor(content[start:], entry) for name, entry in header.items() if name in PARTS}
        test = LabelledImages(tensors["test_images"], tensors["test_labels"]) if "test_images" in tensors else None
        train = LabelledImages(tensors["train_images"], tensors["train_labels"])
        names, cautions = (tuple(json.loads(metadata[key])) for key in ("class_names", "cautions"))
        return DecodedSet(train, test, names, metadata["notes"], cautions)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        return None  # Missing or damaged alike: the caller decodes again and replaces it.


def _tensor(content: Tensor, entry: Mapping[str, Any]) -> Tensor:
    """Return one tensor of the file's content, as its entry in the header says."""
    begin, end = entry["data_offsets"]
    return content[begin:end].view(DTYPES[entry["dtype"]]).view(entry["shape"])
