"""Idx files of the MNIST family and the MATLAB files of SVHN, read only as far as their ceilings allow."""

import gzip
import math
import os
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import CHUNK_BYTES, check_size, kind_and_reason, one_line, open_regular
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set

IDX_IMAGES = 0x00000803  # unsigned bytes, three dimensions (format: http://yann.lecun.com/exdb/mnist)
IDX_LABELS = 0x00000801  # unsigned bytes, one dimension
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDX_BYTES = 1 << 30  # 1 GiB; EMNIST, the largest of the family, has 814,255 images of 784 bytes
SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
MATLAB_BYTES = 1 << 30  # 1 GiB unpacked; the training part has 73,257 images of 3,072 bytes
HEADER_BYTES, COMPRESSED = 128, 15  # of the version 5 format
NUMERIC = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64", "uint64", "single", "double")


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


def read_svhn_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read the two MATLAB files of SVHN's cropped digits; their label 10 is the digit 0."""
    train, test = (_read_svhn_file(folder / name) for name in SVHN_FILES)
    notes = f"MATLAB files in {folder.name}; label 10 read as digit 0"
    return checked_set(train, test, class_names=class_names, notes=notes, source=folder)


def _read_svhn_file(path: Path) -> LabelledImages:
    import scipy.io

    # Damaged MATLAB files raise nearly anything.
    with one_line(path, "not a readable MATLAB file with X and y", Exception, words=kind_and_reason):
        with open_regular(path) as file:
            _check_unpacked(file, path)
            kinds = {name: kind for name, _, kind in scipy.io.whosmat(file)}
            if any(kinds[name] not in NUMERIC for name in ("X", "y")):
                raise TypeError(f"X and y must be numbers, got {kinds['X']} and {kinds['y']}")
            content = scipy.io.loadmat(file, variable_names=("X", "y"))
        images, labels = torch.from_numpy(content["X"]), torch.from_numpy(content["y"]).long().flatten()
    if images.dtype is not torch.uint8 or images.ndim != 4 or images.shape[3] != len(labels):
        got = f"{images.dtype} of shape {tuple(images.shape)} and {len(labels)} labels"
        raise UserError(f"{path}: X must be (H, W, C, N) uint8 with one label in y each, got {got}")
    if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= 10:
        raise UserError(f"{path}: y must lie in 1 to 10, got values from {int(labels.min())} to {int(labels.max())}")
    return LabelledImages(images.permute(3, 2, 0, 1).contiguous(), labels % 10)


def _check_unpacked(file: BinaryIO, path: Path) -> None:
    """Raise where the compressed parts of a MATLAB file (version 5) unpack to more than MATLAB_BYTES together.

    They are unpacked piece by piece and thrown away: SciPy would unpack each as a whole, whatever its size.
    """
    header = file.read(HEADER_BYTES)
    order = {b"IM": "little", b"MI": "big"}.get(header[126:128])
    if order is None:
        raise ValueError("no file of MATLAB 5 to 7.2")
    total = 0
    while len(tag := file.read(8)) == 8:
        kind, size = (int.from_bytes(part, order) for part in (tag[:4], tag[4:]))  # type: ignore[arg-type]
        end = file.tell() + size
        if kind == COMPRESSED:
            unpacker, packed = zlib.decompressobj(), b""
            while not unpacker.eof and (packed or (packed := file.read(min(CHUNK_BYTES, end - file.tell())))):
                total += len(unpacker.decompress(packed, CHUNK_BYTES))
                packed = unpacker.unconsumed_tail
                check_size(total, ceiling=MATLAB_BYTES, source=str(path), why="SVHN's files unpacked", is_exact=False)
        file.seek(end)
    file.seek(0, os.SEEK_SET)
