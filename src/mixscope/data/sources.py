"""Readers of idx files (the MNIST family), MATLAB files (SVHN), .npz, and the digits that come with scikit-learn."""

import gzip
import zipfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from mixscope._errors import UserError
from mixscope.data.images import DecodedSet, LabelledImages, check_decoded

IDX_IMAGES = 0x00000803  # unsigned bytes, three dimensions (format: http://yann.lecun.com/exdb/mnist)
IDX_LABELS = 0x00000801  # unsigned bytes, one dimension
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
NPZ_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def read_idx(path: Path, *, magic: int) -> Tensor:
    """Read one idx file of unsigned bytes, gzipped or not.

    Args:
        path: The file; a name ending in .gz is decompressed.
        magic: IDX_IMAGES or IDX_LABELS.

    Returns:
        (N, H, W) or (N,) uint8.

    Raises:
        UserError: If the magic number is another, or the file is damaged, shorter or longer than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged or incomplete gzip file ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    found = int.from_bytes(content[:4], "big")
    if len(content) < 4 or found != magic:
        raise UserError(f"{path}: not an idx file of this kind: magic number must be {magic:#010x}, got {found:#010x}")
    num_dims = magic & 0xFF
    start = 4 + 4 * num_dims
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(num_dims)]
    expected = start
    if len(content) >= start:
        count = 1
        for size in shape:
            count *= size
        expected = start + count
    if len(content) != expected:
        problem = "is cut off" if len(content) < expected else "has trailing data"
        raise UserError(f"{path}: idx file {problem}: header says {expected} bytes, got {len(content)}")
    # bytearray: torch wants memory that may be written to.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].clone().view(shape)


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


def read_svhn_folder(folder: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Read the two MATLAB files of SVHN's cropped digits; their label 10 is the digit 0.

    Raises:
        UserError: If a file is damaged or holds something else.
    """
    train, test = (_read_svhn_file(folder / name) for name in SVHN_FILES)
    decoded = DecodedSet(train, test, class_names, f"MATLAB files in {folder.name}; label 10 read as digit 0")
    check_decoded(decoded, source=str(folder))
    return decoded


def _read_svhn_file(path: Path) -> LabelledImages:
    import scipy.io

    try:
        content = scipy.io.loadmat(str(path), variable_names=("X", "y"))
        images, labels = torch.from_numpy(content["X"]), torch.from_numpy(content["y"]).long().flatten()
    except Exception as error:  # Damaged MATLAB files raise nearly anything.
        raise UserError(f"{path}: not a readable MATLAB file with X and y ({type(error).__name__}: {error})") from error
    if images.dtype is not torch.uint8 or images.ndim != 4 or images.shape[3] != len(labels):
        raise UserError(
            f"{path}: X must be (H, W, C, N) uint8 with one label in y each, "
            f"got {images.dtype} of shape {tuple(images.shape)} and {len(labels)} labels"
        )
    if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= 10:
        raise UserError(f"{path}: y must lie in 1 to 10, got values from {int(labels.min())} to {int(labels.max())}")
    return LabelledImages(images.permute(3, 2, 0, 1).contiguous(), labels % 10)


def read_npz(path: Path) -> DecodedSet:
    """Read an .npz file with train_images, train_labels, test_images and test_labels.

    Images are uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3; labels are integers from 0.
    Classes are named by their numbers.

    Raises:
        UserError: If the file is damaged or would run code, an array is missing or of another kind, or it cannot be
            told which axis holds the channels.
    """
    import numpy as np

    arrays: dict[str, np.ndarray] = {}
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            missing = [name for name in NPZ_ARRAYS if name not in stored]
            if missing:
                raise UserError(f"{path}: no array named {', '.join(missing)}; needed are {', '.join(NPZ_ARRAYS)}")
            arrays = {name: stored[name] for name in NPZ_ARRAYS}
    except UserError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a readable .npz file ({_npz_problem(path, error)})") from error
    parts = []
    for part in ("train", "test"):
        labels = arrays[f"{part}_labels"]
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise UserError(
                f"{path}: {part}_labels must be integers of shape (N,), got {labels.dtype} of shape {labels.shape}"
            )
        if labels.size and int(labels.max()) > np.iinfo(np.int64).max:
            raise UserError(f"{path}: {part}_labels must be 0 to K - 1, got {int(labels.max())}")
        images = _channels_first(arrays[f"{part}_images"], name=f"{part}_images", path=path)
        parts.append(LabelledImages(images, torch.from_numpy(labels.astype(np.int64))))
    present = torch.unique(parts[0].labels)
    # A gap in the labels is an empty class; found here, before 10^9 as a label asks for as many class names.
    expected = torch.arange(len(present))
    if not torch.equal(present, expected):
        wrong = int(present[present != expected][0])
        raise UserError(
            f"{path}: train_labels must be 0 to K - 1 with every class present; "
            f"{len(present)} classes are present, but one of them is {wrong}"
        )
    names = tuple(str(label) for label in range(len(present)))
    decoded = DecodedSet(parts[0], parts[1], names, f"arrays in {path}")
    check_decoded(decoded, source=str(path))
    return decoded


def _npz_problem(path: Path, error: Exception) -> str:
    """Say why an .npz file cannot be read; numpy's own words are of pickles, and advise to run them."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "Object arrays" in str(error):
        return "it holds Python objects, and reading those can run code"
    if zipfile.is_zipfile(path):
        return f"damaged: {error}"
    with path.open("rb") as stream:
        return "incomplete zip archive" if stream.read(2) == b"PK" else "not a zip archive"


def _channels_first(images, *, name: str, path: Path) -> Tensor:  # type: ignore[no-untyped-def]  # numpy array
    """Return (N, C, H, W) uint8 from a numpy array in one of the three layouts."""
    import numpy as np

    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise UserError(
            f"{path}: {name} must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), "
            f"got {images.dtype} of shape {images.shape}"
        )
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    if tensor.ndim == 3:
        return tensor.unsqueeze(1)
    is_first, is_last = tensor.shape[1] in (1, 3), tensor.shape[3] in (1, 3)
    if is_first == is_last:
        reason = "both axis 1 and axis 3 could be" if is_first else "neither axis 1 nor axis 3 is"
        raise UserError(f"{path}: cannot tell the channels of {name}: shape {images.shape}, {reason} 1 or 3 channels")
    return tensor if is_first else tensor.permute(0, 3, 1, 2).contiguous()


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
