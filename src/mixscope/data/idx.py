"""Idx files (the MNIST family): a header, then as many bytes as it announces."""

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import CHUNK_BYTES, check_size, one_line, open_regular
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set

IDX_IMAGES = 0x00000803  # unsigned bytes, three dimensions (format: http://yann.lecun.com/exdb/mnist)
IDX_LABELS = 0x00000801  # unsigned bytes, one dimension
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDX_BYTES = 1 << 30  # 1 GiB; EMNIST, the largest of the family, has 814,255 images of 784 bytes


def read_idx(path: Path, *, magic: int) -> Tensor:
    """Read one idx file of unsigned bytes, (N, H, W) IDX_IMAGES or (N,) IDX_LABELS; .gz is decompressed.

    A `UserError` if the magic number is another, more than IDX_BYTES are announced, or the file is damaged, shorter or
    longer than its header says.
    """
    damages = (EOFError, gzip.BadGzipFile, zlib.error)
    with one_line(path, "damaged or incomplete gzip file", *damages), open_regular(path) as file:
        if path.suffix != ".gz":
            return _read_stream(file, magic=magic, path=path)
        with gzip.GzipFile(fileobj=file) as stream:
            return _read_stream(stream, magic=magic, path=path)


def _read_stream(stream: BufferedIOBase, *, magic: int, path: Path) -> Tensor:
    header_size = 4 + 4 * (magic & 0xFF)
    header = stream.read(header_size)
    found = int.from_bytes(header[:4], "big")
    if len(header) < 4 or found != magic:
        raise UserError(f"{path}: not an idx file of this kind: magic number must be {magic:#010x}, got {found:#010x}")
    shape = [int.from_bytes(header[start : start + 4], "big") for start in range(4, header_size, 4)]
    size = header_size if len(header) < header_size else header_size + math.prod(shape)
    check_size(size, ceiling=IDX_BYTES, source=str(path), why="an idx file, of which the header says the size")
    content = bytearray(header)
    # One byte more than there should be: it shows what trails, and reads on to the checksum of a gzip file.
    while part := stream.read(min(CHUNK_BYTES, size + 1 - len(content))):
        content += part
    if len(content) != size:
        problem = "is cut off" if len(content) < size else "has trailing data"
        raise UserError(f"{path}: idx file {problem}: header says {size} bytes, got {len(content)}")
    return torch.frombuffer(content, dtype=torch.uint8)[header_size:].view(shape)


def read_idx_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read the four idx files of an MNIST-like set; each may be gzipped."""
    parts = []
    for images_name, labels_name in (IDX_FILES[:2], IDX_FILES[2:]):
        images_path, labels_path = existing_idx(folder, images_name), existing_idx(folder, labels_name)
        images = read_idx(images_path, magic=IDX_IMAGES).unsqueeze(1)
        labels = read_idx(labels_path, magic=IDX_LABELS).long()
        if len(images) != len(labels):
            raise UserError(f"{images_path} has {len(images)} images but {labels_path.name} has {len(labels)} labels")
        if len(labels) and int(labels.max()) >= len(class_names):
            raise UserError(f"{labels_path}: labels must lie in [0, {len(class_names)}), got {int(labels.max())}")
        parts.append(LabelledImages(images, labels))
    return checked_set(*parts, class_names=class_names, notes=f"idx files in {folder.name}", source=folder)


def existing_idx(folder: Path, name: str) -> Path:
    """Return the path of an idx file, plain where it is there, else gzipped."""
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.gz"
