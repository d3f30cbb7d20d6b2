"""SVHN's cropped digits, from two MATLAB files."""

import os
import zlib
from pathlib import Path
from typing import BinaryIO

import torch

from mixscope.base.errors import UserError
from mixscope.base.reading import CHUNK_BYTES, check_size, kind_and_reason, one_line, open_regular
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set

SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
MATLAB_BYTES = 1 << 30  # 1 GiB unpacked; the training part has 73,257 images of 3,072 bytes
HEADER_BYTES, COMPRESSED = 128, 15  # of the version 5 format
NUMERIC = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64", "uint64", "single", "double")


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
