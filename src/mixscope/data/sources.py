"""Readers of idx files (the MNIST family), and the digits that come with scikit-learn."""

import gzip
import math
import os
import zlib
from io import BufferedIOBase
from pathlib import Path

import torch
from torch import Tensor

from mixscope.base.errors import UserError
from mixscope.base.reading import CHUNK_BYTES, check_size, open_regular, reason_of
from mixscope.data.image_data import DecodedSet, LabelledImages, check_decoded

IDX_IMAGES = 0x00000803  # unsigned bytes, three dimensions (format: http://yann.lecun.com/exdb/mnist)
IDX_LABELS = 0x00000801  # unsigned bytes, one dimension
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDX_BYTES = 1 << 30  # 1 GiB; EMNIST, the largest of the family, has 814,255 images of 784 bytes


def read_idx(path: Path, *, magic: int) -> Tensor:
    """Read one idx file of unsigned bytes, gzipped or not: its header, then as many bytes as that announces.

    Args:
        path: The file; a name ending in .gz is decompressed.
        magic: IDX_IMAGES or IDX_LABELS.

    Returns:
        (N, H, W) or (N,) uint8.

    Raises:
        UserError: If the magic number is another, more than IDX_BYTES are announced, or the file is damaged, shorter or
            longer than its header says.
    """
    try:
        with open_regular(path) as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as stream:
                    return _read_idx_stream(stream, magic=magic, path=path)
            return _read_idx_stream(file, magic=magic, path=path, size=os.fstat(file.fileno()).st_size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged or incomplete gzip file ({reason_of(error)})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_idx_stream(stream: BufferedIOBase, *, magic: int, path: Path, size: int | None = None) -> Tensor:
    """Read what `read_idx` opened; `size` is the number of bytes in the stream, where that is known."""
    num_dims = magic & 0xFF
    header = stream.read(4 + 4 * num_dims)
    found = int.from_bytes(header[:4], "big")
    if len(header) < 4 or found != magic:
        raise UserError(f"{path}: not an idx file of this kind: magic number must be {magic:#010x}, got {found:#010x}")
    if len(header) < 4 + 4 * num_dims:
        raise UserError(_idx_problem(path, "is cut off", 4 + 4 * num_dims, f"got {len(header)}"))
    shape = [int.from_bytes(header[4 + 4 * i : 8 + 4 * i], "big") for i in range(num_dims)]
    expected = len(header) + math.prod(shape)
    if size is not None and size != expected:
        raise UserError(
            _idx_problem(path, "is cut off" if size < expected else "has trailing data", expected, f"got {size}")
        )
    check_size(expected, ceiling=IDX_BYTES, source=str(path), why="an idx file, of which the header says the size")
    content = torch.empty(math.prod(shape), dtype=torch.uint8)
    view, filled = content.numpy().data, 0
    while filled < len(view) and (count := stream.readinto(view[filled : filled + CHUNK_BYTES])):
        filled += count
    if filled < len(view):
        raise UserError(_idx_problem(path, "is cut off", expected, f"got {len(header) + filled}"))
    if stream.read(1):  # reads on to the checksum of a gzip file too
        raise UserError(_idx_problem(path, "has trailing data", expected, "got more"))
    return content.view(shape)


def _idx_problem(path: Path, problem: str, expected: int, got: str) -> str:
    return f"{path}: idx file {problem}: header says {expected} bytes, {got}"


def read_idx_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read the four idx files of an MNIST-like set; each may be gzipped.

    Raises:
        UserError: If a file is damaged, or images and labels do not fit together.
    """
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
    decoded = DecodedSet(parts[0], parts[1], class_names, f"idx files in {folder.name}")
    check_decoded(decoded, source=str(folder))
    return decoded


def existing_idx(folder: Path, name: str) -> Path:
    """Return the path of an idx file, plain where it is there, else gzipped."""
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.gz"


def read_digits() -> LabelledImages:
    """Return the 1,797 8 x 8 digits that come with scikit-learn.

    Their 17 grey levels 0..16 are stored as value * 15, so that uint8 holds them exactly and linearly.

    Returns:
        (1797, 1, 8, 8) uint8 in 0..240 and their labels 0..9, in the order of scikit-learn.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(15).to(torch.uint8).unsqueeze(1)
    return LabelledImages(images, torch.from_numpy(digits.target).long())
