"""The table of the sets known by name: files, addresses, checksums, licence and citation.

Addresses and MD5 checksums are those of torchvision's datasets module (mnist.py, cifar.py, svhn.py); those of MNIST and
Fashion-MNIST were also compared with the files themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mixscope.data.cifar import CIFAR10_FILES, CIFAR100_FILES, read_cifar10_folder, read_cifar100_folder
from mixscope.data.download import RemoteFile
from mixscope.data.image_data import DecodedSet
from mixscope.data.sources import existing_idx, read_idx_folder
from mixscope.data.svhn import read_svhn_folder

DIGIT_NAMES = tuple("0123456789")
IDX_GZ_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class NamedSet:
    """What is known about a set before any of its files is opened.

    Attributes:
        name: What the user writes.
        folders: Folder names it is looked for in; the first is the one downloads go to.
        files: What is downloaded.
        read: Decodes the files of a folder; given the folder and the K class names.
        is_slow: Whether decoding takes seconds, so that its result is cached.
        class_names: K names; where the files name the classes, only their number counts.
        image_shape: (C, H, W).
        num_train: Training images.
        num_test: Test images.
        licence: As its authors state it.
        citation: One line.
        extracted: Paths, relative to the folder, that replace the downloaded archive where all of them are there.
    """

    name: str
    folders: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    read: Callable[[Path, tuple[str, ...]], DecodedSet]
    is_slow: bool
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    licence: str
    citation: str
    extracted: tuple[str, ...] = ()

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


def _remote(base: str, **md5_by_name: str) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(base + name, md5, name) for name, md5 in md5_by_name.items())


def _idx(base: str, *md5s: str) -> tuple[RemoteFile, ...]:
    return _remote(base, **dict(zip(IDX_GZ_FILES, md5s, strict=True)))


MNIST = NamedSet(
    name="mnist",
    folders=("mnist", "MNIST"),
    files=_idx(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    read=read_idx_folder,
    is_slow=False,
    class_names=DIGIT_NAMES,
    image_shape=(1, 28, 28),
    num_train=60_000,
    num_test=10_000,
    licence="usually given as CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998",
)
FASHION_MNIST = NamedSet(
    name="fashion-mnist",
    folders=("fashion-mnist", "FashionMNIST", "fashion_mnist"),
    files=_idx(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    read=read_idx_folder,
    is_slow=False,
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    image_shape=(1, 28, 28),
    num_train=60_000,
    num_test=10_000,
    licence="MIT",
    citation="Xiao, Rasul, Vollgraf: Fashion-MNIST, a novel image dataset, 2017",
)
KMNIST = NamedSet(
    name="kmnist",
    folders=("kmnist", "KMNIST"),
    files=_idx(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    read=read_idx_folder,
    is_slow=False,
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    image_shape=(1, 28, 28),
    num_train=60_000,
    num_test=10_000,
    licence="CC BY-SA 4.0",
    citation="Clanuwat et al.: Deep learning for classical Japanese literature, 2018",
)
CIFAR10 = NamedSet(
    name="cifar10",
    folders=("cifar10", "CIFAR10", "cifar-10"),
    files=_remote(
        "https://www.cs.toronto.edu/~kriz/", **{"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"}
    ),
    read=read_cifar10_folder,
    is_slow=True,
    class_names=tuple(str(label) for label in range(10)),
    image_shape=(3, 32, 32),
    num_train=50_000,
    num_test=10_000,
    licence="none stated",
    citation="Krizhevsky: Learning multiple layers of features from tiny images, 2009",
    extracted=tuple(f"cifar-10-batches-py/{name}" for name in CIFAR10_FILES),
)
CIFAR100 = NamedSet(
    name="cifar100",
    folders=("cifar100", "CIFAR100", "cifar-100"),
    files=_remote(
        "https://www.cs.toronto.edu/~kriz/", **{"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"}
    ),
    read=read_cifar100_folder,
    is_slow=True,
    class_names=tuple(str(label) for label in range(100)),
    image_shape=(3, 32, 32),
    num_train=50_000,
    num_test=10_000,
    licence="none stated",
    citation="Krizhevsky: Learning multiple layers of features from tiny images, 2009",
    extracted=tuple(f"cifar-100-python/{name}" for name in CIFAR100_FILES),
)
SVHN = NamedSet(
    name="svhn",
    folders=("svhn", "SVHN"),
    files=_remote(
        "http://ufldl.stanford.edu/housenumbers/",
        **{
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
    ),
    read=read_svhn_folder,
    is_slow=True,
    class_names=DIGIT_NAMES,
    image_shape=(3, 32, 32),
    num_train=73_257,
    num_test=26_032,
    licence="for non-commercial use only",
    citation="Netzer et al.: Reading digits in natural images with unsupervised feature learning, 2011",
)
NAMED_SETS = {named.name: named for named in (MNIST, FASHION_MNIST, KMNIST, CIFAR10, CIFAR100, SVHN)}
