"""Networks on images with the methods that train them, and the images and devices that several studies share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mixscope.bench.options import DataOptions, Device, TrainOptions
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.trial import Trial, run_grid
from mixscope.studies.names import Scale

NUM_DIGITS = 1797
CPU_SCALES: tuple[Scale, ...] = ("smoke", "small")  # few images: fastest on a CPU, several runs side by side


def digits(num_train: int, *, seed: int, label_noise: float = 0.0) -> DataOptions:
    """Return `num_train` digits to train on and all others to test on, drawn by the seed, the same share of each class.

    `label_noise` is the share of wrong labels, in training and test images alike.
    """
    return DataOptions("digits", test_size=NUM_DIGITS - num_train, split_seed=seed, label_noise=label_noise)


def images(name: str, num_train: int | None, *, seed: int, num_test: int | None = None) -> DataOptions:
    """Return a subset of a named set with its own test part, the same number of images of each class; None is all."""
    return DataOptions(name, subset=num_train, test_subset=num_test, split_seed=seed)


@dataclass(frozen=True, kw_only=True)
class NetworkSetting:
    """What is trained and how; curves and instruments are those of `NetworkTraining`.

    Attributes:
        name: Of the setting.
        images: Returns the images of a `seed`.
        options: Of every run, but for images, seed and device.
        methods: Name to the options that it changes.
        num_seeds: Of every method.
    """

    name: str
    images: Callable[..., DataOptions]
    options: TrainOptions
    methods: Mapping[str, Mapping[str, Any]]
    num_seeds: int
    curve_every: int
    measure_at: tuple[int, ...] = ()
    instruments: tuple[str, ...] = ()
    is_measured: bool = False

    @property
    def epochs(self) -> int:
        """Passes of the training."""
        return self.options.training.epochs

    def work(self, method: str, seed: int, *, scale: Scale) -> NetworkTraining:
        """Return the training of a method with a seed, on the device of a scale."""
        device: Device = "cpu" if scale in CPU_SCALES else "auto"
        options = replace(
            self.options,
            data=self.images(seed=seed),
            seed=seed,
            device=device,
            threads=1 if device == "cpu" else None,
            **self.methods[method],
        )
        return NetworkTraining(options, self.curve_every, self.measure_at, self.instruments, self.is_measured)

    def trials(self, scale: Scale, seeds: int | None = None) -> list[Trial]:
        """Return the runs of every method, given the number of seeds; None is the setting's own."""
        return run_grid(self.name, self.methods, seeds or self.num_seeds, partial(self.work, scale=scale))
