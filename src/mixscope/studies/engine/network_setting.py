"""A network on images with the methods that train it, as all studies describe their runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mixscope.bench.options import DataOptions, TrainOptions
from mixscope.studies.engine.network_training import NetworkTraining
from mixscope.studies.engine.run_grid import run_grid
from mixscope.studies.engine.setups import device_of, threads_of
from mixscope.studies.engine.trial import Trial
from mixscope.studies.names import Scale


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
        images, device, threads = self.images(seed=seed), device_of(scale), threads_of(scale)
        options = replace(self.options, data=images, seed=seed, device=device, threads=threads, **self.methods[method])
        return NetworkTraining(options, self.curve_every, self.measure_at, self.instruments, self.is_measured)

    def trials(self, scale: Scale, seeds: int | None = None) -> list[Trial]:
        """Return the runs of every method, given the number of seeds; None is the setting's own."""
        return run_grid(self.name, self.methods, seeds or self.num_seeds, partial(self.work, scale=scale))
