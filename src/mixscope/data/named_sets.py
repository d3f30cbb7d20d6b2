"""Table of the sets known by name: files, addresses, checksums, licence and citation.

Addresses and MD5 checksums are those of torchvision's datasets module (mnist.py, cifar.py, svhn.py); those of MNIST and
Fashion-MNIST were also compared with the files themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from mixscope.data.cifar import CIFAR10_FILES, CIFAR100_FILES, read_cifar10_folder, read_cifar100_folder
from mixscope.data.download import RemoteFile
from mixscope.data.idx import IDX_FILES, existing_idx, read_idx_folder
from mixscope.data.image_data import DecodedSet, LabelledImages, checked_set
from mixscope.data.svhn import SVHN_FILES, read_svhn_folder

DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """What is known about a set before any of its files is opened.

    Attributes:
        name: What the user writes.
        read: Decodes the files of a folder; given the folder and the K class names.
        class_names: K names; where the files name the classes, only their number counts.
        image_shape: (C, H, W).
        num_train: Training images; all images where a seeded split divides them.
        num_test: Official test images, or 0.
        licence: As its authors state it.
        citation: One line.
        folders: Folder names it is looked for in; the first is the one downloads go to.
        files: What is downloaded.
        comes_with: Folder in an installed package that brings the set, which then has no files of its own.
        is_slow: Whether decoding takes seconds, so that its result is cached.
        extracted: Paths, relative to the folder, that replace the downloaded archive where all of them are there.
    """

    name: str
    read: Callable[[Path, tuple[str, ...]], DecodedSet]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    licence: str
    citation: str
    folders: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    comes_with: str = ""
    is_slow: bool = False
    extracted: tuple[str, ...] = ()

    @property
    def package_folder(self) -> Path | None:
        """The folder in an installed package that brings the set; None where none does."""
        package, _, inside = self.comes_with.partition("/")
        spec = find_spec(package) if package else None
        return None if spec is None or spec.origin is None else Path(spec.origin).parent / inside

    def files_in(self, folder: Path) -> tuple[Path, ...]:
        """Return the paths that are read from `folder`, whether they are there or not."""
        if self.extracted and all((folder / name).is_file() for name in self.extracted):
            return tuple(folder / name for name in self.extracted)
        if self.read is read_idx_folder:
            return tuple(existing_idx(folder, file.name.removesuffix(".gz")) for file in self.files)
        return tuple(folder / file.name for file in self.files)

    def missing_in(self, folder: Path) -> tuple[str, ...]:
        """Return the names of the files that `folder` lacks; empty where the set can be read from it."""
        return tuple(path.name for path in self.files_in(folder) if not path.is_file())


def read_digits(_: Path, class_names: tuple[str, ...]) -> DecodedSet:
    """Return the 1,797 8 x 8 digits that come with scikit-learn, in its order.

    Their 17 grey levels 0..16 are stored as value * 15, so that uint8 holds them exactly and linearly.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(15).to(torch.uint8).unsqueeze(1)
    parts = LabelledImages(images, torch.from_numpy(digits.target).long()), None
    notes = "embedded in scikit-learn; grey levels 0..16 times 15"
    return checked_set(*parts, class_names=class_names, notes=notes, source="digits")


def _remote(base: str, names: tuple[str, ...], *md5s: str) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(base + name, md5, name) for name, md5 in zip(names, md5s, strict=True))


IDX_GZ_FILES = tuple(f"{name}.gz" for name in IDX_FILES)
TORONTO = "https://www.cs.toronto.edu/~kriz/"
_ROWS = (
    NamedSet(
        name="digits",
        comes_with="sklearn/datasets/data",
        read=read_digits,
        class_names=DIGIT_NAMES,
        image_shape=(1, 8, 8),
        num_train=1797,
        num_test=0,
        licence="CC BY 4.0 (UCI), comes with scikit-learn",
        citation="Alpaydin, Kaynak: Optical recognition of handwritten digits, UCI, 1998",
    ),
    NamedSet(
        name="mnist",
        folders=("mnist", "MNIST"),
        files=_remote(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            IDX_GZ_FILES,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        read=read_idx_folder,
        class_names=DIGIT_NAMES,
        image_shape=(1, 28, 28),
        num_train=60_000,
        num_test=10_000,
        licence="usually given as CC BY-SA 3.0",
        citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998",
    ),
    NamedSet(
        name="fashion-mnist",
        folders=("fashion-mnist", "FashionMNIST", "fashion_mnist"),
        files=_remote(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            IDX_GZ_FILES,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        read=read_idx_folder,
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        image_shape=(1, 28, 28),
        num_train=60_000,
        num_test=10_000,
        licence="MIT",
        citation="Xiao, Rasul, Vollgraf: Fashion-MNIST, a novel image dataset, 2017",
    ),
    NamedSet(
        name="kmnist",
        folders=("kmnist", "KMNIST"),
        files=_remote(
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            IDX_GZ_FILES,
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
        read=read_idx_folder,
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        image_shape=(1, 28, 28),
        num_train=60_000,
        num_test=10_000,
        licence="CC BY-SA 4.0",
        citation="Clanuwat et al.: Deep learning for classical Japanese literature, 2018",
    ),
    NamedSet(
        name="cifar10",
        folders=("cifar10", "CIFAR10", "cifar-10"),
        files=_remote(TORONTO, ("cifar-10-python.tar.gz",), "c58f30108f718f92721af3b95e74349a"),
        read=read_cifar10_folder,
        is_slow=True,
        class_names=tuple(str(label) for label in range(10)),
        image_shape=(3, 32, 32),
        num_train=50_000,
        num_test=10_000,
        licence="none stated",
        citation="Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        extracted=tuple(f"cifar-10-batches-py/{name}" for name in CIFAR10_FILES),
    ),
    NamedSet(
        name="cifar100",
        folders=("cifar100", "CIFAR100", "cifar-100"),
        files=_remote(TORONTO, ("cifar-100-python.tar.gz",), "eb9058c3a382ffc7106e4002c42a8d85"),
        read=read_cifar100_folder,
        is_slow=True,
        class_names=tuple(str(label) for label in range(100)),
        image_shape=(3, 32, 32),
        num_train=50_000,
        num_test=10_000,
        licence="none stated",
        citation="Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        extracted=tuple(f"cifar-100-python/{name}" for name in CIFAR100_FILES),
    ),
    NamedSet(
        name="svhn",
        folders=("svhn", "SVHN"),
        files=_remote(
            "http://ufldl.stanford.edu/housenumbers/",
            SVHN_FILES,
            "e26dedcc434d2e4c54c9b2d4a06d8373",
            "eb5a983be6a315427106f1b164d9cef3",
        ),
        read=read_svhn_folder,
        is_slow=True,
        class_names=DIGIT_NAMES,
        image_shape=(3, 32, 32),
        num_train=73_257,
        num_test=26_032,
        licence="for non-commercial use only",
        citation="Netzer et al.: Reading digits in natural images with unsupervised feature learning, 2011",
    ),
)
NAMED_SETS = {named.name: named for named in _ROWS}
