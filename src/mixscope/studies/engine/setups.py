"""The images and devices that several studies share; every study's seed draws the images as well as the weights."""

from mixscope.bench.options import DataOptions, Device
from mixscope.studies.names import Scale

NUM_DIGITS = 1797
CPU_SCALES: tuple[Scale, ...] = ("smoke", "small")


def digits(num_train: int, *, seed: int, label_noise: float = 0.0) -> DataOptions:
    """Return `num_train` digits to train on and all others to test on, drawn by the seed, the same share of each class.

    `label_noise` is the share of wrong labels, in training and test images alike.
    """
    return DataOptions("digits", test_size=NUM_DIGITS - num_train, split_seed=seed, label_noise=label_noise)


def images(name: str, num_train: int | None, *, seed: int, num_test: int | None = None) -> DataOptions:
    """Return a subset of a named set with its own test part, the same number of images of each class; None is all."""
    return DataOptions(name, subset=num_train, test_subset=num_test, split_seed=seed)


def device_of(scale: Scale) -> Device:
    """Return the device of a scale: small networks on few images are fastest on a CPU, one thread each."""
    return "cpu" if scale in CPU_SCALES else "auto"


def threads_of(scale: Scale) -> int | None:
    """Return the threads of a scale's runs: one where several runs share a CPU."""
    return 1 if scale in CPU_SCALES else None
